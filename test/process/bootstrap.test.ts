import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fileTicketBook } from "../../src/adapters/file-ticket-book.js";
import { systemClock } from "../../src/adapters/system-clock.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { Secret } from "../../src/core/secret.js";
import type { TicketEvent } from "../../src/core/ticket.js";
import { Home } from "../support/home.js";
import { findLeak, makeAuthJson, makeTokens } from "../support/login.js";
import { messages, type RunResult, runProgram, startProgram, waitUntil } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

let server: TokenServer;
let home: Home;

beforeEach(async () => {
  server = await TokenServer.start();
  home = new Home();
});

afterEach(async () => {
  await server.stop();
  home.remove();
});

function env(more: Record<string, string> = {}): Record<string, string> {
  return { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url, ...more };
}

async function once(more: Record<string, string> = {}, ...flags: string[]): Promise<RunResult> {
  return await runProgram({ args: ["--once", ...flags], env: env(more) });
}

/** Leaves a ticket behind, as a process does that has died over it. */
async function leaveTicket(refreshToken: string, ...events: TicketEvent[]): Promise<void> {
  const presented = {
    fingerprint: fingerprint(new Secret(refreshToken)),
    accountIds: ["acct-test"],
    stamps: { issuedAtMs: null, lastRefreshMs: null },
  };
  const creation = await fileTicketBook(home.authJsonPath, systemClock).create(presented, 1);
  if (creation.kind !== "created") throw new Error(creation.kind);
  for (const event of events) await creation.ticket.record(event);
  await creation.ticket.close();
}

describe("CODEX_AUTH_JSON", () => {
  it("becomes auth.json where there is none, and is refreshed at once when it is due", async () => {
    const blob = makeAuthJson(server.admit(makeTokens()));
    const run = await once({ CODEX_AUTH_JSON: blob });
    expect([run.code, messages(run.stderr)]).toEqual([
      0,
      [
        expect.stringMatching(/^bootstrap: wrote .*auth\.json from CODEX_AUTH_JSON: there was none$/),
        expect.stringMatching(/^refresh: starting/),
        expect.stringMatching(/^refresh: ok/),
      ],
    ]);
    expect(statSync(home.authJsonPath).mode & 0o777).toBe(0o600);
    expect(home.readRefreshToken()).toBe(server.newestToken);
  });

  it("never brings a spent token back: the secret stays as it was made, the login goes on", async () => {
    const blob = makeAuthJson(server.admit(makeTokens({ livesForSec: 600 })));
    expect((await once({ CODEX_AUTH_JSON: blob })).code).toBe(0);
    expect((await once({ CODEX_AUTH_JSON: blob }, "--force")).code).toBe(0);
    const before = home.readAuth();
    const run = await once({ CODEX_AUTH_JSON: blob });
    expect([run.code, messages(run.stderr)[0]]).toEqual([
      1,
      expect.stringMatching(/is newer than CODEX_AUTH_JSON, and stays: the refresh token in that secret is spent/),
    ]);
    expect(home.readAuth()).toBe(before);
    expect([server.posts.length, server.reuseCount]).toEqual([2, 0]);
  });

  it("replaces an older login of the account, and no other account's", async () => {
    home.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 800_000 })));
    const newer = makeAuthJson(makeTokens({ expiresInSec: 860_000 }));
    expect(messages((await once({ CODEX_AUTH_JSON: newer })).stderr)[0]).toMatch(
      /which held an older login of the account$/,
    );
    expect(home.readAuth()).toBe(newer);
    const other = makeAuthJson(makeTokens({ expiresInSec: 863_000, accountId: "acct-other" }), {
      accountId: "acct-other",
    });
    expect(messages((await once({ CODEX_AUTH_JSON: other })).stderr)[0]).toMatch(/another account's/);
    expect(home.readAuth()).toBe(newer);
  });

  it("makes a home that is missing, for nobody else to read; and none without it", async () => {
    const path = join(home.path, "deep", "home");
    expect((await once({ CODEX_HOME: path })).code).toBe(1);
    expect(existsSync(path)).toBe(false);
    const blob = Buffer.from(makeAuthJson(makeTokens({ expiresInSec: 800_000 }))).toString("base64");
    expect((await once({ CODEX_HOME: path, CODEX_AUTH_JSON: blob })).code).toBe(1);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(readFileSync(join(path, "auth.json"), "utf8")).toBe(Buffer.from(blob, "base64").toString());
  });

  it.each([
    ["nonsense", "nonsense", /is no auth\.json; put the text of one there/],
    ["half of one", '{"tokens":', /is no auth\.json/],
  ])("is not written when it is %s", async (_name, blob, line) => {
    const run = await once({ CODEX_AUTH_JSON: blob });
    expect([run.code, messages(run.stderr)[0]]).toEqual([1, expect.stringMatching(line)]);
    expect(existsSync(home.authJsonPath)).toBe(false);
  });

  it("leaves a broken file to whoever may mend it", async () => {
    home.writeAuth('{"tokens":{"refresh_token":"rt');
    const run = await once({ CODEX_AUTH_JSON: makeAuthJson(makeTokens()) });
    expect(messages(run.stderr)[0]).toMatch(/is broken or out of reach, and stays/);
    expect([run.code, home.readAuth()]).toEqual([2, '{"tokens":{"refresh_token":"rt']);
  });

  it("is not written when the server has refused it before", async () => {
    const tokens = makeTokens();
    const rejection = { cause: "reused", httpStatus: 401 } as const;
    await leaveTicket(
      tokens.refresh_token,
      { event: "dispatched", atMs: 1 },
      { event: "rejected", atMs: 2, rejection },
    );
    const run = await once({ CODEX_AUTH_JSON: makeAuthJson(tokens) });
    expect(messages(run.stderr)[0]).toMatch(/the server has refused the refresh token of CODEX_AUTH_JSON before/);
    expect([existsSync(home.authJsonPath), server.posts.length]).toEqual([false, 0]);
  });

  it("is what an answer is saved over that has outlived its file", async () => {
    const [old, next] = [makeTokens(), makeTokens({ expiresInSec: 800_000 })];
    const base64 = Buffer.from(JSON.stringify(next)).toString("base64");
    await leaveTicket(
      old.refresh_token,
      { event: "dispatched", atMs: 1 },
      { event: "answer", httpStatus: 200, base64 },
    );
    const run = await once({ CODEX_AUTH_JSON: makeAuthJson(old) });
    expect([run.code, home.readRefreshToken()]).toEqual([0, next.refresh_token]);
    expect(server.posts).toHaveLength(0);
  });

  it("is used at the start alone: a logout stays one", async () => {
    const blob = makeAuthJson(makeTokens({ expiresInSec: 800_000 }));
    const loop = startProgram({ args: ["--interval", "1"], env: env({ CODEX_AUTH_JSON: blob }) });
    await waitUntil("the file", () => existsSync(home.authJsonPath) && loop.stderr().includes("no-op: fresh"));
    home.removeAuth();
    await waitUntil("the next look", () => loop.stderr().includes("absent or empty"));
    expect(existsSync(home.authJsonPath)).toBe(false);
    loop.child.kill("SIGTERM");
    await loop.ended;
  });

  it("is told to nobody: no log, no status, no program that is started", async () => {
    const tokens = server.admit(makeTokens());
    const [hook, seen] = [join(home.path, "hook"), join(home.path, "seen")];
    writeFileSync(hook, `#!/bin/sh\nenv >${seen}\n`);
    chmodSync(hook, 0o755);
    const secrets = {
      CODEX_AUTH_JSON: makeAuthJson(tokens),
      PGPASSWORD: "made-up-password",
      CODEX_AUTH_OWNER_KEY: "made-up-key",
    };
    const run = await once(secrets, "--on-event", hook);
    const status = readFileSync(join(home.path, "auth_refresh_status.json"), "utf8");
    const handedOn = readFileSync(seen, "utf8");
    expect(findLeak(`${run.stdout}${run.stderr}${status}${handedOn}`, Object.values(tokens))).toBeNull();
    expect(handedOn).not.toMatch(/CODEX_AUTH_JSON|made-up/);
  });

  it("is one login: not for several homes, and not for a store", async () => {
    const blob = { CODEX_AUTH_JSON: makeAuthJson(makeTokens()) };
    const several = await runProgram({ args: ["--once", "--codex-home", home.path, "/other"], env: env(blob) });
    expect([several.code, several.stderr]).toEqual([64, expect.stringMatching(/CODEX_AUTH_JSON is one login/)]);
    expect(readdirSync(home.path)).toEqual([]);
  });

  it("says why when the machine refuses", async () => {
    rmSync(home.path, { recursive: true });
    writeFileSync(home.path, "");
    const run = await once({ CODEX_HOME: join(home.path, "x"), CODEX_AUTH_JSON: makeAuthJson(makeTokens()) });
    expect([run.code, messages(run.stderr)]).toEqual([
      2,
      [expect.stringMatching(/out of reach, and stays/), expect.stringMatching(/CODEX_HOME must be a directory/)],
    ]);
  });
});

describe("CODEX_AUTH_REFRESH_OWNER=0", () => {
  const other = { CODEX_AUTH_REFRESH_OWNER: "0" };

  it("sends nothing, forced or not, and says who will", async () => {
    home.writeAuth(makeAuthJson(server.admit(makeTokens())));
    for (const flags of [[], ["--force"]]) {
      const run = await once(other, ...flags);
      expect([run.code, messages(run.stderr)]).toEqual([
        1,
        ["no-op: due, and left to the owner (CODEX_AUTH_REFRESH_OWNER=0)"],
      ]);
    }
    expect(home.readStatus()).toMatchObject({ state: "ok", reason: "left_to_owner", watchdog_last_outcome: "skip" });
    const check = await runProgram({ args: ["check"], env: env(other) });
    expect([check.code, check.stdout]).toEqual([1, expect.stringMatching(/left to the owner/)]);
    expect(server.posts).toHaveLength(0);
    expect((await once()).code).toBe(0);
    expect((await once(other)).code).toBe(1);
  });

  it("is in trouble when the owner is: the access token has expired", async () => {
    home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: -10 }))));
    const run = await once(other);
    expect([run.code, run.stderr]).toEqual([
      2,
      expect.stringMatching(/the access token has expired, and that is left to the owner/),
    ]);
    expect(home.readStatus()).toMatchObject({
      state: "degraded",
      operator_action: expect.stringMatching(/see that an owner runs/),
    });
  });

  it("gets no refresh token from CODEX_AUTH_JSON", async () => {
    const run = await once({ ...other, CODEX_AUTH_JSON: makeAuthJson(makeTokens()) });
    expect(messages(run.stderr)[0]).toMatch(/CODEX_AUTH_JSON is not used: this process only watches/);
    expect(existsSync(home.authJsonPath)).toBe(false);
  });

  it("leaves an answer to the owner that waits to be saved", async () => {
    const [old, next] = [makeTokens(), makeTokens({ expiresInSec: 800_000 })];
    home.writeAuth(makeAuthJson(old));
    const base64 = Buffer.from(JSON.stringify(next)).toString("base64");
    await leaveTicket(
      old.refresh_token,
      { event: "dispatched", atMs: 1 },
      { event: "answer", httpStatus: 200, base64 },
    );
    expect((await once(other)).stderr).toMatch(
      /an answer waits in a ticket to be saved, and that is left to the owner/,
    );
    expect(home.readRefreshToken()).toBe(old.refresh_token);
    expect((await once()).code).toBe(0);
    expect(home.readRefreshToken()).toBe(next.refresh_token);
  });

  it("loads nothing that could send", async () => {
    home.writeAuth(makeAuthJson(makeTokens()));
    mkdirSync(join(home.path, "preload"));
    const preload = join(home.path, "preload", "list.cjs");
    writeFileSync(preload, 'process.on("exit", () => console.log(Object.keys(require.cache).join("\\n")));');
    const run = await once({ ...other, NODE_OPTIONS: `--require ${preload}` }, "--force");
    expect(run.stdout).toMatch(/watchdog\.cjs/);
    expect(run.stdout).not.toMatch(/refreshing/);
  });

  it("is 0 or 1", async () => {
    expect(await once({ CODEX_AUTH_REFRESH_OWNER: "no" })).toMatchObject({
      code: 64,
      stderr: expect.stringMatching(/CODEX_AUTH_REFRESH_OWNER: must be one of 1, 0/),
    });
  });
});
