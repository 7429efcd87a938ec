import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FleetScene } from "../support/fleet.js";
import { type Pgbouncer, startPgbouncer } from "../support/pgbouncer.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { waitUntil } from "../support/program.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { TokenServer } from "../support/token-server.js";

const PASSWORDS = { codex_owner: "codex_owner", codex_follower: "codex_follower" };

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres(18);
});

afterAll(async () => {
  await server.stop();
});

/** With one session for everybody collisions show; with a new one for each transaction what a session would have kept. */
describe.each([
  ["one session for all", { poolSize: 1 }],
  ["a new session for each transaction", { freshSessions: true }],
] as const)("through PgBouncer, which pools transactions: %s", (_name, options) => {
  let tokenServer: TokenServer;
  let scene: FleetScene;
  let pool: Pgbouncer | null;

  beforeEach(async () => {
    tokenServer = await TokenServer.start();
    scene = await FleetScene.open(server, tokenServer);
    await scene.logIn();
    pool = await startPgbouncer(server, { ...options, passwords: PASSWORDS });
    scene.port = pool?.port ?? server.port;
  });

  afterEach(async () => {
    await pool?.stop();
    await tokenServer.stop();
    scene.remove();
  });

  it("owners make one request, save what comes back, and recover it where the pool went away", async (context) => {
    if (pool === null) return context.skip("no pgbouncer on the PATH (bash .ci/run fetches it)");
    const codes = (await Promise.all(["a", "b", "c", "d", "e"].map((host) => scene.run(host, ["--once"])))).map(
      ({ code }) => code,
    );
    expect(codes.sort()).toEqual([0, 1, 1, 1, 1]);
    const proxy = await startTcpProxy(pool.port);
    tokenServer.onPost = async () => {
      await proxy.set("reset");
    };
    const url = scene.url("codex_owner").replace(`:${scene.port}/`, `:${proxy.port}/`);
    expect((await scene.run("a", ["--once", "--force"], "codex_owner", { CODEX_AUTH_STORE: url })).code).toBe(4);
    tokenServer.onPost = null;
    expect((await scene.run("a", ["--once"])).code).toBe(0);
    await proxy.stop();
    expect([tokenServer.posts.length, tokenServer.reuseCount]).toEqual([2, 0]);
    expect(await scene.storedRefreshToken()).toBe(tokenServer.newestToken);
  });

  it("a follower has the next tokens by its own look, and an owner's loop shows that it lives", async (context) => {
    if (pool === null) return context.skip("no pgbouncer on the PATH (bash .ci/run fetches it)");
    const follower = scene.start("f", ["follow", "--poll", "1s"], "codex_follower");
    await waitUntil("a copy", () => follower.stderr().includes("follow: copied"));
    const owner = scene.start("o", []);
    await waitUntil("the next copy", () => follower.stderr().split("follow: copied").length === 3);
    const status = (): string => readFileSync(join(scene.home("f"), "auth_refresh_status.json"), "utf8");
    await waitUntil("a sign of life", () => status().includes('"is_owner_alive": true'));
    for (const running of [owner, follower]) {
      running.child.kill("SIGTERM");
      expect((await running.ended).code).toBe(0);
    }
    expect(tokenServer.posts).toHaveLength(1);
  });
});
