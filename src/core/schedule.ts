import type { CycleOutcome } from "./outcome.js";

/** The first wait after a failure that may pass by itself, milliseconds; it doubles with each further one. */
const FIRST_BACKOFF_MS = 60_000;
const MAX_BACKOFF_MS = 3_600_000;

/**
 * A failure is followed by the next try after this share of the time to the access token's expiry at most: a token that
 * lives for an hour has no hour to wait. Behind the expiry it is the share of the time since then, so that our own wait
 * makes an outage a quarter longer at most.
 */
const PATIENCE_SHARE = 1 / 4;

/** The longest wait after a failure while the access token is expired, milliseconds: nobody can work meanwhile. */
const MAX_EXPIRED_BACKOFF_MS = 300_000;

/**
 * The shortest time between two cycles that may send something, milliseconds. It matters when a token
 * arrives that is due already (a clock that is years off): without it the loop would spend tokens in a storm.
 */
const BRAKE_MS = 60_000;

/** How long an unsaved answer waits before the next try to save it, milliseconds: 1 s, doubling to 30 s. */
const FIRST_SAVE_RETRY_MS = 1_000;
const MAX_SAVE_RETRY_MS = 30_000;

/**
 * Says when the loop looks again.
 *
 * Never later than the refresh falls due: the shell script slept its six hours through an expiry.
 *
 * @param failureCount failures in a row, this outcome included
 * @param dueAtMs when the credential's refresh falls due; null when it has none
 * @param expiresAtMs when the access token expires; null when that is unknown
 * @param jitter a number from 0 up to 1, so that many containers do not wake together. It makes a look earlier, and a
 *   try after a failure later; it never moves a look behind `dueAtMs`
 * @returns milliseconds since 1970
 */
export function nextCheckMs(input: {
  readonly outcome: CycleOutcome;
  readonly dueAtMs: number | null;
  readonly expiresAtMs: number | null;
  readonly failureCount: number;
  readonly intervalSec: number;
  readonly nowMs: number;
  readonly jitter: number;
}): number {
  const { outcome, nowMs, failureCount, jitter } = input;
  const intervalMs = input.intervalSec * 1000;
  const ladderMs = Math.min(doubling(FIRST_BACKOFF_MS, failureCount), maxBackoffMs(input.expiresAtMs, nowMs));
  const backoffMs = Math.max(BRAKE_MS, Math.min(ladderMs, intervalMs));
  switch (outcome.kind) {
    case "unsaved":
      return nowMs + Math.min(doubling(FIRST_SAVE_RETRY_MS, failureCount), MAX_SAVE_RETRY_MS);
    case "transient": {
      // A token that may be spent has its own ladder (core/ticket.ts): the outcome says when its next turn is.
      const waitMs = outcome.wasSent ? BRAKE_MS : backoffMs;
      return nowMs + Math.max(waitMs * (1 + jitter / 5), outcome.retryAfterMs ?? 0);
    }
    case "unreadable":
    case "blocked":
    case "busy":
      return nowMs + backoffMs * (1 + jitter / 5);
    case "braked":
      return Math.min(nowMs + intervalMs, Math.max(outcome.untilMs, nowMs + FIRST_SAVE_RETRY_MS));
    case "resting":
      return Math.min(nowMs + intervalMs, Math.max(outcome.untilMs, nowMs + BRAKE_MS));
    case "left-to-owner":
      return Math.min(nowMs + intervalMs, Math.max(input.expiresAtMs ?? Number.POSITIVE_INFINITY, nowMs + BRAKE_MS));
    case "login-required":
    case "owner-missing":
    case "stopped":
      return nowMs + intervalMs;
    case "absent":
    case "inert":
    case "other-store":
    case "fresh":
    case "refreshed":
    case "adopted": {
      const lookMs = nowMs + intervalMs * (1 - jitter / 20);
      const brakeMs = outcome.kind === "fresh" ? nowMs : nowMs + BRAKE_MS;
      return Math.max(Math.min(lookMs, input.dueAtMs ?? lookMs), brakeMs);
    }
  }
}

/** How long a failure may wait for the next try, given when the access token expires. */
function maxBackoffMs(expiresAtMs: number | null, nowMs: number): number {
  if (expiresAtMs === null) return MAX_BACKOFF_MS;
  const limitMs = expiresAtMs > nowMs ? MAX_BACKOFF_MS : MAX_EXPIRED_BACKOFF_MS;
  return Math.min(Math.abs(expiresAtMs - nowMs) * PATIENCE_SHARE, limitMs);
}

/** `firstMs` after the first failure, twice that after the second, and so on. */
function doubling(firstMs: number, failureCount: number): number {
  return firstMs * 2 ** Math.min(Math.max(failureCount - 1, 0), 20);
}
