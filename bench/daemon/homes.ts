import { setTimeout as sleep } from "node:timers/promises";
import { makeAuthJson, makeTokens } from "../../test/support/login.js";
import { waitUntil } from "../../test/support/program.js";
import { mostWithin, say, table } from "../figures.js";
import { asMib, readUsage, type Usage, usagePerMinute } from "./process-figures.js";
import { pidOf, Stage } from "./stage.js";

/** For the last timers of the refreshes to be over, milliseconds. */
const SETTLING_MS = 5_000;

/** How long a home may take at most, milliseconds; the program lets four of them begin in a second. */
const PATIENCE_PER_HOME_MS = 2_000;

interface Measured {
  readonly homeCount: number;
  readonly refreshedAfterMs: number;
  /** When each POST arrived, milliseconds after the start. */
  readonly postsMs: readonly number[];
  readonly reuseCount: number;
  readonly refreshed: Usage;
  readonly idle: Usage;
}

/** One process with many homes, all due when it starts. */
export async function benchHomes(homeCounts: readonly number[], idleSec: number): Promise<void> {
  const measured: Measured[] = [];
  for (const homeCount of homeCounts) measured.push(await measure(homeCount, idleSec));

  say(`\nHomes in one process, all due at its start; then idle for ${idleSec} s:\n`);
  const first = measured[0];
  const rows = measured.map(({ homeCount, refreshedAfterMs, postsMs, reuseCount, refreshed, idle }) => {
    const [from, to] = [Math.min(...postsMs), Math.max(...postsMs)];
    const meanPerSec = postsMs.length < 2 ? "" : (((postsMs.length - 1) * 1000) / (to - from)).toFixed(2);
    const { cpuMs, wakeUps } = usagePerMinute(refreshed, idle);
    const furtherKib =
      first === undefined || homeCount === first.homeCount
        ? ""
        : ((idle.anonymousKib - first.idle.anonymousKib) / (homeCount - first.homeCount)).toFixed(1);
    return [
      String(homeCount),
      (refreshedAfterMs / 1000).toFixed(1),
      String(postsMs.length),
      meanPerSec,
      String(mostWithin(postsMs, 1_000)),
      String(reuseCount),
      asMib(refreshed.pssKib),
      asMib(idle.pssKib),
      furtherKib,
      cpuMs.toFixed(1),
      wakeUps.toFixed(0),
    ];
  });
  const posts = ["POSTs", "POSTs/s, mean", "most in 1 s", "reused"];
  const memory = ["PSS MiB, refreshed", "idle", "KiB a further home, idle"];
  say(table(["homes", "all refreshed, s", ...posts, ...memory, "idle CPU ms/min", "wake-ups/min"], rows));
}

async function measure(homeCount: number, idleSec: number): Promise<Measured> {
  const stage = await Stage.open();
  try {
    const homes = stage.makeHomes(homeCount);
    for (const home of homes) home.writeAuth(makeAuthJson(stage.server.admit(makeTokens({ expiresInSec: 60 }))));
    const startedMs = performance.now();
    const postsMs: number[] = [];
    stage.server.onPost = () => void postsMs.push(performance.now() - startedMs);
    const loop = stage.startLoop(homes.map(({ path }) => path));
    const waiting = new Set(homes);
    const allRefreshed = (): boolean => {
      for (const home of waiting) {
        if (home.readStatusOrNull()?.["state"] !== "ok") return false;
        waiting.delete(home);
      }
      return true;
    };
    await waitUntil("all homes are refreshed", allRefreshed, 20_000 + homeCount * PATIENCE_PER_HOME_MS);
    const refreshedAfterMs = performance.now() - startedMs;
    await sleep(SETTLING_MS);
    const refreshed = readUsage(pidOf(loop));
    await sleep(idleSec * 1000);
    const idle = readUsage(pidOf(loop));
    await stage.end(loop);
    return { homeCount, refreshedAfterMs, postsMs, reuseCount: stage.server.reuseCount, refreshed, idle };
  } finally {
    await stage.close();
  }
}
