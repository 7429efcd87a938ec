import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { startPgbouncer } from "../support/pgbouncer.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

describe.each([16, 18] as const)("PostgreSQL %d", (major) => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres(major, { ssl: true });
  });

  afterAll(() => server.stop());

  it("is of that version, and keeps what was committed over kill -9 and restart", async () => {
    const { port } = server;
    const database = await server.createDatabase();
    await server.query("create table kept (word text); insert into kept values ('here')", database);
    await server.kill();
    await expect(server.query("select")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await server.restart();

    expect(await server.query("select word from kept where word = $1", database, ["here"])).toEqual([{ word: "here" }]);
    expect((await server.query("show server_version"))[0]?.["server_version"]).toMatch(new RegExp(`^${major}\\.`));
    expect(server.port).toBe(port);
    expect(server.log).toContain("automatic recovery in progress");
  });

  it("answers nothing while it is paused, and everything afterwards", async () => {
    server.pause();
    const answer = server.query("select 1 as one");
    const first = await Promise.race([answer, pause(300)]);
    server.resume();

    expect(first).toBe("silence");
    expect(await answer).toEqual([{ one: 1 }]);
  });

  it("wants a role's password, and shows a certificate that can be verified", async () => {
    await server.query("create role agent login password 'right'");
    const ca = server.certificate ?? "";

    await expect(ask(server.port, "agent", "wrong", { ca })).rejects.toMatchObject({ code: "28P01" });
    expect(await ask(server.port, "agent", "right", { ca })).toBe(true);
    expect(await ask(server.port, "agent", "right", false)).toBe(false);
    await expect(ask(server.port, "agent", "right", {})).rejects.toMatchObject({
      code: "DEPTH_ZERO_SELF_SIGNED_CERT",
    });
  });
});

it("leaves no process and no folder behind when its owner is killed, even when paused", async () => {
  const home = new Home();
  const script = join(home.path, "owner.ts");
  writeFileSync(
    script,
    `import { startPostgres } from ${JSON.stringify(join(ROOT, "test/support/postgres.js"))};
    const server = await startPostgres(18);
    const [{ data_directory }] = await server.query("show data_directory");
    server.pause();
    process.stdout.write(JSON.stringify({ pids: server.pids(), data: data_directory }));`,
  );
  const owner = spawn(process.execPath, [join(ROOT, "scripts/run-ts.mjs"), script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [printed] = (await once(owner.stdout, "data")) as [Buffer];
  const { pids, data } = JSON.parse(printed.toString()) as { pids: number[]; data: string };
  const isAlive = (pid: number) => existsSync(`/proc/${pid}/exe`);
  const before = { living: pids.filter(isAlive).length, folder: existsSync(data) };
  owner.kill("SIGKILL");
  for (let waited = 0; existsSync(data) && waited < 5_000; waited += 20) await pause(20);
  home.remove();

  expect(before.living).toBeGreaterThan(4);
  expect(before.folder).toBe(true);
  expect(existsSync(data)).toBe(false);
  expect(pids.filter(isAlive)).toEqual([]);
});

describe("with one server", () => {
  let server: PostgresServer;
  let proxy: TcpProxy;
  let clients: pg.Client[];

  beforeAll(async () => {
    server = await startPostgres(18);
    await server.query("create table line (word text)");
  });

  afterAll(() => server.stop());

  beforeEach(async () => {
    clients = [];
    proxy = await startTcpProxy(server.port);
    await server.query("truncate line");
  });

  afterEach(async () => {
    await proxy.stop();
    await Promise.allSettled(clients.map((client) => client.end()));
  });

  /** A client of the superuser's. */
  async function open(port: number): Promise<pg.Client> {
    const client = makeClient(port, "postgres", server.adminPassword, false);
    clients.push(client);
    await client.connect();
    return client;
  }

  const words = async (): Promise<unknown[]> => (await server.query("select word from line")).map(({ word }) => word);

  describe("the proxy", () => {
    it("passes everything, and counts it", async () => {
      const client = await open(proxy.port);
      const before = { ...proxy.counts };
      for (let count = 0; count < 3; count += 1) await client.query("select $1::text", ["x"]);

      expect(before.connections).toBe(1);
      expect(proxy.counts.roundTrips - before.roundTrips).toBe(3);
      expect(proxy.counts.bytesUp).toBeGreaterThan(before.bytesUp);
      expect(proxy.counts.bytesDown).toBeGreaterThan(before.bytesDown);
    });

    it("stalls: a connection stands, its bytes wait", async () => {
      const client = await open(proxy.port);
      await proxy.set("stall");
      const statement = client.query("insert into line values ('late')");
      const newcomer = open(proxy.port);
      const first = await Promise.race([statement, newcomer, pause(200)]);
      const before = await words();
      await proxy.set("pass");
      await Promise.all([statement, newcomer]);

      expect(first).toBe("silence");
      expect(before).toEqual([]);
      expect(await words()).toEqual(["late"]);
    });

    it("drops: bytes are lost for ever", async () => {
      const client = await open(proxy.port);
      await proxy.set("drop");
      const statement = client.query("insert into line values ('lost')");
      const ended = expect(statement).rejects.toThrow();
      await pause(100);
      await proxy.set("pass");
      const first = await Promise.race([statement, pause(200)]);
      proxy.cut();
      await ended;

      expect(first).toBe("silence");
      expect(await words()).toEqual([]);
    });

    it("resets what is open and what is new, and passes again", async () => {
      const client = await open(proxy.port);
      const ended = new Promise<void>((resolve) => client.on("end", resolve));
      await proxy.set("reset");
      await ended;
      const newcomer = connect(proxy.port, "127.0.0.1").resume();
      const [error] = (await once(newcomer, "error")) as [NodeJS.ErrnoException];
      await proxy.set("pass");

      expect(error.code).toBe("ECONNRESET");
      expect((await (await open(proxy.port)).query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    });

    it("refuses new connections only, and listens on the same port again", async () => {
      const client = await open(proxy.port);
      const { port } = proxy;
      await proxy.set("refuse");
      await expect(open(port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
      expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
      await proxy.set("pass");

      await open(port);
      expect(proxy.port).toBe(port);
    });

    it.each([
      { action: "cut", left: [] },
      { action: "cut-answer", left: ["written"] },
    ] as const)("$action at a commit leaves $left, and the client sees a reset", async ({ action, left }) => {
      const client = await open(proxy.port);
      proxy.onClientBytes = (bytes) => (bytes.includes("commit") ? action : "forward");
      await client.query("begin");
      await client.query("insert into line values ('written')");

      await expect(client.query("commit")).rejects.toMatchObject({ code: "ECONNRESET" });
      expect(await words()).toEqual(left);
    });

    it.each([
      { action: "hold", before: [] },
      { action: "hold-answer", before: ["written"] },
    ] as const)("$action keeps the client waiting until all passes", async ({ action, before }) => {
      const client = await open(proxy.port);
      proxy.onClientBytes = (bytes) => (bytes.includes("insert") ? action : "forward");
      const statement = client.query("insert into line values ('written')");
      const first = await Promise.race([statement, pause(200)]);
      const meanwhile = await words();
      proxy.onClientBytes = null;
      await proxy.set("pass");

      expect(first).toBe("silence");
      expect(meanwhile).toEqual(before);
      expect(await statement).toMatchObject({ rowCount: 1 });
      expect(await words()).toEqual(["written"]);
    });
  });

  describe("PgBouncer", () => {
    it("pools transactions: what a session keeps is gone in the next one", async (context) => {
      const pool = await startPgbouncer(server, { freshSessions: true });
      if (pool === null) return context.skip("no pgbouncer on the PATH (bash .ci/run fetches it)");
      try {
        const client = await open(pool.port);
        await client.query("set work_mem = '1234kB'");
        const { rows } = await client.query("show work_mem");
        const inside = await client.query("begin; set local work_mem = '1234kB'; show work_mem; commit");

        expect(rows).not.toEqual([{ work_mem: "1234kB" }]);
        expect([inside].flat()[2]?.rows).toEqual([{ work_mem: "1234kB" }]);
      } finally {
        await pool.stop();
      }
    });

    it("gives two clients one session when it has only one", async (context) => {
      await server.query("create role shared login password 'right'");
      const pool = await startPgbouncer(server, { passwords: { shared: "right" }, poolSize: 1 });
      if (pool === null) return context.skip("no pgbouncer on the PATH (bash .ci/run fetches it)");
      try {
        const pids: unknown[] = [];
        for (const _ of [1, 2]) {
          const client = makeClient(pool.port, "shared", "right", false);
          clients.push(client);
          await client.connect();
          pids.push((await client.query("select pg_backend_pid() as pid")).rows[0]?.pid);
        }

        expect(pids[0]).toBe(pids[1]);
      } finally {
        await pool.stop();
      }
    });
  });
});

function makeClient(port: number, user: string, password: string, ssl: false | { ca?: string }): pg.Client {
  const client = new pg.Client({ host: "127.0.0.1", port, user, password, database: "postgres", ssl });
  client.on("error", () => undefined);
  return client;
}

/** Logs in. Returns whether the connection is encrypted. */
async function ask(port: number, user: string, password: string, ssl: false | { ca?: string }): Promise<unknown> {
  const client = makeClient(port, user, password, ssl);
  await client.connect();
  const { rows } = await client.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()");
  await client.end();
  return rows[0]?.ssl;
}

async function pause(ms: number): Promise<"silence"> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return "silence";
}
