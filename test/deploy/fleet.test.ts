import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { type Fields, objectsWith, readDeployment, readYaml } from "../support/deployments.js";
import { FleetScene } from "../support/fleet.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { runProgram } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

const ROLES = ["codex_auth_owner", "codex_auth_follower"];

let server: PostgresServer;
let tokenServer: TokenServer;
let scene: FleetScene;

beforeAll(async () => {
  server = await startPostgres(18);
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

/** What a container's settings say, with the database and the files of this test in place of those that are named there. */
function settingsOf(environment: Record<string, string>, role: string, host: string): Record<string, string> {
  const { CODEX_AUTH_STORE = "", CODEX_HOME = "" } = environment;
  expect(CODEX_HOME).toBe("/home/agent/.codex");
  const url = new URL(CODEX_AUTH_STORE);
  expect([url.username, url.password, url.searchParams.get("sslmode")]).toEqual([role, "", "verify-full"]);
  const pgpass = join(scene.folder, `${host}.pgpass`);
  writeFileSync(pgpass, `*:*:*:${role}:${role}\n`, { mode: 0o600 });
  const names = Object.keys(environment).filter((name) => name.endsWith("_KEY_FILE"));
  const keys = names.map((name) => [name, scene.path(name.includes("OWNER") ? "owner.key" : "follower.key")]);
  return {
    CODEX_HOME: scene.home(host),
    CODEX_AUTH_STORE: `postgres://${role}@127.0.0.1:${server.port}/${scene.database}`,
    CODEX_REFRESH_TOKEN_URL_OVERRIDE: tokenServer.url,
    PGPASSFILE: pgpass,
    ...Object.fromEntries(keys),
  };
}

it("works as the README says: roles.sql, store init, store put, then the containers of both files", async () => {
  await server.query(readDeployment("fleet/roles.sql"), scene.database);
  for (const role of ROLES) await server.query(`alter role ${role} password '${role}'`);
  const init = ["store", "init", "--owner-role", ROLES[0] ?? "", "--follower-role", ROLES[1] ?? ""];
  expect((await scene.run("admin", init, "postgres")).code).toBe(0);
  // Owner and rights are what the files say; so the login is put with the owner's role.
  const tokens = tokenServer.admit(makeTokens({ expiresInSec: 3_000 }));
  writeFileSync(join(scene.home("desk"), "auth.json"), makeAuthJson(tokens));
  const put = await scene.run("desk", ["store", "put"], undefined, {
    CODEX_AUTH_STORE: `postgres://codex_auth_owner:codex_auth_owner@127.0.0.1:${server.port}/${scene.database}`,
  });
  expect([put.code, put.stdout]).toEqual([0, expect.stringMatching(/^stored somebody@example.com/)]);
  rmSync(join(scene.home("desk"), "auth.json"));

  const [compose] = readYaml("fleet/compose.yaml").documents;
  const services = compose?.["services"] as Record<string, Fields>;
  expect(Object.keys(services)).toEqual(["db", "owner", "follower-1", "follower-2"]);
  const codes: Record<string, number | null> = {};
  for (const [name, role] of [
    ["owner", "codex_auth_owner"],
    ["follower-1", "codex_auth_follower"],
    ["follower-2", "codex_auth_follower"],
  ] as const) {
    const { entrypoint, environment } = services[name] ?? {};
    const [, ...words] = entrypoint as string[];
    const env = settingsOf(environment as Record<string, string>, role, name);
    codes[name] = (await runProgram({ args: [...words, "--once"], env })).code;
  }
  expect(codes).toEqual({ owner: 0, "follower-1": 0, "follower-2": 0 });

  const containers = objectsWith("env", readYaml("fleet/kubernetes.yaml").documents);
  for (const { name, command, env } of containers.filter((each) => String(each["name"]).startsWith("codex-auth"))) {
    const [, words = ""] = /exec codex-auth-watchdog ?([^;]*)$/.exec(String((command as string[]).at(-1))) ?? [];
    const list = env as { name: string; value?: string }[];
    const environment = Object.fromEntries(list.map((each) => [each.name, each.value ?? ""]));
    const role = name === "codex-auth-follower" ? "codex_auth_follower" : "codex_auth_owner";
    const settings = settingsOf(environment, role, String(name));
    const args = [...words.split(" ").filter((word) => word !== "" && !/^--http$|^0\.0\.0\.0/.test(word)), "--once"];
    const run = await runProgram({ args, env: settings });
    expect([name, run.code, run.stderr]).toEqual([name, name === "codex-auth-follower" ? 0 : 1, expect.any(String)]);
  }
  expect(tokenServer.posts).toHaveLength(1);
});

it("gives a follower no right that an owner has, and none to write", async () => {
  const rights = (role: string): Promise<Record<string, unknown>[]> =>
    server.query(
      `select table_name, privilege_type from information_schema.table_privileges where grantee = '${role}'
       union select table_name || '.' || column_name, privilege_type from information_schema.column_privileges
         where grantee = '${role}' and table_name = 'credential' and privilege_type <> 'SELECT' order by 1, 2`,
      scene.database,
    );
  const follower = await rights("codex_follower");
  expect(follower.map(({ table_name, privilege_type }) => `${table_name} ${privilege_type}`)).toEqual([
    "migration SELECT",
    "owner SELECT",
  ]);
});
