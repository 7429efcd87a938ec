import { FleetScene } from "../../test/support/fleet.js";
import type { PostgresServer } from "../../test/support/postgres.js";
import type { Running } from "../../test/support/program.js";
import { startTcpProxy, type TcpProxy } from "../../test/support/tcp-proxy.js";
import { TokenServer } from "../../test/support/token-server.js";
import { say, table } from "../figures.js";

/** How long an idle loop is listened to, milliseconds. */
const IDLE_MS = 90_000;

/** How often a network is crossed, and how many bytes cross it. */
export async function benchTraffic(server: PostgresServer): Promise<void> {
  const tokenServer = await TokenServer.start();
  const scene = await FleetScene.open(server, tokenServer);
  await scene.logIn();
  const proxy = await startTcpProxy(server.port);
  scene.port = proxy.port;
  const rows: string[][] = [];
  const counted = async (name: string, act: () => Promise<unknown>): Promise<void> => {
    const before = { ...proxy.counts };
    await act();
    rows.push([name, ...difference(proxy, before)]);
  };
  await counted("owner, --once, due (a refresh)", () => scene.run("owner", ["--once"]));
  await counted("owner, --once, fresh", () => scene.run("owner", ["--once"]));
  await counted("follower, --once, first copy", () => scene.run("f", ["follow", "--once"], "codex_follower"));
  await counted("follower, --once, nothing new", () => scene.run("f", ["follow", "--once"], "codex_follower"));
  const idle = async (name: string, loop: Running): Promise<void> => {
    await sleep(5_000); // Its start.
    await counted(name, () => sleep(IDLE_MS));
    loop.child.kill("SIGTERM");
    await loop.ended;
  };
  await idle(`owner's loop, idle for ${IDLE_MS / 1000} s`, scene.start("owner", []));
  await idle(`follower's loop, idle for ${IDLE_MS / 1000} s`, scene.start("f", ["follow"], "codex_follower"));
  say(`\n${table(["", "connections", "round trips", "bytes up", "bytes down"], rows)}`);
  await proxy.stop();
  await tokenServer.stop();
  scene.remove();
}

function difference({ counts }: TcpProxy, before: TcpProxy["counts"]): string[] {
  const names = ["connections", "roundTrips", "bytesUp", "bytesDown"] as const;
  return names.map((name) => `${counts[name] - before[name]}`);
}

async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
