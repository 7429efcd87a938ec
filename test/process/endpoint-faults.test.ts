import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { type LoginOptions, makeAuthJson, makeRefreshToken, makeTokens, type Tokens } from "../support/login.js";
import { fillDisk, onTmpfs } from "../support/mounts.js";
import {
  copyProgram,
  messages,
  type Running,
  type RunResult,
  runProgram,
  startProgram,
  waitUntil,
} from "../support/program.js";
import { type Reply, TokenServer } from "../support/token-server.js";

const SIDECAR = "auth_refresh_status.json";
const PERMANENT = { error: { code: "refresh_token_reused", message: "already used" } };

let server: TokenServer;
let home: Home;
let running: Running[];

beforeEach(async () => {
  server = await TokenServer.start();
  home = new Home();
  running = [];
});

afterEach(async () => {
  for (const { child, ended } of running) {
    child.kill("SIGKILL");
    await ended;
  }
  await server.stop();
  home.remove();
});

function environment(): Record<string, string> {
  return { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
}

async function once(...flags: string[]): Promise<RunResult> {
  return await runProgram({ args: ["--once", ...flags], env: environment() });
}

/** Starts a program that the test ends, or that `afterEach` ends when the test fails before. */
function launch(...args: string[]): Running {
  const started = startProgram({ args, env: environment() });
  running.push(started);
  return started;
}

/** Puts a login that is about to expire into the home, known to the server. */
function writeDueLogin(options: LoginOptions = {}): Tokens {
  const tokens = server.admit(makeTokens({ expiresInSec: 60, ...options }));
  home.writeAuth(makeAuthJson(tokens, options));
  return tokens;
}

/** The last line of a run; the line before it says that a request was made. */
function lastLine({ stdout, stderr }: RunResult): string {
  expect(stdout).toBe("");
  expect(stderr).not.toMatch(/^ +at |a bug:/m);
  const lines = messages(stderr);
  expect(lines, stderr).toHaveLength(2);
  expect(lines[0]).toMatch(/^refresh: starting \(endpoint=http:\/\/127\.0\.0\.1:\d+\/oauth\/token\)$/);
  return lines[1] ?? "";
}

function expectRefreshed(): void {
  expect(server.isActive(home.readRefreshToken())).toBe(true);
  expect(server.reuseCount).toBe(0);
  expect(home.list()).toEqual(["auth.json", SIDECAR]);
}

describe("an answer that does not renew the login", () => {
  const json = { "content-type": "application/json" };
  const html = "<!doctype html><title>Just a moment...</title>";

  interface Answer {
    readonly name: string;
    readonly reply: Reply;
    readonly code: 2 | 3;
    readonly says: RegExp;
  }
  const later = (name: string, reply: Reply, says: RegExp): Answer => ({ name, reply, code: 2, says });
  const final = (name: string, reply: Reply, says: RegExp): Answer => ({ name, reply, code: 3, says });
  const status = (httpStatus: number): Answer =>
    later(`status ${httpStatus}`, { status: httpStatus }, new RegExp(`http=${httpStatus}\\b`));
  const garbled = (name: string, body: unknown): Answer =>
    later(name, { status: 200, body }, /http=200.*not known whether/);

  it.each<Answer>([
    ...[400, 402, 403, 404, 405, 408, 409, 410, 418, 422, 425, 429, 451].map(status),
    ...[500, 501, 502, 503, 504, 520, 529, 599].map(status),
    final("a bare 401", { status: 401 }, /PERMANENT FAILURE \(http=401/),
    final("a 401 in HTML", { status: 401, body: html }, /PERMANENT/),
    final("400 invalid_grant", { status: 400, body: { error: "invalid_grant" } }, /PERMANENT/),
    final("400 in another case", { status: 400, body: { code: "REFRESH_TOKEN_EXPIRED" } }, /expired/),
    final("403 reused", { status: 403, body: PERMANENT }, /already used/),
    later("400 invalid_client", { status: 400, body: { error: "invalid_client" } }, /CLIENT_ID/),
    later("403 from a challenge page", { status: 403, body: html }, /http=403/),
    later("400 for an empty token", { status: 400, body: { error: "invalid_request" } }, /http=400/),
    later("503 that quotes a code as text", { status: 503, body: "refresh_token_reused" }, /http=503/),
    later("429 with Retry-After", { status: 429, headers: { "retry-after": "30" } }, /http=429.*unspent/),
    later("503 with a date", { status: 503, headers: { "retry-after": new Date().toUTCString() } }, /unspent/),
    later("204 without content", { status: 204, body: "" }, /http=204/),
    garbled("HTML with 200", html),
    garbled("an empty body with 200", ""),
    garbled("[] with 200", "[]"),
    garbled("{} with 200", "{}"),
    garbled("null with 200", "null"),
    garbled("a number with 200", "42"),
    garbled("a string with 200", `"${makeRefreshToken()}"`),
    garbled("tokens of the wrong types with 200", { access_token: 42, refresh_token: {}, id_token: [] }),
    garbled("empty tokens with 200", { access_token: "", refresh_token: "", id_token: "" }),
    garbled("tokens one level too deep", { tokens: makeTokens() }),
    garbled("tokens in a list", [makeTokens()]),
    garbled("100,000 brackets", "[".repeat(100_000)),
    garbled("two documents", `${JSON.stringify(makeTokens())}${JSON.stringify(makeTokens())}`),
    garbled("bytes that are no text", "\u0000".repeat(1_000)),
    later("10 MB of JSON", { headers: json, body: { filler: "x".repeat(10_000_000) }, status: 200 }, /http=200/),
    later("a body without end", { fault: "endless", status: 200 }, /http=200/),
    later("an error without end", { fault: "endless", status: 500 }, /http=500/),
  ])("leaves the login as it is after $name (exit $code)", async ({ reply, code, says }) => {
    writeDueLogin();
    const text = home.readAuth();
    server.always(reply);
    const result = await once();
    expect(result.code, result.stderr).toBe(code);
    expect(lastLine(result)).toMatch(says);
    expect(server.posts).toHaveLength(1);
    expect(home.readAuth()).toBe(text);
    expect(home.readStatus()["state"]).toBe(code === 3 ? "login_required" : "degraded");
    expect(home.readStatus()["watchdog_last_outcome"]).toMatch(
      code === 3 ? /^fail:permanent_4\d\d$/ : /^fail:(transient_\d{3}|apply_response)$/,
    );
    const leftovers = home.list().filter((name) => !["auth.json", SIDECAR].includes(name));
    for (const name of leftovers) expect(name).toMatch(/^\.auth\.json\.watchdog\.[0-9a-f]{64}\.1\.ticket$/);
  });

  it.each([300, 301, 302, 303, 307, 308])("does not follow a redirect (%i)", async (httpStatus) => {
    let requests = 0;
    const target = await listen((_request, response) => {
      requests += 1;
      response.end(JSON.stringify(makeTokens()));
    });
    try {
      writeDueLogin();
      const text = home.readAuth();
      const { port } = target.address() as AddressInfo;
      const headers = { location: `http://127.0.0.1:${port}/oauth/token` };
      server.always({ status: httpStatus, headers, body: "moved" });
      const result = await once();
      expect(result.code, result.stderr).toBe(2);
      expect(lastLine(result)).toMatch(/redirect/);
      expect(requests).toBe(0);
      expect(server.posts).toHaveLength(1);
      expect(home.readAuth()).toBe(text);
    } finally {
      await close(target);
    }
  });

  it("sends nothing when nobody listens, and the token stays good", async () => {
    writeDueLogin();
    const text = home.readAuth();
    const absent = await listen(() => undefined);
    const { port } = absent.address() as AddressInfo;
    await close(absent);
    const result = await runProgram({
      env: { ...environment(), CODEX_REFRESH_TOKEN_URL_OVERRIDE: `http://127.0.0.1:${port}/oauth/token` },
    });
    expect(result.code).toBe(2);
    expect(lastLine(result)).toMatch(/http=000.*ECONNREFUSED.*the token is unspent/);
    expect(home.readAuth()).toBe(text);
    expect(home.list()).toEqual(["auth.json", SIDECAR]);
    expect((await once()).code).toBe(0);
    expectRefreshed();
  });

  it("never stores an answer for another account", async () => {
    const { refresh_token: presented } = writeDueLogin({ accountId: "acct-mine" });
    const text = home.readAuth();
    const foreign = makeTokens({ expiresInSec: 864_000, accountId: "acct-theirs" });
    server.script({ status: 200, body: foreign });
    const result = await once();
    expect(result.code).toBe(3);
    expect(lastLine(result)).toMatch(/another account/);
    expect(home.readAuth()).toBe(text);
    expect(home.readRefreshToken()).toBe(presented);
    expect((await once()).code).toBe(3);
    expect(server.posts).toHaveLength(1);
    expect(home.readAuth()).toBe(text);
  });
});

describe("an answer that renews the login, though with trouble", () => {
  it("waits for a server that takes two seconds", async () => {
    writeDueLogin();
    server.always({ delayMs: 2_000 });
    expect((await once()).code).toBe(0);
    expectRefreshed();
  });

  it("takes a connection that broke after the whole JSON for a success", async () => {
    writeDueLogin();
    server.always({ fault: "whole-body-reset" });
    const result = await once();
    expect(result.code, result.stderr).toBe(0);
    expect(server.posts).toHaveLength(1);
    expectRefreshed();
  });

  it("does not store half of an answer, asks once more, and names the loss", async () => {
    const { refresh_token: presented } = writeDueLogin();
    const text = home.readAuth();
    server.script({ fault: "half-body-reset" });
    const result = await once();
    expect(result.code).toBe(3);
    expect(result.stderr).toMatch(/once more on a new one/);
    expect(result.stderr).toMatch(/the answer of that earlier request was lost on its way/);
    expect(home.readStatus()["reason"]).toBe("login_required_lost_response");
    expect(home.readAuth()).toBe(text);
    expect(home.readRefreshToken()).toBe(presented);
    expect(server.posts).toHaveLength(2);
  });

  it("asks once more within two seconds when the connection breaks before the answer", async () => {
    const { refresh_token: presented } = writeDueLogin();
    server.script({ fault: "reset", status: 500 });
    expect((await once()).code).toBe(0);
    expect(server.posts.map(({ refreshToken }) => refreshToken)).toEqual([presented, presented]);
    expect(server.reuseCount).toBe(0);
    expectRefreshed();
  });

  it("lets a token rest that was sent twice without an answer", async () => {
    writeDueLogin();
    const text = home.readAuth();
    server.always({ fault: "reset" });
    const result = await once();
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/http=000.*not known whether/);
    expect((await once()).stderr).toMatch(/was sent 2 times without an answer; waiting until/);
    expect(server.posts).toHaveLength(2);
    expect(home.readAuth()).toBe(text);
  });

  it("keeps the tokens that an answer does not bring", async () => {
    const before = writeDueLogin();
    const { access_token } = makeTokens({ expiresInSec: 864_000 });
    server.script({ status: 200, body: { access_token, token_type: "Bearer", scope: "openid" } });
    expect((await once()).code).toBe(0);
    expect(home.readTokens()).toMatchObject({ ...before, access_token, account_id: "acct-test" });
    expect(home.list()).toEqual(["auth.json", SIDECAR]);
  });

  it("takes an answer with 201 like one with 200", async () => {
    writeDueLogin();
    const granted = makeTokens({ expiresInSec: 864_000 });
    server.script({ status: 201, body: granted });
    expect((await once()).code).toBe(0);
    expect(home.readTokens()).toMatchObject({ ...granted });
  });
});

describe("a login that the server has given up", () => {
  it("is not presented again until the file holds another token", async () => {
    writeDueLogin();
    server.script({ status: 401 });
    const first = await once();
    expect(first.code).toBe(3);
    expect(lastLine(first)).toContain("log in again");
    const second = await once();
    expect(second.code).toBe(3);
    expect(messages(second.stderr)).toHaveLength(1);
    expect(second.stderr).toMatch(/PERMANENT FAILURE \(http=401, remembered; nothing was sent\)/);
    expect(server.posts).toHaveLength(1);

    writeDueLogin();
    expect((await once()).code).toBe(0);
    expect(server.posts).toHaveLength(2);
    expectRefreshed();
  });

  it("is remembered when the file is merely written anew", async () => {
    writeDueLogin();
    server.script({ status: 401 });
    expect((await once()).code).toBe(3);
    home.writeAuth(JSON.stringify(JSON.parse(home.readAuth())));
    expect((await once()).code).toBe(3);
    expect(server.posts).toHaveLength(1);
  });

  it("is asked about again with --force when the refusal had no name", async () => {
    writeDueLogin();
    server.script({ status: 401, body: "<h1>Captive portal</h1>" });
    expect((await once()).code).toBe(3);
    const forced = await once("--force");
    expect(forced.code, forced.stderr).toBe(0);
    expect(server.posts).toHaveLength(2);
    expectRefreshed();
  });

  it.each(["refresh_token_reused", "refresh_token_expired", "refresh_token_invalidated"])(
    "is not asked about again, not even with --force, after %s",
    async (code) => {
      writeDueLogin();
      server.script({ status: 401, body: { error: { code } } });
      expect((await once()).code).toBe(3);
      const forced = await once("--force");
      expect(forced.code).toBe(3);
      expect(messages(forced.stderr)).toHaveLength(1);
      expect(server.posts).toHaveLength(1);
    },
  );

  it.each([
    { name: "401 without a name", body: "" },
    { name: "401 refresh_token_reused", body: PERMANENT },
  ])("gives way to a sibling's tokens that came during $name", async ({ body }) => {
    writeDueLogin();
    const theirs = makeAuthJson(server.admit(makeTokens({ expiresInSec: 864_000 })), { lastRefreshAgoSec: 0 });
    server.onPost = () => home.writeAuth(theirs);
    server.script({ status: 401, body });
    const result = await once();
    expect(result.code, result.stderr).toBe(1);
    expect(lastLine(result)).toContain("adopted");
    expect(home.readAuth()).toBe(theirs);
    expectRefreshed();
  });

  it("gives way to a sibling that saves its tokens a second after the refusal", async () => {
    const presented = writeDueLogin();
    const theirs = makeAuthJson(server.admit(makeTokens({ expiresInSec: 864_000 })), { lastRefreshAgoSec: 0 });
    server.script({ status: 401, body: PERMANENT });
    const { ended } = launch("--once");
    await waitUntil("the POST", () => server.posts.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(home.readRefreshToken()).toBe(presented.refresh_token);
    home.writeAuth(theirs);
    const result = await ended;
    expect(result.code, result.stderr).toBe(1);
    expect(home.readAuth()).toBe(theirs);
    expectRefreshed();
  });

  it("gives way to a login of another account that came during the refusal", async () => {
    writeDueLogin({ accountId: "acct-old" });
    const options = { expiresInSec: 864_000, accountId: "acct-new" };
    const theirs = makeAuthJson(server.admit(makeTokens(options)), options);
    server.onPost = () => home.writeAuth(theirs);
    server.script({ status: 401 });
    const result = await once();
    expect(result.code, result.stderr).toBe(1);
    expect(lastLine(result)).toMatch(/new login stands/);
    expect(home.readAuth()).toBe(theirs);
    expectRefreshed();
  });
});

describe("a disk that is full when the answer arrives", () => {
  it("keeps the answer in the journal, and the next run saves it without another request", async () => {
    await onTmpfs(home.path, "size=512k", async () => {
      writeDueLogin();
      // More than the ticket's reserve can make room for.
      home.writeAuth(JSON.stringify({ ...JSON.parse(home.readAuth()), filler: "x".repeat(100_000) }));
      const text = home.readAuth();
      server.onPost = () => fillDisk(home.path);
      const unsaved = await once();
      expect(unsaved.code, unsaved.stderr).toBe(4);
      expect(unsaved.stderr).toMatch(/UNSAVED: .*ENOSPC/);
      expect(home.readAuth()).toBe(text);

      const stillFull = await once();
      expect(stillFull.code, stillFull.stderr).toBe(4);
      expect(home.readAuth()).toBe(text);

      rmSync(join(home.path, "filler"));
      const saved = await once();
      expect(saved.code, saved.stderr).toBe(0);
      expect(server.posts).toHaveLength(1);
      expectRefreshed();
    });
  });
});

it("saves an answer into the space that the ticket has kept free", async () => {
  await onTmpfs(home.path, "size=256k", async () => {
    writeDueLogin();
    server.onPost = () => fillDisk(home.path);
    expect((await once()).code).toBe(0);
    rmSync(join(home.path, "filler"));
    expectRefreshed();
  });
});

describe("a file that changes while the request is out", () => {
  it("keeps the login of another account that came meanwhile", async () => {
    writeDueLogin({ accountId: "acct-test" });
    const options = { expiresInSec: 864_000, accountId: "acct-new" };
    const theirs = makeAuthJson(server.admit(makeTokens(options)), options);
    server.onPost = () => home.writeAuth(theirs);
    const result = await once();
    expect(result.code, result.stderr).toBe(1);
    expect(home.readAuth()).toBe(theirs);
    expectRefreshed();
  });

  it("does not bring a login back that was logged out meanwhile", async () => {
    writeDueLogin();
    server.onPost = () => home.removeAuth();
    const result = await once();
    expect(result.code, result.stderr).toBe(1);
    expect(lastLine(result)).toMatch(/logged out/);
    expect(home.list()).toEqual([SIDECAR]);
  });

  it("keeps a field that another program added meanwhile", async () => {
    writeDueLogin();
    server.onPost = () => home.writeAuth(JSON.stringify({ ...JSON.parse(home.readAuth()), added: [1, 2] }));
    expect((await once()).code).toBe(0);
    expect(JSON.parse(home.readAuth())).toMatchObject({ added: [1, 2] });
    expectRefreshed();
  });
});

describe("a signal while the request is out", () => {
  const cases = (["SIGTERM", "SIGINT"] as const).flatMap((signal) =>
    ([1, 2] as const).map((times) => ({ signal, times })),
  );

  it.each(cases)("finishes and saves --once after $signal ($times times)", async ({ signal, times }) => {
    writeDueLogin();
    server.always({ delayMs: 1_000 });
    const { child, ended } = launch("--once");
    await waitUntil("the POST", () => server.posts.length === 1);
    for (let sent = 0; sent < times; sent += 1) {
      child.kill(signal);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const result = await ended;
    expect([result.code, result.signal], result.stderr).toEqual([0, null]);
    expect(server.posts).toHaveLength(1);
    expectRefreshed();
  });

  it.each(cases)("finishes, saves and ends the loop after $signal ($times times)", async ({ signal, times }) => {
    writeDueLogin();
    server.always({ delayMs: 1_000 });
    const { child, ended } = launch();
    await waitUntil("the POST", () => server.posts.length === 1);
    for (let sent = 0; sent < times; sent += 1) {
      child.kill(signal);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const result = await ended;
    expect([result.code, result.signal], result.stderr).toEqual([0, null]);
    expect(result.stderr).toMatch(/refresh: ok \(http=200\)/);
    expect(server.posts).toHaveLength(1);
    expectRefreshed();
  });
});

describe("the loop", () => {
  it("says how it is set, refreshes at once, sleeps, and ends with 0 on TERM", async () => {
    writeDueLogin();
    const loop = launch("--interval", "2h");
    await waitUntil("the refresh", () => loop.stderr().includes("refresh: ok"));
    await waitUntil("the status", () => home.list().includes(SIDECAR));
    expect(messages(loop.stderr())[0]).toMatch(
      /^watchdog: starting \(interval=7200s safety_margin=14400s stale_after=604800s .*codex_home=/,
    );
    expectRefreshed();
    // Idle: it neither asks again nor burns the processor.
    const cpuBefore = cpuTicks(loop);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(cpuTicks(loop) - cpuBefore).toBeLessThan(20);
    expect(server.posts).toHaveLength(1);
    loop.child.kill("SIGTERM");
    const result = await loop.ended;
    expect([result.code, result.signal]).toEqual([0, null]);
    expect(result.stdout).toBe("");
    expectRefreshed();
  });

  it("takes the interval from the environment, and the flag before that", async () => {
    const env = { ...environment(), CODEX_AUTH_REFRESH_INTERVAL_SECONDS: "60" };
    for (const [args, shown] of [
      [[], "interval=60s"],
      [["--interval", "90s"], "interval=90s"],
    ] as const) {
      const loop = startProgram({ args, env });
      running.push(loop);
      await waitUntil("the first cycle", () => loop.stderr().includes("absent or empty"));
      expect(loop.stderr()).toContain(`watchdog: starting (${shown}`);
      loop.child.kill("SIGTERM");
      expect((await loop.ended).code).toBe(0);
    }
  });

  /**
   * The new file may come at any moment of a cycle: right after the line that tells the outcome, when the
   * status is still being written, and much later, when the loop sleeps.
   */
  it("notices a new login, whenever it comes, within one poll", async () => {
    const moments = [0, 5, 20, 1_000];
    const places = moments.map(() => new Home());
    try {
      const refreshes = moments.map(async (delayMs, index) => {
        const place = places[index] ?? home;
        const loop = startProgram({ args: [], env: { ...environment(), CODEX_HOME: place.path } });
        running.push(loop);
        await waitUntil("the first cycle", () => loop.stderr().includes("absent or empty"));
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        place.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));
        await waitUntil(
          `the refresh of a login that came after ${delayMs} ms`,
          () => loop.stderr().includes("refresh: ok"),
          30_000,
        );
        expect(server.isActive(place.readRefreshToken())).toBe(true);
        loop.child.kill("SIGTERM");
        expect((await loop.ended).code).toBe(0);
      });
      const ends = await Promise.allSettled(refreshes);
      expect(ends.flatMap((end) => (end.status === "rejected" ? [String(end.reason)] : []))).toEqual([]);
      expect(server.posts).toHaveLength(moments.length);
    } finally {
      for (const place of places) place.remove();
    }
  });

  it("notices a new login that replaces one that was given up", async () => {
    writeDueLogin();
    server.script({ status: 401 });
    const loop = launch();
    await waitUntil("the status", () => home.list().includes(SIDECAR));
    expect(loop.stderr()).toContain("PERMANENT");
    writeDueLogin();
    await waitUntil("the new login's refresh", () => loop.stderr().includes("refresh: ok"), 30_000);
    expect(server.posts).toHaveLength(2);
    loop.child.kill("SIGTERM");
    expect((await loop.ended).code).toBe(0);
    expectRefreshed();
  });

  it("looks at once on HUP, and lets USR1 pass", async () => {
    const loop = launch();
    await waitUntil("the first cycle", () => loop.stderr().includes("absent or empty"));
    // Node's own answer to USR1 would be a debugger port and a line that says so.
    loop.child.kill("SIGUSR1");
    writeDueLogin();
    loop.child.kill("SIGHUP");
    await waitUntil("the refresh", () => loop.stderr().includes("refresh: ok"), 10_000);
    expect(loop.stderr()).not.toMatch(/debugger/i);
    loop.child.kill("SIGTERM");
    expect((await loop.ended).code).toBe(0);
  });

  it.each([
    { name: "is a file", arrange: (path: string) => writeFileSync(path, "") },
    {
      name: "holds a link that points at itself",
      arrange: (path: string) => {
        mkdirSync(path);
        symlinkSync("auth.json", join(path, "auth.json"));
      },
    },
    { name: "may not be entered", arrange: (path: string) => mkdirSync(path, { mode: 0o700 }), uid: 1000 },
  ])("goes on when its home $name, until told to stop", async ({ arrange, uid }) => {
    const path = join(home.path, "codex");
    chmodSync(home.path, 0o755);
    arrange(path);
    const loop = startProgram({
      args: [],
      env: { ...environment(), CODEX_HOME: path },
      ...(uid === undefined ? {} : { uid, programPath: copyProgram(join(home.path, "program")) }),
    });
    running.push(loop);
    await waitUntil("the first cycle", () => loop.stderr().includes("transient: "));
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect([loop.child.exitCode, loop.stderr()]).toEqual([null, expect.not.stringContaining("a bug")]);
    loop.child.kill("SIGTERM");
    expect((await loop.ended).code).toBe(0);
  });

  it("goes on after a failure, and does not hammer the server", async () => {
    writeDueLogin();
    server.always({ status: 503 });
    const loop = launch("--interval", "1h");
    await waitUntil("the failure", () => loop.stderr().includes("http=503"));
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(server.posts).toHaveLength(1);
    server.always(null);
    loop.child.kill("SIGHUP");
    await waitUntil("the refresh", () => loop.stderr().includes("refresh: ok"));
    loop.child.kill("SIGINT");
    expect((await loop.ended).code).toBe(0);
    expectRefreshed();
  });
});

describe("many copies at the same moment", () => {
  it.each([2, 10, 50])("present the token once (%i copies)", { timeout: 120_000 }, async (copies) => {
    writeDueLogin();
    const results = await Promise.all(Array.from({ length: copies }, () => once()));
    const codes = results.map(({ code }) => code);
    expect(codes.filter((code) => code === 0)).toHaveLength(1);
    expect(codes.filter((code) => code === 1)).toHaveLength(copies - 1);
    expect(server.posts).toHaveLength(1);
    expectRefreshed();
  });

  it("present the token once when the server takes its time", async () => {
    writeDueLogin();
    server.always({ delayMs: 2_000 });
    const results = await Promise.all(Array.from({ length: 8 }, () => once()));
    expect(results.map(({ code }) => code).sort()).toEqual([0, 1, 1, 1, 1, 1, 1, 1]);
    expect(server.posts).toHaveLength(1);
    expectRefreshed();
  });

  it("ask once about a token that the server has given up", async () => {
    writeDueLogin();
    server.always({ status: 401, body: { error: { code: "refresh_token_expired" } } });
    const results = await Promise.all(Array.from({ length: 8 }, () => once()));
    expect(results.map(({ code }) => code)).toEqual(Array.from({ length: 8 }, () => 3));
    expect(server.posts).toHaveLength(1);
  });
});

/** Processor time that a running program has used, in ticks of 10 ms. */
function cpuTicks({ child }: Running): number {
  const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

async function listen(handler: RequestListener): Promise<Server> {
  const started = createServer(handler);
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  return started;
}

async function close(started: Server): Promise<void> {
  started.closeAllConnections();
  await new Promise((resolve) => started.close(resolve));
}
