import { FleetScene } from "../../test/support/fleet.js";
import type { PostgresServer } from "../../test/support/postgres.js";
import { startTcpProxy } from "../../test/support/tcp-proxy.js";
import { TokenServer } from "../../test/support/token-server.js";
import { median, quantile, say, table } from "../figures.js";
import { copiedAtMs, startFollowers, stopAll, untilAllHold } from "./followers.js";

/** From the moment at which an owner's write was stamped by the database to the new file of each follower. */
export async function benchFanOut(server: PostgresServer, trials: number, followerCount: number): Promise<void> {
  const rows: string[][] = [];
  for (const isNotified of [true, false]) {
    const few = isNotified ? trials : Math.ceil(trials / 3);
    const latencies = await measureFanOut(server, { trials: few, followerCount, isNotified });
    const seconds = (ms: number): string => (ms / 1000).toFixed(3);
    const name = isNotified ? "by notice" : "by polling every 30 s";
    const figures = [median(latencies), quantile(latencies, 0.99), Math.max(...latencies)].map(seconds);
    rows.push([name, `${latencies.length}`, ...figures]);
  }
  say(`\nfrom the owner's commit to the file of each of ${followerCount} followers (processes of their own), seconds`);
  say(table(["", "samples", "median", "p99", "longest"], rows));
}

interface FanOut {
  readonly trials: number;
  readonly followerCount: number;
  /** Whether the server's notices come through; else the followers look every 30 seconds. */
  readonly isNotified: boolean;
}

/** @returns milliseconds, of each follower in each trial */
export async function measureFanOut(
  server: PostgresServer,
  { trials, followerCount, isNotified }: FanOut,
): Promise<number[]> {
  const tokenServer = await TokenServer.start();
  const scene = await FleetScene.open(server, tokenServer);
  await scene.logIn();
  const proxy = await startTcpProxy(server.port);
  if (!isNotified) {
    // As behind a proxy that pools transactions: the server's notices (A) don't come through.
    proxy.onServerBytes = (bytes) => (bytes[0] === 0x41 ? "swallow" : "forward");
    scene.port = proxy.port;
  }
  const followers = await startFollowers(scene, followerCount, "30s");
  scene.port = server.port;
  await untilAllHold(scene, followers);
  const latenciesMs: number[] = [];
  for (let trial = 0; trial < trials; trial += 1) {
    const { code, stderr } = await scene.run("owner", ["--once", "--force"]);
    if (code !== 0) throw new Error(stderr);
    await untilAllHold(scene, followers);
    const stamp = "select extract(epoch from updated_at) * 1000 as ms from codex_auth.credential";
    const [row] = await server.query(stamp, scene.database);
    latenciesMs.push(...followers.map(({ home }) => copiedAtMs(home) - Number(row?.["ms"])));
  }
  await stopAll(followers);
  await proxy.stop();
  await tokenServer.stop();
  scene.remove();
  return latenciesMs;
}
