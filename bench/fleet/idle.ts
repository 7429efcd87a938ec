import { readFileSync } from "node:fs";
import { joseSealer } from "../../src/adapters/jose-sealer.js";
import { Postgres } from "../../src/adapters/postgres.js";
import { postgresFollowSource } from "../../src/adapters/postgres-follow-source.js";
import { systemClock } from "../../src/adapters/system-clock.js";
import { readKeys } from "../../src/core/fleet-keys.js";
import { Secret } from "../../src/core/secret.js";
import { FleetScene } from "../../test/support/fleet.js";
import type { PostgresServer } from "../../test/support/postgres.js";
import { TokenServer } from "../../test/support/token-server.js";
import { say } from "../figures.js";

/** As the command has it. */
const POLL_MS = 30_000;
const LISTEN_MS = 120_000;

/**
 * What followers that find nothing new cost the database: their own connections and looks, with the program's code, all in
 * this process, because a thousand of them don't fit into a small machine.
 */
export async function benchIdleFollowers(server: PostgresServer, count: number): Promise<void> {
  const tokenServer = await TokenServer.start();
  const scene = await FleetScene.open(server, tokenServer);
  await scene.logIn();
  const keys = readKeys(readFileSync(scene.path("follower.key"), "utf8"));
  if (keys.kind !== "keys") throw new Error(keys.problem);
  const before = memoryOf(server);
  const sources = Array.from({ length: count }, () => {
    const db = new Postgres({ url: new Secret(scene.url("codex_follower")), environment: {} });
    return postgresFollowSource({ db, credentialId: "default", sealer: joseSealer(keys.keys), clock: systemClock });
  });
  const latenciesMs: number[] = [];
  const look = async (source: (typeof sources)[number]): Promise<void> => {
    const sinceMs = performance.now();
    const fetched = await source.fetch();
    if (fetched.kind !== "fetched") throw new Error(fetched.problem);
    latenciesMs.push(performance.now() - sinceMs);
  };
  for (const source of sources) {
    source.watch(() => undefined);
    await look(source);
  }
  latenciesMs.length = 0;
  const cpuBefore = cpuOf(server);
  const timers = sources.map((source, index) => {
    let timer: NodeJS.Timeout | undefined;
    const start = setTimeout(
      () => {
        timer = setInterval(() => void look(source), POLL_MS);
        void look(source);
      },
      (index / count) * POLL_MS,
    );
    return () => {
      clearTimeout(start);
      clearInterval(timer);
    };
  });
  await new Promise((resolve) => setTimeout(resolve, LISTEN_MS));
  for (const stop of timers) stop();
  const cpuShare = (cpuOf(server) - cpuBefore) / (LISTEN_MS / 1000);
  const looks = latenciesMs.length / (LISTEN_MS / 1000);
  const mebibytes = (memoryOf(server) - before) / 1024;
  say(
    `\n${count} followers with nothing new: ${looks.toFixed(1)} looks a second, ${(cpuShare * 100).toFixed(1)} % of a core in PostgreSQL, ${(mebibytes / count).toFixed(1)} MiB a connection there (PSS)`,
  );
  for (const source of sources) await source.close();
  await tokenServer.stop();
  scene.remove();
}

/** Seconds of CPU that the server's processes have used. */
function cpuOf(server: PostgresServer): number {
  // In nanoseconds: a look takes far less than a tick of the other counters.
  return sum(server, (pid) => Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e9);
}

/** KiB that the server's processes hold, what they share counted once. */
function memoryOf(server: PostgresServer): number {
  return sum(server, (pid) =>
    Number(/^Pss: +(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0),
  );
}

function sum(server: PostgresServer, of: (pid: number) => number): number {
  return server.pids().reduce((total, pid) => {
    try {
      return total + of(pid);
    } catch {
      return total; // It has just ended.
    }
  }, 0);
}
