import { setTimeout as sleep } from "node:timers/promises";
import { makeAuthJson, makeTokens } from "../../test/support/login.js";
import { nextCycle, untilHealthy } from "../cycles.js";
import { readUsage } from "../daemon/process-figures.js";
import { pidOf, Stage } from "../daemon/stage.js";
import { rounded, type Spread, spreadOf, table } from "../figures.js";

export interface HomesFigures {
  readonly rows: readonly {
    readonly homes: number;
    readonly rssMib: number;
    readonly pssMib: number;
    /** Against the row with the fewest homes; null for that one. */
    readonly kibPerFurtherHome: number | null;
    /** CPU of one cycle over all of them. */
    readonly cycleCpuMs: Spread;
    readonly cycleCpuMsPerHome: number;
  }[];
}

/** Past the loop's first tick, which collects what the start has left, milliseconds. */
const SETTLING_MS = 33_000;

/** How often each process goes over all its homes; the first time warms it. */
const CYCLES = 10;

/** One process with many homes, all healthy: processes of all sizes at the same time. */
export async function measureHomes(counts: readonly number[]): Promise<HomesFigures> {
  const stage = await Stage.open();
  try {
    const processes = counts.map((count) => {
      const homes = stage.makeHomes(count);
      for (const home of homes) home.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 864_000 })));
      return { homes, loop: stage.startLoop(homes.map(({ path }) => path)) };
    });
    for (const { homes } of processes) await untilHealthy(homes);
    await sleep(SETTLING_MS);
    const memories = processes.map(({ loop }) => readUsage(pidOf(loop)));

    const cyclesMs = processes.map((): number[] => []);
    for (let cycle = 0; cycle <= CYCLES; cycle += 1) {
      for (const [index, { homes, loop }] of processes.entries()) {
        const before = readUsage(pidOf(loop));
        await nextCycle(loop, homes);
        if (cycle > 0) cyclesMs[index]?.push(readUsage(pidOf(loop)).cpuMs - before.cpuMs);
      }
    }
    const first = memories[0];
    const rows = processes.map(({ homes }, index) => {
      const [memory, cycleMs] = [memories[index], spreadOf(cyclesMs[index] ?? [])];
      if (memory === undefined || first === undefined) throw new Error("no figures");
      const furtherHomes = homes.length - (counts[0] ?? 0);
      return {
        homes: homes.length,
        rssMib: rounded(memory.rssKib / 1024),
        pssMib: rounded(memory.pssKib / 1024),
        kibPerFurtherHome: index === 0 ? null : rounded((memory.anonymousKib - first.anonymousKib) / furtherHomes),
        cycleCpuMs: cycleMs,
        cycleCpuMsPerHome: rounded(cycleMs.median / homes.length),
      };
    });
    return { rows };
  } finally {
    await stage.close();
  }
}

export function describeHomes({ rows }: HomesFigures): string {
  const cells = rows.map(({ homes, rssMib, pssMib, kibPerFurtherHome, cycleCpuMs, cycleCpuMsPerHome }) => [
    String(homes),
    rssMib.toFixed(1),
    pssMib.toFixed(1),
    kibPerFurtherHome?.toFixed(1) ?? "",
    cycleCpuMs.median.toFixed(1),
    cycleCpuMsPerHome.toFixed(2),
  ]);
  const head = ["homes", "RSS MiB", "PSS MiB", "KiB a further home", "CPU ms, a cycle over all", "a home"];
  return `\nHealthy homes in one process:\n\n${table(head, cells)}`;
}
