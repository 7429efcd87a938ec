import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FleetScene } from "../support/fleet.js";
import { findLeak, makeAuthJson, makeTokens } from "../support/login.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { type RunResult, runProgram } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

describe.each([16, 18] as const)("the store on PostgreSQL %i", (major) => {
  let server: PostgresServer;
  let tokenServer: TokenServer;
  let scene: FleetScene;

  beforeAll(async () => {
    server = await startPostgres(major, { ssl: true });
  });

  afterAll(async () => {
    await server.stop();
  });

  beforeEach(async () => {
    tokenServer = await TokenServer.start();
    scene = await FleetScene.open(server, tokenServer);
  });

  afterEach(async () => {
    await tokenServer.stop();
    scene.remove();
  });

  async function store(words: string, env: Record<string, string> = {}, role = "codex_owner"): Promise<RunResult> {
    return await scene.run("desk", ["store", ...words.split(" ")], role, env);
  }

  function putOnDesk(text: string): void {
    writeFileSync(join(scene.home("desk"), "auth.json"), text);
  }

  it("is made once, however many make it at once and how often", async () => {
    const database = await server.createDatabase();
    const env = { CODEX_AUTH_STORE: server.adminUrl.replace(/postgres$/, database) };
    const runs = await Promise.all(Array.from({ length: 5 }, () => store("init", env)));
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
    expect((await store("init", env)).stdout).toMatch(/^schema codex_auth: at version 1\n/);
    expect(await server.query("select number from codex_auth.migration", database)).toEqual([{ number: 1 }]);
    await server.query("insert into codex_auth.migration (number) values (99)", database);
    expect(await store("init", env)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/version 99, made by a newer release/),
    });
  });

  it("prints SQL that does the same", async () => {
    const printed = await runProgram({
      args: ["store", "init", "--print", "--owner-role", 'odd "name"', "--follower-role", "codex_follower"],
    });
    const database = await server.createDatabase();
    await server.query(
      'do $$ begin create role "odd ""name"""; exception when duplicate_object then null; end $$',
      database,
    );
    await server.query(printed.stdout, database);
    expect(await server.query("select number from codex_auth.migration", database)).toEqual([{ number: 1 }]);
  });

  // The rest is the same on every release.
  if (major !== 18) return;

  it("says which role is missing, and what was done before", async () => {
    const run = await store('init --owner-role codex_owner --follower-role nobody"here', {}, "postgres");
    expect([run.code, run.stdout, run.stderr]).toEqual([
      1,
      "schema codex_auth: at version 1\nrole codex_owner: may do what an owner needs\n",
      'codex-auth-watchdog: there is no database role nobody"here; create it: create role "nobody""here" login;\n',
    ]);
  });

  it("hands no control characters of others to a terminal", async () => {
    await scene.logIn();
    const evil = "E'desk\\x1b[2J\\nstate healthy'";
    await server.query(
      `update codex_auth.credential set updated_by = ${evil};
      insert into codex_auth.owner values ('default', ${evil}, '', now());
      insert into codex_auth.spend (credential, refresh_fp, attempt, prepared) values ('default', repeat('0', 64), 1,
        '{"event":"prepared","atMs":1,"holder":{"pid":1,"host":"desk\\u001b[2J\\n"},"presented":{"accountIds":[],"stamps":{}}}')`,
      scene.database,
    );
    const run = await store("status");
    expect(run.stdout).toMatch(/stored .*by desk \[2J state healthy now\n.*\n *owner +desk \[2J state healthy, seen/);
    expect(run.stdout).toMatch(/request +process 1 on desk \[2J {2}(?:is|has)/);
    expect(run.stdout.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  });

  it("takes a login once, and a newer one over it", async () => {
    const first = await scene.logIn({ livesForSec: 10_000, expiresInSec: 8_000 });
    const again = await store("put");
    expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/the same login is stored already/)]);
    putOnDesk(makeAuthJson(makeTokens({ livesForSec: 10_000, expiresInSec: 7_000 })));
    expect((await store("put")).stderr).toMatch(/the stored one is newer/);
    putOnDesk(makeAuthJson(makeTokens({ accountId: "acct-other" }), { accountId: "acct-other" }));
    expect((await store("put")).stderr).toMatch(/another account's login.*--credential/);
    expect((await store("put --credential other")).stdout).toMatch(
      /^stored somebody@example.com as other, version \d+\n/,
    );
    expect(await scene.storedRefreshToken()).toBe(first.refresh_token);
    await scene.logIn({ livesForSec: 10_000, expiresInSec: 9_000 });
    expect(await scene.storedRefreshToken()).not.toBe(first.refresh_token);
  });

  it("does not take a token back that was presented from it", async () => {
    await scene.logIn();
    const spent = readFileSync(join(scene.home("desk"), "auth.json"), "utf8");
    expect((await scene.run("owner", ["--once"])).code).toBe(0);
    putOnDesk(spent);
    await server.query("delete from codex_auth.credential", scene.database);
    for (const words of ["put", "put --credential second"]) {
      const run = await store(words);
      expect([run.code, run.stderr]).toEqual([1, expect.stringMatching(/it is spent; log in again/)]);
    }
  });

  it.each([
    ["changed", "sealed_owner = sealed_owner || 'A'", /changed by somebody who has not its key; put the login again/],
    ["moved", "version = version + 1", /was sealed for another row or version; put the login again/],
    ["emptied", "sealed_owner = ''", /changed by somebody who has not its key; put the login again/],
  ])("takes a login again whose row was %s, and no older or other one", async (_name, change, line) => {
    const first = await scene.logIn({ livesForSec: 10_000, expiresInSec: 8_000 });
    const good = readFileSync(join(scene.home("desk"), "auth.json"), "utf8");
    await server.query(`update codex_auth.credential set ${change}`, scene.database);
    expect((await store("status")).stdout).toMatch(line);
    expect((await store("get --with-refresh-token")).stderr).toMatch(line);
    expect((await scene.run("owner", ["--once"])).stderr).toMatch(line);
    const stale = { lastRefreshAgoSec: 7_200, livesForSec: 20_000, expiresInSec: 7_000 };
    putOnDesk(makeAuthJson(makeTokens(stale), stale));
    expect((await store("put")).stderr).toMatch(/the stored one is newer/);
    putOnDesk(makeAuthJson(makeTokens({ accountId: "acct-other" }), { accountId: "acct-other" }));
    expect((await store("put")).stderr).toMatch(/another account's login/);
    putOnDesk(good);
    expect((await store("put")).code).toBe(0);
    expect(await scene.storedRefreshToken()).toBe(first.refresh_token);
  });

  it("does not take a login in place of one that another key opens", async () => {
    await scene.logIn();
    putOnDesk(makeAuthJson(makeTokens({ expiresInSec: 9_000 })));
    const run = await store("put", { CODEX_AUTH_OWNER_KEY_FILE: "", CODEX_AUTH_OWNER_KEY: "A".repeat(43) });
    expect([run.code, run.stderr]).toEqual([1, expect.stringMatching(/put that key into CODEX_AUTH_OWNER_KEY_FILE/)]);
  });

  it("takes a login under one name only, however many offer it at once", async () => {
    putOnDesk(makeAuthJson(makeTokens()));
    const names = ["a", "b", "c", "d", "e", "f"];
    const runs = await Promise.all(names.map((name) => store(`put --credential ${name}`)));
    expect(runs.map(({ code }) => code).sort()).toEqual([0, 1, 1, 1, 1, 1]);
    const rows = await server.query("select id from codex_auth.credential", scene.database);
    expect(rows).toHaveLength(1);
    const late = await store("put --credential late");
    expect([late.code, late.stderr]).toEqual([1, expect.stringMatching(`stored already, as ${rows[0]?.["id"]}\n`)]);
  });

  it("takes no login away from a refresh that is not finished", async () => {
    putOnDesk(makeAuthJson(tokenServer.admit(makeTokens())));
    tokenServer.always({ fault: "silent" });
    const { CODEX_HOME = "", CODEX_REFRESH_TOKEN_URL_OVERRIDE = "" } = scene.env("desk");
    const env = { CODEX_HOME, CODEX_REFRESH_TOKEN_URL_OVERRIDE };
    const posted = new Promise<void>((resolve) => {
      tokenServer.onPost = () => resolve();
    });
    const watchdog = scene.start("desk", ["--once"], "codex_owner", { ...env, CODEX_AUTH_STORE: "" });
    await posted;
    const run = await store("put");
    expect([run.code, run.stderr]).toEqual([2, expect.stringMatching(/a refresh of this login is not finished/)]);
    watchdog.child.kill("SIGKILL");
    await watchdog.ended;
    // Now nobody will ever hear the answer: an owner that knew nothing of this request would burn the login.
    const late = await store("put");
    expect([late.code, late.stderr]).toEqual([1, expect.stringMatching(/sent from this home.*log in again/)]);
    expect(await server.query("select from codex_auth.credential", scene.database)).toEqual([]);
  });

  it("takes no login that the server has refused", async () => {
    putOnDesk(makeAuthJson(makeTokens()));
    const refusedHere = await scene.run("desk", ["--once"], "codex_owner", { CODEX_AUTH_STORE: "" });
    expect(refusedHere.code).toBe(3);
    const run = await store("put");
    expect([run.code, run.stderr]).toEqual([1, expect.stringMatching(/server has refused.*log in again/)]);
  });

  it.each([
    ["nothing", null, /absent or empty/],
    ["half of one", "{", /is not complete JSON/],
    ["an API key", '{"auth_mode":"apikey"}', /auth_mode=apikey/],
    ["a copy", '{"tokens":{"refresh_token":"","access_token":"x"}}', /no_refresh_token/],
  ])("takes no %s", async (_name, text, line) => {
    if (text !== null) putOnDesk(text);
    const run = await store("put");
    expect([run.code, run.stderr]).toEqual([1, expect.stringMatching(line)]);
  });

  it("gives a follower's text, and the whole only when it is asked for", async () => {
    const tokens = await scene.logIn();
    const copy = await store("get", { CODEX_AUTH_OWNER_KEY_FILE: "" }, "codex_follower");
    expect(copy).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(copy.stdout)).toMatchObject({ tokens: { access_token: tokens.access_token, refresh_token: "" } });
    expect((await store("get", { CODEX_AUTH_FOLLOWER_KEY_FILE: "" })).stdout).toBe(copy.stdout);
    const whole = await store("get --with-refresh-token");
    expect(whole.stdout.trim()).toBe(readFileSync(join(scene.home("desk"), "auth.json"), "utf8"));
    expect(whole.stderr).toMatch(/works once/);
    expect((await store("get --with-refresh-token", {}, "codex_follower")).stderr).toMatch(/\(42501\)/);
    expect(await store("get --credential none")).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/holds no login/),
    });
  });

  it("changes its keys without a login being out of reach for a moment", async () => {
    await scene.logIn();
    putOnDesk(makeAuthJson(makeTokens()));
    expect((await store("put --credential second")).code).toBe(0);
    const [old, next] = [scene.path("owner.key"), scene.path("both.key")];
    const made = await runProgram({ args: ["store", "make-key"] });
    expect(made.stdout).toMatch(/^[\w-]{43}\n$/);
    writeFileSync(next, `${made.stdout}\n# until all have it\n${readFileSync(old, "utf8")}`);
    expect(await store("rotate-key")).toMatchObject({ code: 1, stdout: expect.stringMatching(/already/) });
    const rotated = await store("rotate-key", { CODEX_AUTH_OWNER_KEY_FILE: next });
    expect([rotated.code, rotated.stdout]).toEqual([
      0,
      expect.stringMatching(/^default: sealed anew, .*\nsecond: sealed anew, .*\nwhen every/),
    ]);
    expect((await store("rotate-key", { CODEX_AUTH_OWNER_KEY_FILE: next })).code).toBe(1);
    const former = await store("get --with-refresh-token");
    expect([former.code, former.stderr]).toEqual([
      1,
      expect.stringMatching(/sealed with the key .{16}, which is not among ours/),
    ]);
    writeFileSync(old, made.stdout);
    expect((await store("get --with-refresh-token")).code).toBe(0);
    expect((await scene.run("owner", ["--once"])).code).toBe(0);
  });

  it("shows who is logged in, who looks after it, and what is in flight", async () => {
    const empty = await store("status");
    expect([empty.code, empty.stderr]).toEqual([1, expect.stringMatching(/holds no login; store put/)]);
    const tokens = await scene.logIn();
    tokenServer.always({ fault: "silent" });
    const posted = new Promise<void>((resolve) => {
      tokenServer.onPost = () => resolve();
    });
    const owner = scene.start("owner", []);
    await posted;
    const shown = await store("status");
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(
      /state .*a refresh is on its way[\s\S]*login +somebody@example.com[\s\S]*stored +version \d+, by put on/,
    );
    expect(shown.stdout).toMatch(/owner +\S+:\/\S+\/owner, seen (now|\d+ s ago)\n/);
    expect(shown.stdout).toMatch(/request +process \d+ on \S+ is at work since/);
    const json = JSON.parse((await store("status --json")).stdout) as Record<string, unknown>;
    expect(json).toMatchObject({
      reason: "refreshing",
      owners: [{ is_alive: true }],
      requests: [{ state: "dispatched", is_in_flight: true }],
    });
    const blind = await store("status", { CODEX_AUTH_OWNER_KEY_FILE: "" });
    expect(blind.stdout).toMatch(/can't be opened here[\s\S]*keys +owner .{16}, follower .{16}/);
    expect(findLeak(`${shown.stdout}${JSON.stringify(json)}${blind.stdout}`, Object.values(tokens))).toBeNull();
    owner.child.kill("SIGKILL");
    await owner.ended;
  });

  it("checks whom it talks to as it is told", async () => {
    await scene.logIn();
    const certificate = scene.path("ca.pem");
    writeFileSync(certificate, server.certificate ?? "");
    const url = (options: string): Record<string, string> => ({
      CODEX_AUTH_STORE: `${scene.url("codex_owner")}?${options}`,
    });
    const byName = {
      CODEX_AUTH_STORE: `${scene.url("codex_owner").replace("127.0.0.1", "localhost")}?sslmode=verify-full&sslrootcert=${certificate}`,
    };
    const codes: Record<string, number | null> = {};
    for (const options of [
      "sslmode=disable",
      "sslmode=prefer",
      "sslmode=require",
      `sslmode=verify-ca&sslrootcert=${certificate}`,
      `sslmode=verify-full&sslrootcert=${certificate}`,
    ]) {
      codes[options.replace(/&.*/, "")] = (await store("status", url(options))).code;
    }
    expect(codes).toEqual({
      "sslmode=disable": 0,
      "sslmode=prefer": 0,
      "sslmode=require": 0,
      "sslmode=verify-ca": 0,
      "sslmode=verify-full": 0,
    });
    expect((await store("status", byName)).code).toBe(0);
    for (const options of [
      "sslmode=verify-full",
      "sslmode=verify-ca",
      `sslmode=verify-full&sslrootcert=/nonexistent`,
    ]) {
      const run = await store("status", url(options));
      expect([run.code, run.stderr]).toEqual([
        2,
        expect.stringMatching(
          /\((DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|ENOENT)\): check sslmode and sslrootcert/,
        ),
      ]);
    }
  });

  it("takes passwords from PGPASSFILE and PGPASSWORD, and none from the command line", async () => {
    await scene.logIn();
    const address = `postgres://codex_owner@127.0.0.1:${server.port}/${scene.database}`;
    const pgpass = scene.path("pgpass");
    writeFileSync(pgpass, "*:*:*:codex_owner:codex_owner\n", { mode: 0o600 });
    const env = { CODEX_AUTH_STORE: address };
    expect((await store("status", { ...env, PGPASSFILE: pgpass })).code).toBe(0);
    expect((await store("status", { ...env, PGPASSWORD: "codex_owner" })).code).toBe(0);
    expect(await store("status", env)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/check the user, and the password in PGPASSWORD/),
    });
    const inFlag = await scene.run("desk", ["store", "status", "--store", scene.url("codex_owner")]);
    expect([inFlag.code, inFlag.stderr]).toEqual([
      64,
      expect.stringMatching(/everybody on this machine can read a password there/),
    ]);
    expect(inFlag.stderr).not.toContain("codex_owner");
  });
});
