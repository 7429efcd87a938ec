import { setTimeout as sleep } from "node:timers/promises";
import type { Home } from "../../test/support/home.js";
import { makeAuthJson, makeTokens } from "../../test/support/login.js";
import { NODE_PATH, type Running, waitUntil } from "../../test/support/program.js";
import { nextCycle, untilHealthy } from "../cycles.js";
import { readUsage } from "../daemon/process-figures.js";
import { pidOf, Stage } from "../daemon/stage.js";
import { median, rounded, table } from "../figures.js";

interface Memory {
  readonly rssMib: number;
  /** Shared pages are divided by the number of processes that share them: the loops and the bare Nodes. */
  readonly pssMib: number;
  /** What no file stands behind. */
  readonly anonymousMib: number;
}

export interface IdleFigures {
  /** So many loops, and as many bare Nodes, at the same time; the figures are their medians. */
  readonly pairs: number;
  readonly rows: readonly {
    readonly after: string;
    readonly loop: Memory;
    readonly bare: Memory;
    readonly timesBare: { readonly rss: number; readonly pss: number };
  }[];
  /**
   * Of all loops, while they run the last cycles. A heap grows until it is collected: the rows above are moments on the
   * way up, and this says how far the way goes, and to where it comes back.
   */
  readonly lastCyclesRssMib: { readonly lowest: number; readonly highest: number };
}

/** Longer than a Node that has become idle waits until it collects what its start has left, milliseconds. */
const STARTING_MS = 12_000;

/** For the last timers of a cycle to be over, milliseconds. */
const SETTLING_MS = 3_000;

/** Cycles follow each other much faster than in life: a heap that grows does so in seconds, not in weeks. */
const CYCLES = [100, 1_000] as const;

/** Enough for several full collections. */
const LAST_CYCLES = 10_000;

/** How often memory is read while they run. */
const LOOK_EVERY = 50;

/** What the loop holds, beside a Node that does nothing. */
export async function measureIdle(pairs: number): Promise<IdleFigures> {
  const stage = await Stage.open();
  try {
    const loops = stage.makeHomes(pairs).map((home) => {
      putLogin(stage, home, 864_000);
      return { home, running: stage.startLoop([home.path]) };
    });
    const bare = loops.map(() => stage.start(NODE_PATH, ["-e", "setInterval(() => {}, 1e9)"]));
    await untilHealthy(loops.map(({ home }) => home));

    const rows: IdleFigures["rows"][number][] = [];
    const look = async (after: string): Promise<void> => {
      await sleep(SETTLING_MS);
      rows.push(compare(after, memoryOf(loops.map(({ running }) => running)), memoryOf(bare)));
    };
    const seenMib: number[] = [];
    const cycles = async (count: number): Promise<void> => {
      seenMib.length = 0;
      for (let done = 0; done < count; done += 1) {
        await Promise.all(loops.map(({ running, home }) => nextCycle(running, [home])));
        if (done % LOOK_EVERY > 0) continue;
        seenMib.push(...loops.map(({ running }) => rounded(readUsage(pidOf(running)).rssKib / 1024)));
      }
    };
    await sleep(STARTING_MS);
    await look("1 cycle");
    let done = 1;
    for (const count of CYCLES) {
      await cycles(count - done);
      done = count;
      await look(`${count.toLocaleString("en")} cycles`);
    }
    for (const { home } of loops) await refresh(stage, home);
    await look("then a refresh");
    await cycles(LAST_CYCLES);
    await look(`then ${LAST_CYCLES.toLocaleString("en")} cycles more`);
    return { pairs, rows, lastCyclesRssMib: { lowest: Math.min(...seenMib), highest: Math.max(...seenMib) } };
  } finally {
    await stage.close();
  }
}

function putLogin(stage: Stage, home: Home, expiresInSec: number): string {
  const tokens = stage.server.admit(makeTokens({ expiresInSec }));
  home.writeAuth(makeAuthJson(tokens));
  return tokens.refresh_token;
}

/** A login that is due, written by somebody else: the loop hears of it and refreshes it. */
async function refresh(stage: Stage, home: Home): Promise<void> {
  const presented = putLogin(stage, home, 60);
  await waitUntil("the login is refreshed", () => home.readRefreshToken() !== presented);
}

function memoryOf(processes: readonly Running[]): Memory {
  const usages = processes.map((running) => readUsage(pidOf(running)));
  const mib = (of: (usage: (typeof usages)[number]) => number): number => rounded(median(usages.map(of)) / 1024);
  return {
    rssMib: mib(({ rssKib }) => rssKib),
    pssMib: mib(({ pssKib }) => pssKib),
    anonymousMib: mib(({ anonymousKib }) => anonymousKib),
  };
}

function compare(after: string, loop: Memory, bare: Memory): IdleFigures["rows"][number] {
  const timesBare = { rss: rounded(loop.rssMib / bare.rssMib), pss: rounded(loop.pssMib / bare.pssMib) };
  return { after, loop, bare, timesBare };
}

export function describeIdle({ pairs, rows, lastCyclesRssMib }: IdleFigures): string {
  const cells = rows.map(({ after, loop, bare, timesBare }) => [
    after,
    ...[loop.rssMib, bare.rssMib].map((mib) => mib.toFixed(1)),
    timesBare.rss.toFixed(2),
    ...[loop.pssMib, bare.pssMib].map((mib) => mib.toFixed(1)),
    timesBare.pss.toFixed(2),
    ...[loop.anonymousMib, bare.anonymousMib].map((mib) => mib.toFixed(1)),
  ]);
  const head = ["after", "RSS MiB", "bare", "×", "PSS MiB", "bare", "×", "anonymous MiB", "bare"];
  const { lowest, highest } = lastCyclesRssMib;
  return [
    `\nThe idle loop beside an idle bare Node, medians of ${pairs} of each at the same time:\n`,
    table(head, cells),
    `\nDuring the last cycles, as the heap grows and is collected: RSS ${lowest.toFixed(1)} to ${highest.toFixed(1)} MiB.`,
  ].join("\n");
}
