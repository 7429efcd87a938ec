/** When our own refreshes took place that brought the tokens in the store. Nothing in it is secret. */
export interface RefreshHistory {
  /** The first hex digits of the SHA-256 of the refresh token that the last of them brought. */
  readonly tokenMark: string;
  /** Milliseconds since 1970, the oldest first. */
  readonly atMs: readonly number[];
}

const HOUR_MS = 3_600_000;

/** So many refreshes an hour are enough for any token that is worth having. */
const MAX_PER_HOUR = 4;

const MARK_LENGTH = 8;

/** What stands for a refresh token in the history: enough to tell two apart, and no help to anybody else. */
export function markOf(fingerprint: string): string {
  return fingerprint.slice(0, MARK_LENGTH);
}

/**
 * Until when the tokens in the store are not refreshed though they are due: a token that arrives due already (a clock
 * that is off, a server that grants minutes) must not be refreshed in a storm.
 *
 * Only our own refreshes count: tokens that somebody else wrote start anew. Times ahead of the clock count for
 * nothing, because the clock was wrong then.
 *
 * @param tokenMark of the refresh token in the store
 * @returns milliseconds since 1970; null when nothing holds the refresh back
 * @see DESIGN.md "When"
 */
export function brakedUntilMs(
  history: RefreshHistory | null,
  tokenMark: string,
  nowMs: number,
  minIntervalMs: number,
): number | null {
  const atMs = pastOf(history, tokenMark, nowMs);
  const untilMs = Math.max((atMs.at(-1) ?? 0) + minIntervalMs, (atMs.at(-MAX_PER_HOUR) ?? 0) + HOUR_MS);
  return atMs.length > 0 && untilMs > nowMs ? untilMs : null;
}

/** The history after a refresh that has put the token of `nextMark` in the place of that of `tokenMark`. */
export function addRefresh(
  history: RefreshHistory | null,
  tokenMark: string,
  nextMark: string,
  nowMs: number,
): RefreshHistory {
  return { tokenMark: nextMark, atMs: [...pastOf(history, tokenMark, nowMs), nowMs].slice(-MAX_PER_HOUR) };
}

function pastOf(history: RefreshHistory | null, tokenMark: string, nowMs: number): readonly number[] {
  return history?.tokenMark === tokenMark ? history.atMs.filter((ms) => ms <= nowMs) : [];
}
