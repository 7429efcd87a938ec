const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
  ["s", 1],
] as const;

/**
 * A span of time as people say it, in its two largest units: `8 d 3 h`, `45 s`.
 *
 * @param ms its sign does not count
 */
export function describeSpan(ms: number): string {
  const seconds = Math.floor(Math.abs(ms) / 1000);
  const at = UNITS.findIndex(([, unitSec]) => seconds >= unitSec);
  if (at === -1) return "0 s";
  const words = UNITS.slice(at, at + 2).map(([unit, unitSec], index) => {
    const inUnit = Math.floor((index === 0 ? seconds : seconds % (UNITS[at]?.[1] ?? 1)) / unitSec);
    return inUnit === 0 ? "" : `${inUnit} ${unit}`;
  });
  return words.filter((word) => word !== "").join(" ");
}

/** `in 2 h`, `3 min ago`, or `now`. */
export function describeMoment(atMs: number, nowMs: number): string {
  const ms = atMs - nowMs;
  if (Math.abs(ms) < 1000) return "now";
  return ms > 0 ? `in ${describeSpan(ms)}` : `${describeSpan(ms)} ago`;
}

const WIDTH = 32;

/**
 * A token's life as a line: what is over, what is left, where we are (●) and where its refresh is due (◆).
 *
 * @param dueAtMs null draws no mark
 */
export function drawTimeline(fromMs: number, untilMs: number, dueAtMs: number | null, nowMs: number): string {
  const cell = (ms: number): number =>
    Math.min(WIDTH - 1, Math.max(0, Math.floor(((ms - fromMs) / Math.max(1, untilMs - fromMs)) * WIDTH)));
  const now = cell(nowMs);
  const cells: string[] = Array.from({ length: WIDTH }, (_none, index) => (index < now ? "━" : "─"));
  if (dueAtMs !== null) cells[cell(dueAtMs)] = "◆";
  cells[now] = "●";
  return cells.join("");
}
