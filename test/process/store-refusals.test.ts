import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runDiscreetly } from "../support/discreet.js";
import { FleetScene } from "../support/fleet.js";
import { makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { type RunResult, runProgram } from "../support/program.js";

let server: PostgresServer;
/** One for all: nothing that is refused changes anything. */
let scene: FleetScene;
let tokens: Tokens;
let before: unknown;

beforeAll(async () => {
  server = await startPostgres(18);
  scene = await FleetScene.open(server);
  tokens = await scene.logIn();
  await server.query("create role nobody login password 'nobody'");
  // One that could be put, so that it is the fault that keeps it out.
  writeFileSync(join(scene.home("desk"), "auth.json"), makeAuthJson(makeTokens({ expiresInSec: 9_000 })));
  before = await server.query("select * from codex_auth.credential", scene.database);
});

afterAll(async () => {
  expect(await server.query("select * from codex_auth.credential", scene.database)).toEqual(before);
  await server.stop();
  scene.remove();
});

/** Runs a command on the store. It ends with a clear line, and gives nothing away. */
async function store(words: string, env: Record<string, string> = {}, role = "codex_owner"): Promise<RunResult> {
  return await runDiscreetly(scene, Object.values(tokens), words, env, role);
}

const WITH_DATABASE = ["init", "put", "get", "rotate-key", "status"] as const;
const WITH_KEYS = ["put", "rotate-key", "get --with-refresh-token"] as const;

describe.each(WITH_DATABASE)("store %s", (command) => {
  it.each([
    [
      "nobody listens",
      () => scene.url("codex_owner").replace(/:\d+\//, ":1/"),
      /\(ECONNREFUSED\): check that PostgreSQL/,
    ],
    [
      "no host has that name",
      () => "postgres://u@nowhere.invalid/d",
      /\((?:ENOTFOUND|EAI_AGAIN)\): check that PostgreSQL/,
    ],
    ["no database has that name", () => `${scene.url("codex_owner")}_x`, /\(3D000\): create that database/],
    [
      "the password is wrong",
      () => scene.url("codex_owner").replace(":codex_owner@", ":x@"),
      /\(28P01\): check the user/,
    ],
    ["the server speaks no TLS", () => `${scene.url("codex_owner")}?sslmode=require`, /\(NO_TLS\): check sslmode/],
  ])("ends with 2 and says why, when %s", async (_name, url, line) => {
    const run = await store(command, { CODEX_AUTH_STORE: url() });
    expect([run.code, run.stdout, run.stderr]).toEqual([2, "", expect.stringMatching(line)]);
  });

  it("ends with 2 on a role that may not do it", async () => {
    const run = await store(command, {}, "nobody");
    expect([run.code, run.stdout, run.stderr]).toEqual([2, "", expect.stringMatching(/\(42501\): grant this role/)]);
  });

  it("says that the tables are missing", async () => {
    const url = server.adminUrl.replace(/postgres$/, await server.createDatabase());
    const run = await store(command, { CODEX_AUTH_STORE: url });
    if (command === "init") expect(run.code).toBe(0);
    else
      expect([run.code, run.stderr]).toEqual([
        2,
        expect.stringMatching(/\(42P01\): run codex-auth-watchdog store init/),
      ]);
  });

  it("wants to be told where the store is, and nothing that it does not know", async () => {
    expect(await store(command, { CODEX_AUTH_STORE: "" })).toMatchObject({
      code: 64,
      stderr: expect.stringMatching(/--store \(or CODEX_AUTH_STORE\)/),
    });
    expect((await store(`${command} --frobnicate`)).code).toBe(64);
    expect((await store(`${command} surplus`)).code).toBe(64);
    expect((await store(command, { CODEX_AUTH_STORE: "mysql://u:hunter2hunter2@h/d" })).stderr).not.toMatch(/hunter2/);
  });
});

describe.each(WITH_KEYS)("store %s", (command) => {
  it.each([
    ["is missing", () => "", /the owner's key is missing: give --owner-key-file, CODEX_AUTH_OWNER_KEY_FILE or CODEX_/],
    ["is not there", () => scene.path("none"), /CODEX_AUTH_OWNER_KEY_FILE: .*none \(ENOENT\)/],
    ["is a folder", () => scene.home("folder"), /folder is no file/],
    ["is a FIFO", () => makeFifo(), /fifo is no file/],
    ["is huge", () => fileOf("huge", "A".repeat(70_000)), /huge is too large/],
    ["is empty", () => fileOf("empty", "\n# nothing\n"), /empty holds no key/],
    ["is too short", () => fileOf("short", "c2hvcnQ\n"), /short line 1 is no key/],
    [
      "has a bad second line",
      () => fileOf("second", `${readFileSync(scene.path("owner.key"), "utf8")}x\n`),
      /line 2 is no/,
    ],
  ])("wants a key that is one: it %s", async (_name, path, line) => {
    const run = await store(command, { CODEX_AUTH_OWNER_KEY_FILE: path() });
    expect([run.code, run.stdout, run.stderr]).toEqual([64, "", expect.stringMatching(line)]);
  });

  it("says which key is wanted in place of a wrong one", async () => {
    const { stdout: other } = await runProgram({ args: ["store", "make-key"] });
    const run = await store(command, { CODEX_AUTH_OWNER_KEY_FILE: fileOf("other", other) });
    const where =
      /is sealed with the key [\w-]{16}, which is not among ours; put that key into CODEX_AUTH_OWNER_KEY_FILE/;
    expect([run.code, run.stdout]).toEqual([1, ""]);
    // With several logins in a store, the name of each comes first.
    expect(run.stderr).toMatch(command === "rotate-key" ? new RegExp(`default: ${where.source}`) : where);
  });
});

function fileOf(name: string, text: string): string {
  writeFileSync(scene.path(name), text);
  return scene.path(name);
}

function makeFifo(): string {
  if (!existsSync(scene.path("fifo"))) execFileSync("mkfifo", [scene.path("fifo")]);
  return scene.path("fifo");
}

describe("store init --print", () => {
  it("connects to nothing, and needs no store", async () => {
    const alone = await runProgram({ args: ["store", "init", "--print"] });
    const away = await store("init --print", { CODEX_AUTH_STORE: "postgres://u@127.0.0.1:1/d" });
    expect([alone.code, alone.stderr, away.stdout]).toEqual([0, "", alone.stdout]);
    expect(alone.stdout).toMatch(/^begin;\n[\s\S]*to "codex_auth_follower";\ncommit;\n$/);
    expect(alone.stdout).not.toMatch(/password/i);
  });
});

describe("store make-key", () => {
  it("needs nothing, and makes another one each time", async () => {
    const runs = await Promise.all([1, 2, 3].map(() => runProgram({ args: ["store", "make-key"] })));
    for (const run of runs)
      expect(run).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/^[\w-]{43}\n$/) });
    expect(new Set(runs.map(({ stdout }) => stdout)).size).toBe(3);
  });
});
