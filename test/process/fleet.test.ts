import { readdirSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FleetScene } from "../support/fleet.js";
import { findLeak, type Tokens } from "../support/login.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { messages, type RunResult } from "../support/program.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { TokenServer } from "../support/token-server.js";

let tokenServer: TokenServer;
let scene: FleetScene;
let proxy: TcpProxy;
let tokens: Tokens;

/** What every run has printed, for the search at the end. */
let printed: string[];

async function once(host: string, ...flags: string[]): Promise<RunResult> {
  return kept(await scene.run(host, ["--once", ...flags]));
}

function kept(result: RunResult): RunResult {
  printed.push(result.stdout, result.stderr);
  return result;
}

/** The tickets that are left on a host. */
function ticketsOf(host: string): string[] {
  return readdirSync(scene.home(host)).filter((name) => name.endsWith(".ticket"));
}

/** Once, the network breaks when an owner sends a certain statement: on its way, or before its answer is back. */
function breakAt(words: string, action: "cut" | "cut-answer" | "hold" = "cut"): void {
  proxy.onClientBytes = (bytes) => {
    if (!bytes.includes(words)) return "forward";
    proxy.onClientBytes = null;
    return action;
  };
}

async function expectGoodEnd(postCount: number): Promise<void> {
  expect(tokenServer.posts).toHaveLength(postCount);
  expect(tokenServer.reuseCount).toBe(0);
  expect(await scene.storedRefreshToken()).toBe(tokenServer.newestToken);
}

describe.each([16, 18] as const)("owners on PostgreSQL %i", (major) => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres(major, { maxConnections: 60 });
  });

  afterAll(async () => {
    await server.stop();
  });

  beforeEach(async () => {
    printed = [];
    tokenServer = await TokenServer.start();
    scene = await FleetScene.open(server, tokenServer);
    proxy = await startTcpProxy(server.port);
    tokens = await scene.logIn();
    scene.port = proxy.port;
  });

  afterEach(async () => {
    const everything = printed.join("\n");
    const secrets = [...Object.values(tokens), tokenServer.newestToken ?? ""].filter((token) => token !== "");
    expect(findLeak(everything, secrets)).toBeNull();
    expect(everything).not.toMatch(/\n {4}at /);
    await proxy.stop();
    await tokenServer.stop();
    scene.remove();
  });

  it("refresh a due login once, and then find it fresh", async () => {
    const first = await once("a");
    expect(messages(first.stderr).at(-1)).toBe("refresh: ok (http=200) rotated=id_token,access_token,refresh_token");
    expect((await once("b")).code).toBe(1);
    expect(first.code).toBe(0);
    expect(ticketsOf("a")).toEqual([]);
    await expectGoodEnd(1);
  });

  it("make one request of ten who start at once, on hosts of their own", async () => {
    const hosts = Array.from({ length: 10 }, (_none, index) => `host-${index}`);
    const codes = (await Promise.all(hosts.map((host) => once(host)))).map(({ code }) => code);
    expect(codes.sort()).toEqual([0, ...Array.from({ length: 9 }, () => 1)]);
    await expectGoodEnd(1);
  });

  // The rest is the same on every release.
  if (major !== 18) return;

  it("let a database that vanishes during the request lose nothing", async () => {
    tokenServer.onPost = async () => {
      await proxy.set("reset");
      proxy.cut();
    };
    const first = await once("a");
    expect([first.code, ticketsOf("a")]).toEqual([4, [expect.any(String)]]);
    tokenServer.onPost = null;
    // Another host knows that the token has left, and waits.
    await proxy.set("pass");
    const other = await once("b", "--force");
    expect([other.code, messages(other.stderr).at(-1)]).toEqual([2, expect.stringMatching(/is at work on this login/)]);
    const second = await once("a");
    expect([second.code, messages(second.stderr).at(-1)]).toEqual([0, expect.stringMatching(/an earlier run/)]);
    expect(ticketsOf("a")).toEqual([]);
    await expectGoodEnd(1);
  });

  it("save when the database is killed during the request and comes back", async () => {
    tokenServer.onPost = async () => {
      tokenServer.onPost = null;
      await server.kill();
      setTimeout(() => void server.restart(), 50);
    };
    const first = await once("a");
    if (first.code !== 0) expect([first.code, (await once("a")).code]).toEqual([4, 0]);
    await expectGoodEnd(1);
  });

  it.each([
    ["the token is looked up", "c.sealed_owner", "cut"],
    ["the requests are looked up", "from codex_auth.spend", "cut"],
    ["the rights are looked up", "has_any_column_privilege", "cut"],
    ["the request is noted", "insert into codex_auth.spend", "cut"],
    ["the request was noted", "insert into codex_auth.spend", "cut-answer"],
    ["the token is about to leave", "set dispatched_at", "cut"],
    ["it was noted that the token leaves", "set dispatched_at", "cut-answer"],
    ["the answer is saved", "update codex_auth.credential", "cut"],
    ["the answer was saved", "update codex_auth.credential", "cut-answer"],
    ["the request is ended", "delete from codex_auth.spend", "cut"],
    ["the request was ended", "delete from codex_auth.spend", "cut-answer"],
  ] as const)("lose nothing when the network breaks as %s", async (_name, words, action) => {
    breakAt(words, action);
    const codes = [(await once("a")).code];
    // The next run of that host ends it, whatever it was.
    codes.push((await once("a")).code);
    expect(codes).toContain(0);
    expect((await once("b")).code).toBe(1);
    await expectGoodEnd(1);
  });

  it("give up in time when the network swallows everything", async () => {
    breakAt("set dispatched_at", "hold");
    const run = await once("a");
    expect([run.code, tokenServer.posts.length]).toEqual([2, 0]);
    await proxy.set("pass");
    proxy.cut();
    expect((await once("a")).code).toBe(0);
    await expectGoodEnd(1);
  });

  it("leave a request alone whose owner was killed, until it says what became of it", async () => {
    let kill = (): void => undefined;
    tokenServer.script({ status: 503, delayMs: 300 });
    tokenServer.onPost = () => kill();
    const owner = scene.start("a", ["--once"]);
    kill = () => owner.child.kill("SIGKILL");
    expect((await owner.ended).signal).toBe("SIGKILL");
    tokenServer.onPost = null;
    const other = await once("b");
    expect([other.code, messages(other.stderr).at(-1)]).toEqual([
      2,
      expect.stringMatching(/process \d+ on .* at work/),
    ]);
    expect(tokenServer.posts).toHaveLength(1);
    // Its own host knows that it is gone, and that no answer came.
    const again = await once("a");
    expect(again.code).toBe(0);
    expect((await once("b")).code).toBe(1);
    await expectGoodEnd(2);
  });

  it("go by the database's clock, whatever theirs says", async () => {
    await scene.logIn({ expiresInSec: 6 * 3_600 });
    for (const hours of [-50, -5, 5, 50]) {
      const preload = scene.path(`clock${hours}.cjs`);
      writeFileSync(preload, `const now = Date.now; Date.now = () => now() + ${hours * 3_600_000};`);
      const env = { NODE_OPTIONS: `--require ${preload}` };
      const run = kept(await scene.run(`clock${hours}`, ["--once"], "codex_owner", env));
      expect([run.code, messages(run.stderr)]).toEqual([1, [expect.stringMatching(/^no-op: fresh exp_in=21\d{3}s/)]]);
    }
  });

  describe("after an old backup was played back", () => {
    async function restore(...tables: string[]): Promise<() => Promise<void>> {
      for (const table of tables)
        await server.query(`create table ${table}_old as table codex_auth.${table}`, scene.database);
      return async () => {
        for (const table of tables) {
          const copy = `delete from codex_auth.${table}; insert into codex_auth.${table} select * from ${table}_old`;
          await server.query(copy, scene.database);
        }
      };
    }

    it("don't present a token that the record says is spent", async () => {
      const play = await restore("credential");
      expect((await once("a")).code).toBe(0);
      await play();
      const run = await once("b");
      expect([run.code, messages(run.stderr).at(-1)]).toEqual([
        3,
        expect.stringMatching(/put back to an older state.*store put/),
      ]);
      expect(tokenServer.posts).toHaveLength(1);
    });

    it("don't touch what is older than they have seen, even when the record is gone too", async () => {
      const play = await restore("credential", "spend");
      expect((await once("a")).code).toBe(0);
      await play();
      const run = await once("a", "--force");
      expect([run.code, messages(run.stderr).at(-1)]).toEqual([2, expect.stringMatching(/a restored backup\?/)]);
      expect(tokenServer.posts).toHaveLength(1);
      // A new login counts again.
      await scene.logIn();
      expect((await once("a")).code).toBe(0);
      expect(tokenServer.reuseCount).toBe(0);
    });
  });

  it("say what is wrong in one line, and send nothing", async () => {
    const owner = (env: Record<string, string>, role?: string): Promise<RunResult> =>
      scene.run("x", ["--once"], role, env);
    const url = scene.url("codex_owner");
    const swapped = { CODEX_AUTH_OWNER_KEY_FILE: "", CODEX_AUTH_OWNER_KEY: "A".repeat(43) };
    const cases: readonly [RunResult, number, RegExp][] = [
      [
        await owner(swapped),
        2,
        /is sealed with the key [\w-]{16}, which is not among ours; put that key into CODEX_AUTH_OWNER_KEY_FILE/,
      ],
      [await owner({ CODEX_AUTH_OWNER_KEY_FILE: "/nonexistent" }), 64, /--owner-key-file|CODEX_AUTH_OWNER_KEY_FILE/],
      [
        await owner({ CODEX_AUTH_OWNER_KEY_FILE: "", CODEX_AUTH_OWNER_KEY: "short" }),
        64,
        /CODEX_AUTH_OWNER_KEY line 1 is no key/,
      ],
      [
        await owner({ CODEX_AUTH_FOLLOWER_KEY_FILE: scene.path("owner.key") }),
        64,
        /have one in common, which would open the refresh token/,
      ],
      [await owner({}, "codex_follower"), 2, /\(42501\): grant this role what it needs/],
      [
        await owner({ CODEX_AUTH_STORE: url.replace("codex_owner@", "wrong@") }),
        2,
        /\(28P01\): check the user, and the password/,
      ],
      [await owner({ CODEX_AUTH_STORE: url.replace(/[^/]+$/, "nowhere") }), 2, /\(3D000\): create that database/],
      [
        await owner({ CODEX_AUTH_STORE: url.replace(/:\d+\//, ":1/") }),
        2,
        /\(ECONNREFUSED\): check that PostgreSQL runs/,
      ],
      [await owner({ CODEX_AUTH_STORE: `${url}?sslmode=require` }), 2, /\(NO_TLS\): check sslmode/],
      [await owner({ CODEX_AUTH_STORE: `${url}?sslmode=always` }), 64, /sslmode must be one of/],
      [await owner({ CODEX_AUTH_STORE: "mysql://x/y" }), 64, /must be a PostgreSQL URL/],
      [await owner({ CODEX_AUTH_CREDENTIAL: "none" }), 1, /absent or empty/],
      [await owner({ CODEX_AUTH_CREDENTIAL: "a b" }), 64, /--credential/],
      [await scene.run("x", ["--dry-run"]), 64, /store status says how/],
    ];
    for (const [{ code, stderr }, expected, line] of cases) {
      printed.push(stderr);
      expect([code, stderr]).toEqual([expected, expect.stringMatching(line)]);
      expect(
        stderr
          .trim()
          .split("\n")
          .filter((each) => !each.startsWith("Try ")),
      ).toHaveLength(1);
    }
    expect(tokenServer.posts).toHaveLength(0);
  });

  it("say that tables are missing, or that connections are used up, and go on when that is mended", async () => {
    const empty = await server.createDatabase();
    const url = server.adminUrl.replace(/postgres$/, empty);
    const run = kept(await scene.run("x", ["--once"], "postgres", { CODEX_AUTH_STORE: url }));
    expect([run.code, run.stderr]).toEqual([2, expect.stringMatching(/\(42P01\): run codex-auth-watchdog store init/)]);

    await server.query("alter role codex_owner connection limit 0", scene.database);
    const full = await once("a");
    expect([full.code, full.stderr]).toEqual([
      2,
      expect.stringMatching(/\(53300\): raise the server's max_connections/),
    ]);
    await server.query("alter role codex_owner connection limit -1", scene.database);
    expect((await once("a")).code).toBe(0);
  });

  it("wait for a database that is down at the start, and look after the login when it is there", async () => {
    await proxy.set("reset");
    const loop = scene.start("a", ["--min-refresh-interval", "1"]);
    await waitFor(() => loop.stderr().includes("check that PostgreSQL runs"));
    await proxy.set("pass");
    loop.child.kill("SIGHUP");
    await waitFor(() => loop.stderr().includes("refresh: ok"));
    loop.child.kill("SIGTERM");
    expect((await loop.ended).code).toBe(0);
    printed.push(loop.stderr());
    await expectGoodEnd(1);
  });

  it("take a new login as soon as it is put, and make their home", async () => {
    await scene.logIn({ expiresInSec: 800_000 });
    const env = { CODEX_HOME: scene.path("not/there") };
    const loop = scene.start("loop", [], "codex_owner", env);
    await waitFor(() => loop.stderr().includes("no-op: fresh"));
    const sinceMs = Date.now();
    // Newer, and due.
    await scene.logIn({ expiresInSec: 1_000, livesForSec: 4_000 });
    await waitFor(() => loop.stderr().includes("refresh: ok"));
    // Long before its own look, every 30 s.
    expect(Date.now() - sinceMs).toBeLessThan(15_000);
    loop.child.kill("SIGTERM");
    expect((await loop.ended).code).toBe(0);
    printed.push(loop.stderr());
    expect(readdirSync(scene.path("not/there"))).toContain("auth_refresh_status.json");
  });

  it("keep a refused token from every host, and take a new login", async () => {
    tokenServer.script({ status: 401, body: { error: { code: "refresh_token_expired" } } });
    expect((await once("a")).code).toBe(3);
    expect((await once("b")).code).toBe(3);
    expect(tokenServer.posts).toHaveLength(1);
    await scene.logIn();
    expect((await once("b")).code).toBe(0);
  });

  it("leave no token in the database that anybody could read", async () => {
    await once("a");
    const texts = await Promise.all(
      ["credential", "spend", "owner"].map((table) =>
        server.query(`select t::text from codex_auth.${table} as t`, scene.database),
      ),
    );
    expect(findLeak(JSON.stringify(texts), [...Object.values(tokens), tokenServer.newestToken ?? ""])).toBeNull();
    expect(JSON.stringify(texts)).toContain("eyJ"); // It is there, sealed.
  });
});

async function waitFor(isTrue: () => boolean): Promise<void> {
  for (const untilMs = Date.now() + 30_000; !isTrue(); ) {
    if (Date.now() > untilMs) throw new Error("it did not come to that");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
