import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { type LoginOptions, makeAuthJson, makeJwt, makeTokens, type Tokens } from "../support/login.js";
import { type RunResult, runProgram, startProgram, waitUntil } from "../support/program.js";
import { type Reply, TokenServer } from "../support/token-server.js";

const HOUR = 3_600;
const DAY = 86_400;

/** Codex's own margin: with it, and without a limit on the age, we decide as Codex does. */
const AS_CODEX_DECIDES = ["--safety-margin", "5m", "--stale-after", "3650d"];

/** A home, a server, and the words in which the scenarios are told. */
class World {
  readonly home = new Home();
  readonly server: TokenServer;

  constructor(server: TokenServer) {
    this.server = server;
  }

  get postCount(): number {
    return this.server.posts.length;
  }

  /** "init": opaque access token, account A, refreshed a day ago. */
  login(options: LoginOptions = {}): Tokens {
    return this.loginWith({ access_token: `opaque-${Math.random()}` }, options);
  }

  /** A login whose access token expires in so many seconds. */
  loginExpiringIn(expiresInSec: number, options: LoginOptions = {}): Tokens {
    return this.loginWith({ access_token: makeJwt({ exp: Math.floor(Date.now() / 1000) + expiresInSec }) }, options);
  }

  loginWith(parts: Partial<Tokens>, options: LoginOptions): Tokens {
    const tokens = { ...makeTokens({ expiresInSec: DAY, ...options }), ...parts };
    this.home.writeAuth(makeAuthJson(tokens, { lastRefreshAgoSec: DAY, ...options }));
    return this.server.admit(tokens);
  }

  /** Codex asks for a refresh whatever the file says; `--force` is how one asks us. */
  async ask(...args: string[]): Promise<RunResult> {
    return await this.look("--force", ...args);
  }

  async look(...args: string[]): Promise<RunResult> {
    return await runProgram({ args: ["--once", ...args], env: this.env });
  }

  /**
   * Runs the program and lets `change` happen between its look at the file and its request.
   *
   * The look is over when it reads Codex's config, which is a FIFO here: the program waits in it until we
   * close our end. A writer can't open a FIFO before its reader has (ENXIO, fifo(7)), so we know that it waits.
   */
  async runWithChangeAfterLook(args: readonly string[], change: () => void): Promise<RunResult> {
    const fifo = join(this.home.path, "config.toml");
    execFileSync("mkfifo", [fifo]);
    const running = startProgram({ args: ["--once", ...args], env: this.env });
    let writer: number | null = null;
    try {
      await waitUntil("the program reads config.toml, or ends", () => {
        writer ??= openWriter(fifo);
        return writer !== null || running.child.exitCode !== null;
      });
      change();
    } finally {
      rmSync(fifo);
      if (writer !== null) closeSync(writer);
    }
    const result = await running.ended;
    expect(writer, `it ended before it read config.toml: ${result.stderr}`).not.toBeNull();
    return result;
  }

  get env(): Record<string, string> {
    return { CODEX_HOME: this.home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: this.server.url };
  }

  /** Text, inode and time: even a rewrite with the same text shows. */
  mark(): unknown {
    const { ino, mtimeNs } = statSync(this.home.authJsonPath, { bigint: true });
    return { ino, mtimeNs, text: this.home.readAuth() };
  }

  document(): Record<string, unknown> {
    return JSON.parse(this.home.readAuth()) as Record<string, unknown>;
  }

  get reason(): unknown {
    return this.home.readStatus()["reason"];
  }

  async end(): Promise<void> {
    await this.server.stop();
    this.home.remove();
  }
}

function openWriter(fifo: string): number | null {
  try {
    return openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return null; // No reader yet.
  }
}

interface Scenario {
  /** The number in the table "Their own test scenarios" of CODEX.md. */
  readonly number: string;
  readonly sentence: string;
  readonly run: (world: World) => Promise<void>;
}

const rejects = (status: number, code: string): Reply => ({ status, body: { error: { code } } });

const SCENARIOS: readonly Scenario[] = [
  {
    number: "1",
    sentence: "an answer without an id token keeps the old one, and the account id",
    run: async (world) => {
      const old = world.login();
      const { access_token, refresh_token } = makeTokens({ expiresInSec: 10 * DAY });
      world.server.always({ body: { access_token, refresh_token } });
      expect(await world.ask()).toMatchObject({ code: 0 });
      expect(world.server.posts.map(({ body }) => body)).toEqual([
        { client_id: "app_EMoamEEZ73f0CkXaXp7hrann", grant_type: "refresh_token", refresh_token: old.refresh_token },
      ]);
      const document = world.document();
      expect(document["tokens"]).toEqual({
        id_token: old.id_token,
        access_token,
        refresh_token,
        account_id: "acct-test",
      });
      expect(Date.now() - Date.parse(String(document["last_refresh"]))).toBeLessThan(60_000);
    },
  },
  {
    number: "2",
    sentence: "a file that holds what was seen is refreshed by one request",
    run: async (world) => {
      const old = world.login();
      expect(await world.ask()).toMatchObject({ code: 0 });
      expect(world.postCount).toBe(1);
      expect(world.home.readTokens()["refresh_token"]).not.toBe(old.refresh_token);
      expect(world.server.isActive(world.home.readTokens()["refresh_token"] ?? "")).toBe(true);
    },
  },
  {
    number: "3",
    sentence: "a token that expires in four minutes is refreshed",
    run: async (world) => {
      world.loginExpiringIn(240);
      expect(await world.look()).toMatchObject({ code: 0 });
      expect(world.postCount).toBe(1);
    },
  },
  {
    number: "4",
    sentence: "a token that expires in six minutes is left alone with Codex's margin of five",
    run: async (world) => {
      world.loginExpiringIn(360);
      const before = world.mark();
      expect(await world.look("--safety-margin", "5m")).toMatchObject({ code: 1 });
      expect(world.postCount).toBe(0);
      expect(world.mark()).toEqual(before);
    },
  },
  {
    number: "4, ours",
    sentence: "a token that expires in six minutes is refreshed, because our margin is four hours",
    run: async (world) => {
      world.loginExpiringIn(360);
      expect(await world.look()).toMatchObject({ code: 0 });
      expect(world.postCount).toBe(1);
    },
  },
  {
    number: "5",
    sentence: "new tokens of the same account, with the same last_refresh, are adopted without a request",
    run: async (world) => {
      const lastRefreshAgoSec = DAY;
      world.login({ lastRefreshAgoSec });
      let rewritten: unknown;
      const result = await world.runWithChangeAfterLook(["--force"], () => {
        world.login({ lastRefreshAgoSec });
        rewritten = world.mark();
      });
      expect(result).toMatchObject({ code: 1 });
      expect(world.postCount).toBe(0);
      expect(world.mark()).toEqual(rewritten);
      expect(world.reason).toBe("adopted");
    },
  },
  {
    number: "6",
    sentence: "another account's login is not touched; without a session of our own to keep, that is no failure",
    run: async (world) => {
      world.login({ accountId: "acct-a" });
      let rewritten: unknown;
      const result = await world.runWithChangeAfterLook(["--force"], () => {
        world.login({ accountId: "acct-b" });
        rewritten = world.mark();
      });
      expect(result).toMatchObject({ code: 1 });
      expect(world.postCount).toBe(0);
      expect(world.mark()).toEqual(rewritten);
    },
  },
  {
    number: "7",
    sentence: "a login of nine days whose token is good for an hour is left alone when age does not count",
    run: async (world) => {
      world.loginExpiringIn(HOUR, { lastRefreshAgoSec: 9 * DAY });
      const before = world.mark();
      expect(await world.look(...AS_CODEX_DECIDES)).toMatchObject({ code: 1 });
      expect(world.postCount).toBe(0);
      expect(world.mark()).toEqual(before);
    },
  },
  {
    number: "7, ours",
    sentence: "a login of nine days is refreshed by its age, so that its refresh token does not grow old",
    run: async (world) => {
      world.loginExpiringIn(HOUR, { lastRefreshAgoSec: 9 * DAY });
      expect(await world.look("--safety-margin", "5m")).toMatchObject({ code: 0 });
      expect(world.postCount).toBe(1);
    },
  },
  {
    number: "8",
    sentence: "a token that expired an hour ago is refreshed",
    run: async (world) => {
      const old = world.loginExpiringIn(-HOUR);
      expect(await world.look()).toMatchObject({ code: 0 });
      expect(world.postCount).toBe(1);
      expect(world.home.readTokens()["refresh_token"]).not.toBe(old.refresh_token);
    },
  },
  {
    number: "9",
    sentence: "a newer file is adopted in place of an old opaque token, though the endpoint would say expired",
    run: async (world) => {
      world.server.always(rejects(401, "refresh_token_expired"));
      world.login({ lastRefreshAgoSec: 9 * DAY });
      let rewritten: unknown;
      const result = await world.runWithChangeAfterLook([], () => {
        world.login({ lastRefreshAgoSec: HOUR });
        rewritten = world.mark();
      });
      expect(result).toMatchObject({ code: 1 });
      expect(world.postCount).toBe(0);
      expect(world.mark()).toEqual(rewritten);
      expect(world.reason).toBe("adopted");
    },
  },
  {
    number: "10",
    sentence: "a 401 that says expired asks for a new login and leaves the file as it is",
    run: async (world) => {
      world.login();
      world.server.always(rejects(401, "refresh_token_expired"));
      const before = world.mark();
      expect(await world.ask()).toMatchObject({ code: 3 });
      expect(world.postCount).toBe(1);
      expect(world.mark()).toEqual(before);
      expect(world.reason).toBe("login_required_expired");
    },
  },
  ...[401, 400].map(
    (status, index): Scenario => ({
      number: String(11 + index),
      sentence: `a ${status} that says reused is remembered: asked twice, one request`,
      run: async (world) => {
        world.login();
        world.server.always(rejects(status, "refresh_token_reused"));
        const before = world.mark();
        for (const _time of ["first", "second"]) {
          expect(await world.ask()).toMatchObject({ code: 3 });
          expect(world.reason).toBe("login_required_reused");
        }
        expect(world.postCount).toBe(1);
        expect(world.mark()).toEqual(before);
      },
    }),
  ),
  {
    number: "13",
    sentence: "new tokens on the disk end what was remembered about the old ones",
    run: async (world) => {
      world.login();
      world.server.always(rejects(401, "refresh_token_reused"));
      expect(await world.ask()).toMatchObject({ code: 3 });
      world.login({ lastRefreshAgoSec: HOUR });
      const rewritten = world.mark();
      expect(await world.look()).toMatchObject({ code: 1 });
      expect(world.postCount).toBe(1);
      expect(world.mark()).toEqual(rewritten);
      expect(world.home.readStatus()).toMatchObject({ state: "ok", operator_action: null });
      // Nor is the new token taken for the rejected one when its time comes.
      world.server.always(null);
      expect(await world.ask()).toMatchObject({ code: 0 });
      expect(world.postCount).toBe(2);
    },
  },
  {
    number: "14",
    sentence: "a 500 is a passing trouble and leaves the file as it is",
    run: async (world) => {
      world.login();
      world.server.always({ status: 500, body: { error: "temporary-failure" } });
      const before = world.mark();
      expect(await world.ask()).toMatchObject({ code: 2 });
      expect(world.postCount).toBe(1);
      expect(world.mark()).toEqual(before);
      expect(world.home.readStatus()).toMatchObject({ watchdog_last_outcome: "fail:transient_500" });
    },
  },
  {
    number: "15",
    sentence: "an API key is nothing to refresh, even when asked",
    run: async (world) => {
      world.home.writeAuth(JSON.stringify({ auth_mode: "apikey", OPENAI_API_KEY: "sk-made-up", tokens: makeTokens() }));
      const before = world.mark();
      expect(await world.ask()).toMatchObject({ code: 1 });
      expect(world.postCount).toBe(0);
      expect(world.mark()).toEqual(before);
    },
  },
  {
    number: "16",
    sentence: "two at once make one request, and both go on with its tokens",
    run: async (world) => {
      const old = world.loginExpiringIn(60);
      world.server.always({ delayMs: 200 });
      const results = await Promise.all([world.look(), world.look()]);
      expect(results.map(({ code }) => code).sort()).toEqual([0, 1]);
      expect(world.postCount).toBe(1);
      expect(world.server.reuseCount).toBe(0);
      const current = world.home.readTokens()["refresh_token"] ?? "";
      expect(current).not.toBe(old.refresh_token);
      expect(world.server.isActive(current)).toBe(true);
    },
  },
  {
    number: "17",
    sentence: "tokens of the same account that arrive during a 401 that says reused are read again and adopted",
    run: async (world) => {
      world.login();
      let rewritten: unknown;
      world.server.always({
        ...rejects(401, "refresh_token_reused"),
        beforeAnswer: () => {
          world.login({ lastRefreshAgoSec: 0 });
          rewritten = world.mark();
        },
      });
      expect(await world.ask()).toMatchObject({ code: 1 });
      expect(world.postCount).toBe(1);
      expect(world.mark()).toEqual(rewritten);
      expect(world.reason).toBe("adopted");
    },
  },
];

describe("in the scenarios of Codex's own tests (CODEX.md)", () => {
  let world: World;

  beforeEach(async () => {
    world = new World(await TokenServer.start());
  });

  afterEach(async () => {
    await world.end();
  });

  for (const { number, sentence, run } of SCENARIOS) {
    it(`${number}: ${sentence}`, async () => {
      await run(world);
    });
  }
});
