import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FleetScene } from "../support/fleet.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { runProgram } from "../support/program.js";

const ROLES = ["codex_owner", "codex_follower", "stranger"] as const;
type Role = (typeof ROLES)[number];

/** SQLSTATE of a statement that the role may not run. */
const DENIED = "42501";

const FINGERPRINT = "repeat('a', 64)";

describe.each([16, 18] as const)("the roles on PostgreSQL %i", (major) => {
  let server: PostgresServer;
  let scene: FleetScene;

  beforeAll(async () => {
    server = await startPostgres(major);
    await server.query("create role stranger login password 'stranger'");
    scene = await FleetScene.open(server);
    await scene.logIn();
  });

  afterAll(async () => {
    await server.stop();
    scene.remove();
  });

  /** Null when a role may run a statement, else the SQLSTATE. Nothing of it stays. */
  async function tryAs(role: Role, sql: string): Promise<string | null> {
    const client = new pg.Client({ connectionString: scene.url(role), ssl: false });
    await client.connect();
    try {
      await client.query("begin");
      await client.query(sql);
      return null;
    } catch (error) {
      return String((error as { code?: unknown }).code);
    } finally {
      await client.end();
    }
  }

  it.each([
    [
      "read what followers get",
      "select id, version, sealed_follower, expires_at, updated_at from codex_auth.credential",
      "of",
    ],
    ["read the version of the schema", "select number from codex_auth.migration", "of"],
    ["see the owners", "select name, seen_at from codex_auth.owner", "of"],
    ["read the sealed refresh token", "select sealed_owner from codex_auth.credential", "o"],
    ["read the token's fingerprint", "select refresh_fp from codex_auth.credential", "o"],
    ["read whole rows", "select * from codex_auth.credential", "o"],
    ["find a row by its fingerprint", `select id from codex_auth.credential where refresh_fp = ${FINGERPRINT}`, "o"],
    ["read the requests", "select * from codex_auth.spend", "o"],
    ["count the requests", "select count(*) from codex_auth.spend", "o"],
    ["write a login", "update codex_auth.credential set version = version + 1", "o"],
    ["write what followers get", "update codex_auth.credential set sealed_follower = 'x'", "o"],
    [
      "put a login",
      `insert into codex_auth.credential (id, version, refresh_fp, account_ids, sealed_owner, sealed_follower, updated_by)
        values ('new', 1, ${FINGERPRINT}, '[]', '', '', '')`,
      "o",
    ],
    ["note a request", `insert into codex_auth.spend values ('default', ${FINGERPRINT}, 1, '')`, "o"],
    ["end a request", "update codex_auth.spend set ended_at = now()", "o"],
    ["forget a request", "delete from codex_auth.spend", "o"],
    ["show itself as an owner", "insert into codex_auth.owner values ('default', 'me', 'here', now())", "o"],
    ["lock a row", "select version from codex_auth.credential for update", "o"],
    ["take a login away", "delete from codex_auth.credential", ""],
    ["empty the requests", "truncate codex_auth.spend", ""],
    ["claim another schema", "insert into codex_auth.migration values (2)", ""],
    ["drop a table", "drop table codex_auth.spend", ""],
    ["make a table", "create table codex_auth.mine ()", ""],
    ["switch a trigger off", "alter table codex_auth.credential disable trigger all", ""],
    [
      "hang a trigger on a table of its own",
      "create temp table t (id text, version int); create trigger t after insert on t for each row execute function codex_auth.tell()",
      "",
    ],
  ])("%s, where they need it", async (_name, sql, letters) => {
    const allowed = { codex_owner: letters.includes("o"), codex_follower: letters.includes("f"), stranger: false };
    const found: Record<string, boolean> = {};
    for (const role of ROLES) {
      const code = await tryAs(role, sql);
      expect([null, DENIED]).toContain(code);
      found[role] = code === null;
    }
    expect(found).toEqual(allowed);
  });

  it("get no more from another init, and lose nothing", async () => {
    const before = await rightsOf();
    const args = ["store", "init", "--owner-role", "codex_owner", "--follower-role", "codex_follower"];
    const run = await scene.run("admin", args, "postgres");
    expect([run.code, run.stdout.split("\n")]).toEqual([
      0,
      [
        "schema codex_auth: at version 1",
        "role codex_owner: may do what an owner needs",
        "role codex_follower: may do what a follower needs",
        "",
      ],
    ]);
    expect(await rightsOf()).toEqual(before);
  });

  async function rightsOf(): Promise<unknown[]> {
    const acl = `select relname, relacl::text from pg_class where relnamespace = 'codex_auth'::regnamespace
      union all select attrelid::regclass || '.' || attname, attacl::text from pg_attribute where attacl is not null
        and attrelid::regclass::text like 'codex_auth.%' order by 1, 2`;
    return await server.query(acl, scene.database);
  }

  it("hear of every new version, and of nothing else", async () => {
    const heard: (string | undefined)[] = [];
    const client = new pg.Client({ connectionString: scene.url("codex_follower"), ssl: false });
    client.on("notification", ({ payload }) => heard.push(payload));
    await client.connect();
    await client.query("listen codex_auth");
    for (const change of ["version = 1", "updated_by = 'x'", "version = 2, updated_by = 'y'"]) {
      await server.query(`update codex_auth.credential set ${change}`, scene.database);
    }
    await client.query("select");
    await client.end();
    expect(heard).toEqual(["default 1", "default 2"]);
  });

  it.each([
    ["no fingerprint", "update codex_auth.credential set refresh_fp = 'abc'"],
    ["a fingerprint in capitals", "update codex_auth.credential set refresh_fp = repeat('A', 64)"],
    ["a version of nothing", "update codex_auth.credential set version = 0"],
    ["an attempt of nothing", `insert into codex_auth.spend values ('default', ${FINGERPRINT}, 0, '')`],
  ])("may not write %s", async (_name, sql) => {
    expect(await tryAs("codex_owner", sql)).toBe("23514");
  });

  it("make one request of a token and a number, whoever is first", async () => {
    const insert = `insert into codex_auth.spend values ('default', ${FINGERPRINT}, 1, '')`;
    expect(await tryAs("codex_owner", `${insert}; ${insert}`)).toBe("23505");
  });

  it("are explained to whoever has none yet", async () => {
    const database = await server.createDatabase();
    const env = { CODEX_AUTH_STORE: server.adminUrl.replace(/postgres$/, database) };
    const run = await runProgram({ args: ["store", "init"], env });
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/^schema codex_auth: at version 1 \(was 0\)\n/);
    const sql = run.stdout.slice(run.stdout.indexOf("create role"));
    expect(run.stdout).toMatch(/\\password in psql/);
    expect(sql).not.toMatch(/password/i);
    // What it prints is what it would do.
    await server.query(`begin; ${sql}; rollback`, database);
    expect(sql).toMatch(
      /grant select \(id, version, sealed_follower, expires_at, updated_at\).* to "codex_auth_follower"/,
    );
  });
});
