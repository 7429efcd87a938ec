import { readdirSync, readFileSync } from "node:fs";

/** What a process has used so far, as Linux counts it. */
export interface Usage {
  readonly atMs: number;
  /** CPU time of all its threads, milliseconds. */
  readonly cpuMs: number;
  /** How often one of its threads went to sleep, and so was woken. */
  readonly wakeUps: number;
  /** Resident memory, KiB. */
  readonly rssKib: number;
  /** The same, each page that is shared divided by the number of processes that share it. */
  readonly pssKib: number;
  /** The part of it that no file stands behind: heap and stacks. */
  readonly anonymousKib: number;
}

export function readUsage(pid: number): Usage {
  let cpuNs = 0;
  let wakeUps = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    // In nanoseconds; the ticks of /proc/PID/stat (10 ms) are longer than a wake-up takes.
    cpuNs += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    wakeUps += numberAfter("voluntary_ctxt_switches", readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8"));
  }
  const memory = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return {
    atMs: performance.now(),
    cpuMs: cpuNs / 1e6,
    wakeUps,
    rssKib: numberAfter("Rss", memory),
    pssKib: numberAfter("Pss", memory),
    anonymousKib: numberAfter("Pss_Anon", memory),
  };
}

/** What a process used between two looks, for each minute. */
export function usagePerMinute(from: Usage, to: Usage): { readonly cpuMs: number; readonly wakeUps: number } {
  const minutes = (to.atMs - from.atMs) / 60_000;
  return { cpuMs: (to.cpuMs - from.cpuMs) / minutes, wakeUps: (to.wakeUps - from.wakeUps) / minutes };
}

/** The number behind `name:` at the beginning of a line. */
function numberAfter(name: string, text: string): number {
  const digits = new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1];
  if (digits === undefined) throw new Error(`this kernel does not tell ${name}`);
  return Number(digits);
}

export function asMib(kib: number): string {
  return (kib / 1024).toFixed(1);
}
