import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { fingerprint } from "../../src/core/fingerprint.js";
import { Secret } from "../../src/core/secret.js";
import { runDiscreetly } from "../support/discreet.js";
import { FleetScene } from "../support/fleet.js";
import { makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { type RunResult, runProgram } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

let server: PostgresServer;
let tokenServer: TokenServer;
let scene: FleetScene;
let tokens: Tokens;

beforeAll(async () => {
  server = await startPostgres(18);
});

afterAll(async () => {
  await server.stop();
});

beforeEach(async () => {
  tokenServer = await TokenServer.start();
  scene = await FleetScene.open(server, tokenServer);
  tokens = await scene.logIn();
});

afterEach(async () => {
  await tokenServer.stop();
  scene.remove();
});

/** Runs a command that prints no login. What it says is one line at most, and gives nothing away. */
async function store(words: string, env: Record<string, string> = {}, role = "codex_owner"): Promise<RunResult> {
  return await runDiscreetly(scene, Object.values(tokens), words, env, role);
}

function fileOf(name: string, text: string): string {
  writeFileSync(scene.path(name), text);
  return scene.path(name);
}

function putOnDesk(text: string): void {
  writeFileSync(join(scene.home("desk"), "auth.json"), text);
}

describe("store put", () => {
  it("takes the login of one home", async () => {
    const run = await store(`put --codex-home ${scene.home("a")} --codex-home ${scene.home("b")}`);
    expect([run.code, run.stderr]).toEqual([64, expect.stringMatching(/--codex-home: give the one/)]);
    expect((await store(`put --codex-home ${scene.path("nowhere")}`)).code).toBe(1);
  });

  it("reads no folder in auth.json's place", async () => {
    const home = scene.home("odd");
    mkdirSync(join(home, "auth.json"));
    const run = await store(`put --codex-home ${home}`);
    expect([run.code, run.stderr]).toEqual([1, expect.stringMatching(/not stored: .*auth\.json/)]);
  });

  it("takes a login of many that are offered at once, and tells the version that stands", async () => {
    await server.query("update codex_auth.credential set id = 'former'", scene.database);
    const homes = Array.from({ length: 5 }, (_none, index) => scene.home(`home-${index}`));
    for (const home of homes) writeFileSync(join(home, "auth.json"), makeAuthJson(makeTokens()));
    const runs = await Promise.all(homes.map((home) => store(`put --codex-home ${home}`)));
    const taken = runs.filter(({ code }) => code === 0);
    // One over the other counts as well, where its tokens are a second newer.
    expect(taken.length).toBeGreaterThan(0);
    expect(runs.every(({ code }) => code === 0 || code === 1)).toBe(true);
    const [row] = await server.query("select version from codex_auth.credential where id = 'default'", scene.database);
    expect(taken.map(({ stdout }) => stdout).join("")).toContain(`version ${row?.["version"]}\n`);
  });

  it("gives way when the same token is stored under another name at the very moment", async () => {
    const text = makeAuthJson(makeTokens({ expiresInSec: 9_000 }));
    putOnDesk(text);
    const mark = fingerprint(new Secret((JSON.parse(text) as { tokens: Tokens }).tokens.refresh_token));
    const rival = new pg.Client({ connectionString: scene.url("codex_owner"), ssl: false });
    await rival.connect();
    try {
      await rival.query("begin");
      await rival.query(
        `insert into codex_auth.credential (id, version, refresh_fp, account_ids, sealed_owner, sealed_follower, updated_by)
          values ('rival', 1, $1, '[]', '', '', 'test')`,
        [mark],
      );
      // It reads before the rival's row can be seen, and writes after it stands.
      const put = store("put --credential mine");
      const waiting = `select from pg_stat_activity where datname = '${scene.database}' and wait_event_type = 'Lock'`;
      for (let waited = 0; (await server.query(waiting)).length === 0 && waited < 200; waited += 1) await sleep(20);
      await rival.query("commit");
      const run = await put;
      expect([run.code, run.stderr]).toEqual([1, expect.stringMatching(/not stored: somebody has just written/)]);
    } finally {
      await rival.end();
    }
    expect((await store("put --credential mine")).stderr).toMatch(/stored already, as rival\n/);
    expect((await store("get --credential mine")).code).toBe(1);
  });

  it("counts on from a version that is ahead of the clock", async () => {
    const ahead = Date.now() + 1e10;
    await server.query(`update codex_auth.credential set version = ${ahead}`, scene.database);
    putOnDesk(makeAuthJson(makeTokens({ expiresInSec: 9_000 })));
    expect((await store("put")).stdout).toMatch(new RegExp(`version ${ahead + 1}\\n`));
  });

  it("tells that the home's own copy is not to be used any more", async () => {
    putOnDesk(makeAuthJson(makeTokens({ expiresInSec: 9_000 })));
    expect((await store("put")).stderr).toMatch(/auth\.json still holds the refresh token.*follow --take-over/);
  });
});

describe("store rotate-key", () => {
  /** The old key behind a new one. */
  async function nextKeys(): Promise<Record<string, string>> {
    const { stdout } = await runProgram({ args: ["store", "make-key"] });
    const old = readFileSync(scene.path("owner.key"), "utf8");
    return { CODEX_AUTH_OWNER_KEY_FILE: fileOf("next", `${stdout}${old}`) };
  }

  it("loses no answer of a request that is under way, and causes no second one", async () => {
    const env = await nextKeys();
    tokenServer.onPost = async () => {
      tokenServer.onPost = null;
      expect((await store("rotate-key", env)).code).toBe(0);
    };
    // This owner does not have the new key yet.
    const first = await scene.run("owner", ["--once"]);
    expect([first.code, first.stderr]).toEqual([4, expect.stringMatching(/UNSAVED.*not among ours/)]);
    expect((await scene.run("other", ["--once", "--force"], "codex_owner", env)).code).toBe(2);
    expect((await scene.run("owner", ["--once"], "codex_owner", env)).code).toBe(0);
    const stored = await store("get --with-refresh-token", env);
    expect(JSON.parse(stored.stdout)).toMatchObject({ tokens: { refresh_token: tokenServer.newestToken } });
    expect([tokenServer.posts.length, tokenServer.reuseCount]).toEqual([1, 0]);
  });

  it("can be run by many at once", async () => {
    const env = await nextKeys();
    const runs = await Promise.all(Array.from({ length: 4 }, () => store("rotate-key", env)));
    expect(runs.map(({ code }) => code).sort()[0]).toBe(0);
    expect(runs.every(({ code }) => code === 0 || code === 1)).toBe(true);
    expect((await store("rotate-key", env)).stdout).toMatch(/already/);
    expect(JSON.parse((await store("get --with-refresh-token", env)).stdout)).toMatchObject({ tokens });
  });

  it("goes on behind a login that it can't open, and names that", async () => {
    for (const name of ["a-damaged", "z-good"]) {
      putOnDesk(makeAuthJson(makeTokens()));
      expect((await store(`put --credential ${name}`)).code).toBe(0);
    }
    await server.query("update codex_auth.credential set version = version + 1 where id = 'a-damaged'", scene.database);
    const run = await store("rotate-key", await nextKeys());
    expect([run.code, run.stdout]).toEqual([
      1,
      expect.stringMatching(/^default: sealed anew.*\nz-good: sealed anew.*\n$/),
    ]);
    expect(run.stderr).toMatch(/a-damaged: holds what was sealed for another row/);
  });

  it("says that there is nothing to seal", async () => {
    await server.query("delete from codex_auth.credential", scene.database);
    const run = await store("rotate-key");
    expect([run.code, run.stdout, run.stderr]).toEqual([1, "", expect.stringMatching(/holds no login; store put/)]);
  });
});

describe("store get", () => {
  it.each([
    ["changed", "sealed_follower = sealed_follower || 'A'", /changed by somebody/],
    ["taken from the owner's column", "sealed_follower = sealed_owner", /key .{16}, which is not among ours/],
    ["of an older version", "version = version + 1", /another row or version/],
  ])("gives a follower nothing that was %s", async (_name, change, line) => {
    await server.query(`update codex_auth.credential set ${change}`, scene.database);
    const run = await store("get", { CODEX_AUTH_OWNER_KEY_FILE: "" }, "codex_follower");
    expect([run.code, run.stdout, run.stderr]).toEqual([1, "", expect.stringMatching(line)]);
  });

  it("gives nothing of a row that was copied over another's", async () => {
    putOnDesk(makeAuthJson(makeTokens()));
    await store("put --credential second");
    const swap = `update codex_auth.credential as c set version = o.version, sealed_follower = o.sealed_follower,
      sealed_owner = o.sealed_owner from codex_auth.credential as o where c.id = 'default' and o.id = 'second'`;
    await server.query(swap, scene.database);
    for (const words of ["get", "get --with-refresh-token"]) {
      const run = await store(words);
      expect([run.code, run.stdout, run.stderr]).toEqual([1, "", expect.stringMatching(/sealed for another row/)]);
    }
  });
});

describe("store status", () => {
  it("tells an owner that is gone from one that runs, and a request that nobody ended", async () => {
    const holder = '{"pid":7,"host":"far","bootId":null,"pidNamespace":null,"startTicks":null}';
    const presented = '{"fingerprint":"","accountIds":[],"stamps":{"issuedAtMs":null,"lastRefreshMs":null}}';
    await server.query(
      `insert into codex_auth.owner values ('default', 'here:/a', 'here', now() - interval '100 s'),
        ('default', 'far:/b', 'far', now() - interval '190 s'), ('other', 'hidden:/c', 'hidden', now());
      insert into codex_auth.spend (credential, refresh_fp, attempt, prepared, started_at, dispatched_at)
        select id, refresh_fp, 1, '{"event":"prepared","atMs":1,"holder":${holder},"presented":${presented}}',
          now() - interval '2 h', now() - interval '2 h' from codex_auth.credential`,
      scene.database,
    );
    const { stdout } = await store("status");
    expect(stdout).toMatch(/owner +here:\/a, seen 1 min 4\d s ago\n/);
    expect(stdout).toMatch(/owner +far:\/b, seen 3 min 1\d s ago: not running\n/);
    expect(stdout).not.toContain("hidden");
    expect(stdout).toMatch(/request +process 7 on far has not said what became of it since 2 h/);
    const json = JSON.parse((await store("status --json")).stdout) as Record<string, unknown>;
    expect(json).toMatchObject({
      owners: [
        { name: "here:/a", is_alive: true },
        { name: "far:/b", is_alive: false },
      ],
      requests: [{ attempt: 1, state: "dispatched", is_in_flight: false }],
    });
  });
});
