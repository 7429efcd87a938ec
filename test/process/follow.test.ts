import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FleetScene } from "../support/fleet.js";
import { Home } from "../support/home.js";
import { findLeak, makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import {
  messages,
  NODE_PATH,
  PROGRAM_PATH,
  type Running,
  type RunResult,
  runProgram,
  startProgram,
  waitUntil,
} from "../support/program.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { TokenServer } from "../support/token-server.js";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));

function tokensIn(home: string): Record<string, string> {
  return (JSON.parse(readFileSync(join(home, "auth.json"), "utf8")) as { tokens: Record<string, string> }).tokens;
}

function statusIn(home: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(home, "auth_refresh_status.json"), "utf8")) as Record<string, unknown>;
}

async function end(running: Running): Promise<RunResult> {
  running.child.kill("SIGTERM");
  return await running.ended;
}

/** The bundles, on stdout at the end. */
const TELLS_WHAT_IS_LOADED = `
const vm = require("node:vm");
const names = [];
vm.Script = class extends vm.Script {
  constructor(code, options) {
    super(code, options);
    names.push(options.filename.split("/").pop());
  }
};
process.on("exit", () => console.log(JSON.stringify(names)));`;

describe("the code of a follower", () => {
  it("has nothing in it that could present a refresh token", () => {
    for (const file of ["watchdog.cjs", "following.cjs", "fleet-options.cjs", "flags.cjs"]) {
      const text = readFileSync(join(DIST, file), "utf8");
      expect([file, text.includes("grant_type"), text.includes('method:"POST"')]).toEqual([file, false, false]);
    }
    expect(readFileSync(join(DIST, "sending.cjs"), "utf8")).toContain("grant_type");
  });

  it("is all that it loads", () => {
    const home = new Home();
    const preload = join(home.path, "list.cjs");
    writeFileSync(preload, TELLS_WHAT_IS_LOADED);
    const args = ["--require", preload, PROGRAM_PATH, "follow", "--once", "--from", "http://127.0.0.1:1/"];
    const { stdout } = spawnSync(NODE_PATH, args, { env: { CODEX_HOME: home.path }, encoding: "utf8" });
    expect(new Set(JSON.parse(stdout) as string[])).toEqual(
      new Set(["fleet-options.cjs", "flags.cjs", "following.cjs", "watchdog.cjs"]),
    );
    home.remove();
  });
});

describe.each([16, 18] as const)("a follower of PostgreSQL %i", (major) => {
  let server: PostgresServer;
  let tokenServer: TokenServer;
  let scene: FleetScene;
  let proxy: TcpProxy;
  let tokens: Tokens;
  let printed: string[];

  beforeAll(async () => {
    server = await startPostgres(major);
  });

  afterAll(async () => {
    await server.stop();
  });

  beforeEach(async () => {
    printed = [];
    tokenServer = await TokenServer.start();
    scene = await FleetScene.open(server, tokenServer);
    proxy = await startTcpProxy(server.port);
    tokens = await scene.logIn({ expiresInSec: 40_000 });
  });

  afterEach(async () => {
    expect(findLeak(printed.join("\n"), Object.values(tokens))).toBeNull();
    await proxy.stop();
    await tokenServer.stop();
    scene.remove();
  });

  async function look(host: string, env: Record<string, string> = {}, ...flags: string[]): Promise<RunResult> {
    const result = await scene.run(host, ["follow", "--once", ...flags], "codex_follower", env);
    printed.push(result.stderr);
    return result;
  }

  function follow(host: string, ...flags: string[]): Running {
    return scene.start(host, ["follow", ...flags], "codex_follower");
  }

  it("copies all but the refresh token, and no more than once", async () => {
    expect((await look("f")).code).toBe(0);
    const copy = tokensIn(scene.home("f"));
    expect(copy).toEqual({ ...tokens, refresh_token: "", account_id: "acct-test" });
    expect((await look("f")).code).toBe(1);
    const everything = readdirSync(scene.home("f")).map((name) => readFileSync(join(scene.home("f"), name), "utf8"));
    expect(findLeak(everything.join("\n"), [tokens.refresh_token])).toBeNull();
    expect(statusIn(scene.home("f"))).toMatchObject({
      state: "ok",
      watchdog_last_outcome: "skip",
      follows: {
        source: expect.stringMatching(/^postgres:\/\/codex_follower@/),
        version: expect.any(Number),
        is_owner_alive: false,
      },
    });
  });

  it("has the next tokens long before it would look by itself, and knows that an owner lives", async () => {
    const [owner, follower] = [scene.start("o", []), follow("f", "--poll", "30s")];
    await waitUntil("a copy", () => follower.stderr().includes("follow: copied"));
    expect((await scene.run("o2", ["--once", "--force"])).code).toBe(0);
    await waitUntil("the next copy", () => follower.stderr().split("follow: copied").length === 3, 15_000);
    await waitUntil(
      "an owner",
      () => JSON.stringify(statusIn(scene.home("f"))).includes('"is_owner_alive":true'),
      15_000,
    );
    const shown = await runProgram({ args: ["status"], env: { CODEX_HOME: scene.home("f") } });
    expect(shown.stdout).toMatch(/healthy: a copy of a login that others refresh[\s\S]*owner +was seen/);
    const wait = await runProgram({ args: ["wait"], env: { CODEX_HOME: scene.home("f") } });
    expect(wait.code).toBe(0);
    printed.push((await end(owner)).stderr, (await end(follower)).stderr);
    expect(statusIn(scene.home("f"))).toMatchObject({ daemon: null });
  });

  // The rest is the same on every release.
  if (major !== 18) return;

  it("has them by its own look where no notice comes through", async () => {
    scene.port = proxy.port;
    const follower = follow("f", "--poll", "1s");
    await waitUntil("a copy", () => follower.stderr().includes("follow: copied"));
    proxy.onServerBytes = (bytes) => (bytes[0] === 0x41 ? "swallow" : "forward"); // NotificationResponse
    await scene.run("o", ["--once", "--force"]);
    await waitUntil("the next copy", () => follower.stderr().split("follow: copied").length === 3, 10_000);
    printed.push((await end(follower)).stderr);
  });

  it("waits for a database that is down, with what it has, and says so once", async () => {
    scene.port = proxy.port;
    await proxy.set("reset");
    const follower = follow("f", "--poll", "1s");
    await waitUntil("two looks", () => Number(statusOrNull(scene.home("f"))?.["consecutive_failures"]) >= 2);
    expect(follower.stderr().match(/check that PostgreSQL runs/g)).toHaveLength(1);
    await proxy.set("pass");
    await waitUntil("a copy", () => follower.stderr().includes("follow: copied"));
    await proxy.set("reset");
    await waitUntil("the failure", () => statusIn(scene.home("f"))["consecutive_failures"] === 1);
    // The copy is as good as before.
    expect((await runProgram({ args: ["wait"], env: { CODEX_HOME: scene.home("f") } })).code).toBe(0);
    printed.push((await end(follower)).stderr);
  });

  it("does not write an older version over a newer one", async () => {
    await server.query("create table old as table codex_auth.credential", scene.database);
    await scene.run("o", ["--once", "--force"]);
    expect((await look("f")).code).toBe(0);
    const before = tokensIn(scene.home("f"));
    await server.query(
      "delete from codex_auth.credential; insert into codex_auth.credential select * from old",
      scene.database,
    );
    const run = await look("f");
    expect([run.code, messages(run.stderr).at(-1)]).toEqual([
      2,
      expect.stringMatching(/is older than the copy here.*store put/),
    ]);
    expect(tokensIn(scene.home("f"))).toEqual(before);
  });

  it("leaves a login of the home's own alone until it is told to take over", async () => {
    const own = makeTokens({ expiresInSec: 1_000 });
    for (const text of [makeAuthJson(own), '{"auth_mode":"apikey","OPENAI_API_KEY":"sk-made-up-made-up"}']) {
      writeFileSync(join(scene.home("f"), "auth.json"), text);
      const run = await look("f");
      expect([run.code, messages(run.stderr).at(-1)]).toEqual([
        3,
        expect.stringMatching(/the home holds .* --take-over/),
      ]);
      expect(readFileSync(join(scene.home("f"), "auth.json"), "utf8")).toBe(text);
    }
    expect((await look("f", {}, "--take-over")).code).toBe(0);
    expect(tokensIn(scene.home("f"))["refresh_token"]).toBe("");
    // One that appears under a running follower stays as well.
    const follower = follow("f", "--take-over", "--poll", "1s");
    await waitUntil("a look", () => follower.stderr().includes("follow: holds"));
    writeFileSync(join(scene.home("f"), "auth.json"), makeAuthJson(own));
    await waitUntil("the refusal", () => follower.stderr().includes("the home holds a login of its own"));
    expect(tokensIn(scene.home("f"))).toEqual({ ...own, account_id: "acct-test" });
    expect((await end(follower)).code).toBe(0);
  });

  it("leaves the home alone, and says why in one line, whatever is wrong", async () => {
    expect((await look("f")).code).toBe(0);
    const file = join(scene.home("f"), "auth.json");
    const before = readFileSync(file, "utf8");
    const url = scene.url("codex_follower");
    const empty = server.adminUrl.replace(/postgres$/, await server.createDatabase());
    const expectLine = async (env: Record<string, string>, code: number, line: RegExp): Promise<void> => {
      const run = await look("f", env);
      expect([run.code, run.stderr]).toEqual([code, expect.stringMatching(line)]);
      expect(messages(run.stderr).filter((each) => !each.startsWith("Try "))).toHaveLength(1);
      expect(readFileSync(file, "utf8")).toBe(before);
    };
    await expectLine(
      { CODEX_AUTH_FOLLOWER_KEY_FILE: scene.path("owner.key") },
      3,
      /is sealed with the key .{16}, which is not among ours/,
    );
    await expectLine(
      { CODEX_AUTH_FOLLOWER_KEY_FILE: "" },
      64,
      /the follower's key is missing: give --follower-key-file/,
    );
    await expectLine({ CODEX_AUTH_STORE: url.replace("codex_follower@", "wrong@") }, 3, /\(28P01\): check the user/);
    await expectLine({ CODEX_AUTH_STORE: empty }, 3, /\(42P01\): run codex-auth-watchdog store init/);
    await expectLine({ CODEX_AUTH_CREDENTIAL: "none" }, 2, /holds no login; put one there/);
    await expectLine({ CODEX_AUTH_STORE: url.replace(/:\d+\//, ":1/") }, 2, /\(ECONNREFUSED\)/);
    await server.query("alter role codex_follower connection limit 0");
    await expectLine({}, 2, /\(53300\): raise the server's max_connections/);
    await server.query("alter role codex_follower connection limit -1");
    await server.query("revoke select on codex_auth.owner from codex_follower", scene.database);
    await expectLine({}, 3, /\(42501\): grant this role what it needs/);
    await server.query("grant select on codex_auth.owner to codex_follower", scene.database);
    await server.query("update codex_auth.credential set sealed_follower = sealed_follower || 'A'", scene.database);
    await expectLine({}, 3, /was changed by somebody who has not its key/);
    await server.query("alter table codex_auth.credential rename column sealed_follower to former", scene.database);
    await expectLine({}, 3, /\(42703\): run codex-auth-watchdog store init/);
  });

  it("can't read what is the owner's, with its role or its key", async () => {
    for (const what of ["sealed_owner", "refresh_fp", "*"]) {
      const query = `set role codex_follower; select ${what} from codex_auth.credential`;
      await expect(server.query(query, scene.database)).rejects.toThrow(/permission denied/);
    }
    const spend = "set role codex_follower; select * from codex_auth.spend";
    await expect(server.query(spend, scene.database)).rejects.toThrow(/permission denied/);
    const get = await scene.run("f", ["store", "get", "--with-refresh-token"], "postgres", {
      CODEX_AUTH_OWNER_KEY_FILE: scene.path("follower.key"),
    });
    expect([get.code, get.stdout]).toEqual([1, ""]);
  });

  it("refuses another account's copy", async () => {
    expect((await look("f")).code).toBe(0);
    tokens = await scene.logIn({ accountId: "acct-other", expiresInSec: 50_000 }).catch(async () => {
      await server.query("delete from codex_auth.credential", scene.database);
      return await scene.logIn({ accountId: "acct-other", expiresInSec: 50_000 });
    });
    const run = await look("f");
    expect([run.code, messages(run.stderr).at(-1)]).toEqual([
      3,
      expect.stringMatching(/another account's login; follow with --take-over/),
    ]);
    expect((await look("f", {}, "--take-over")).code).toBe(0);
  });
});

function statusOrNull(home: string): Record<string, unknown> | null {
  try {
    return statusIn(home);
  } catch {
    return null;
  }
}

describe("a follower of an address", () => {
  const BEARER = "bearer-made-up-for-this-test-only";
  let source: Server;
  let home: Home;
  let requests: IncomingMessage[];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  const tokens = makeTokens({ expiresInSec: 40_000 });
  const text = makeAuthJson(tokens);
  let url = "";

  beforeEach(async () => {
    requests = [];
    home = new Home();
    answer = (request, response) => {
      const etag = '"1"';
      if (request.headers["if-none-match"] === etag) response.writeHead(304).end();
      else response.writeHead(200, { etag, "content-type": "application/json" }).end(text);
    };
    source = createServer((request, response) => {
      requests.push(request);
      answer(request, response);
    });
    await new Promise<void>((resolve) => source.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(source.address() as AddressInfo).port}/login`;
  });

  afterEach(async () => {
    source.closeAllConnections();
    await new Promise((resolve) => source.close(resolve));
    home.remove();
  });

  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    CODEX_HOME: home.path,
    CODEX_AUTH_FOLLOW_URL: url,
    CODEX_AUTH_FOLLOW_BEARER: BEARER,
    ...more,
  });

  async function look(more: Record<string, string> = {}): Promise<RunResult> {
    const result = await runProgram({ args: ["follow", "--once"], env: env(more) });
    expect(
      `${result.stderr}${readdirSync(home.path)
        .map((name) => readFileSync(join(home.path, name), "utf8"))
        .join("")}`,
    ).not.toContain(BEARER);
    return result;
  }

  it("copies what is there, without the refresh token that should not be in it", async () => {
    expect((await look()).code).toBe(0);
    expect(home.readTokens()).toEqual({ ...tokens, refresh_token: "", account_id: "acct-test" });
    expect(requests.map(({ method, headers }) => [method, headers.authorization])).toEqual([
      ["GET", `Bearer ${BEARER}`],
    ]);
    expect((await look()).code).toBe(1);
  });

  it("takes the bearer token from a file, and asks for changes only", async () => {
    const file = join(home.path, "bearer");
    writeFileSync(file, `${BEARER}\n`);
    const args = ["follow", "--poll", "1s", "--bearer-file", file];
    const follower = startProgram({ args, env: env({ CODEX_AUTH_FOLLOW_BEARER: "another" }) });
    await waitUntil("three looks", () => requests.length >= 3);
    expect(requests.slice(0, 3).map(({ headers }) => [headers.authorization, headers["if-none-match"]])).toEqual([
      [`Bearer ${BEARER}`, undefined],
      [`Bearer ${BEARER}`, '"1"'],
      [`Bearer ${BEARER}`, '"1"'],
    ]);
    expect((await end(follower)).code).toBe(0);
  });

  it.each([
    [401, 3, /answers 401: check the bearer token/],
    [403, 3, /answers 403: this bearer token may not read it/],
    [404, 3, /answers 404: check the address/],
    [500, 2, /answers 500: it is asked again/],
    [302, 3, /answers 302: check the address/],
    ["garbage", 2, /sends no auth\.json/],
    ["array", 2, /sends no auth\.json/],
    ["empty object", 3, /what it offers is no ChatGPT login/],
    ["too much", 3, /sends more than an auth\.json can hold/],
    ["another host", 3, /redirects to another host, which is never followed/],
    ["a loop", 3, /redirects again and again/],
    ["nothing", 2, /can't be reached \(\w+\)/],
  ] as const)("leaves the home alone when it gets %s", async (what, code, line) => {
    home.writeAuth('{"tokens":{"refresh_token":""}}');
    const bodies: Record<string, string> = {
      garbage: "<html>",
      array: "[]",
      "empty object": "{}",
      "too much": `"${"x".repeat(2_000_000)}"`,
    };
    answer = (_request, response) => {
      if (typeof what === "number") response.writeHead(what).end();
      else if (what === "another host")
        response.writeHead(302, { location: url.replace("127.0.0.1", "localhost") }).end();
      else if (what === "a loop") response.writeHead(302, { location: "/login" }).end();
      else if (what === "nothing") response.socket?.resetAndDestroy();
      else response.end(bodies[what]);
    };
    const run = await look();
    expect([run.code, messages(run.stderr)]).toEqual([code, [expect.stringMatching(line)]]);
    expect(home.readAuth()).toBe('{"tokens":{"refresh_token":""}}');
  });

  it("follows a redirect on the same host", async () => {
    const serve = answer;
    answer = (request, response) => {
      if (request.url === "/login") response.writeHead(307, { location: "/real" }).end();
      else serve(request, response);
    };
    expect((await look()).code).toBe(0);
    expect(requests.map(({ url: path }) => path)).toEqual(["/login", "/real"]);
  });

  it.each(["http://vault.example/login", "ftp://x/", "nonsense", "https://user:secret@vault.example/"])(
    "is not asked for at %s",
    async (address) => {
      const run = await look({ CODEX_AUTH_FOLLOW_URL: address });
      expect([run.code, run.stderr]).toEqual([
        64,
        expect.stringMatching(/CODEX_AUTH_FOLLOW_URL: must be an https URL/),
      ]);
    },
  );
});
