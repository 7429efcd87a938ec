/** What was said last in a log. */
export interface Said {
  readonly reason: string;
  readonly atMs: number;
}

/** A state that goes on is said again this often, milliseconds: a sign of life, and a reminder. */
const CALM_HEARTBEAT_MS = 6 * 3_600_000;
const TROUBLE_HEARTBEAT_MS = 3_600_000;

/**
 * Whether a report is worth a line: a change is, and a state that goes on is now and then.
 *
 * @param last what was said last; null when nothing was
 */
export function isWorthSaying(last: Said | null, now: Said, isTrouble: boolean): boolean {
  if (last === null || last.reason !== now.reason) return true;
  const sinceMs = now.atMs - last.atMs;
  return sinceMs < 0 || sinceMs >= (isTrouble ? TROUBLE_HEARTBEAT_MS : CALM_HEARTBEAT_MS);
}
