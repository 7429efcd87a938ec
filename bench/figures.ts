import { spawnSync } from "node:child_process";
import { cpus, totalmem } from "node:os";

/**
 * The value that a share of a list does not exceed (nearest rank): of 100 values the 99th percentile is the second
 * largest, not the largest.
 *
 * @param share above 0, up to 1
 * @returns NaN for an empty list
 */
export function quantile(list: readonly number[], share: number): number {
  const sorted = [...list].sort((a, b) => a - b);
  // The product of 0.07 and 100 is a little above 7: without the rounding its rank would be 8.
  const rank = Math.ceil(Number((share * sorted.length).toFixed(6)));
  return sorted[Math.max(rank, 1) - 1] ?? Number.NaN;
}

export function median(list: readonly number[]): number {
  return quantile(list, 0.5);
}

/** A list in short: its median, and what nine tenths of it reach or keep to. */
export interface Spread {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}

export function spreadOf(list: readonly number[]): Spread {
  const [p10, middle, p90] = [0.1, 0.5, 0.9].map((share) => rounded(quantile(list, share)));
  return { median: middle ?? Number.NaN, p10: p10 ?? Number.NaN, p90: p90 ?? Number.NaN };
}

/** To three decimals: more would say nothing. */
export function rounded(value: number): number {
  return Number(value.toFixed(3));
}

/** How many of the moments lie within the fullest stretch of `windowMs`, its end left out. */
export function mostWithin(momentsMs: readonly number[], windowMs: number): number {
  const sorted = [...momentsMs].sort((a, b) => a - b);
  let first = 0;
  let most = 0;
  for (const [index, moment] of sorted.entries()) {
    while (moment - (sorted[first] ?? moment) >= windowMs) first += 1;
    most = Math.max(most, index - first + 1);
  }
  return most;
}

/** A Markdown table; all columns but the first stand to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_title, column) => Math.max(...[head, ...rows].map((row) => (row[column] ?? "").length)));
  const line = (cells: readonly string[]): string => {
    const padded = widths.map((width, column) => {
      const cell = cells[column] ?? "";
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    });
    return `| ${padded.join(" | ")} |`;
  };
  const rule = widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

export function describeMachine(): string {
  return spawnSync("uname", ["-srm"], { encoding: "utf8" }).stdout.trim();
}

/** Cores and memory too: what a figure in a file needs beside it. */
export function describeHardware(): string {
  const cores = cpus();
  return `${cores.length} × ${cores[0]?.model.trim() ?? "unknown"}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`;
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
