import type { LoginCopy } from "./credential.js";

/** When a refresh is wanted. All in seconds, as people set them. */
export interface RefreshPolicy {
  /** Refresh when the access token has this long to live, or less. */
  readonly safetyMarginSec: number;
  /** Refresh when `last_refresh` is this old, or older, however long the access token still lives. */
  readonly staleAfterSec: number;
  /**
   * From 0 up to 1, another one in each process that loops: many that know one login, or logins of one moment, must not
   * wake in the same second. It makes the refresh due earlier, never later, by a sixteenth of the margin at most. 0 when
   * absent: what people are told.
   */
  readonly jitter?: number;
}

export interface Verdict {
  readonly kind: "fresh" | "due";
  /** Milliseconds since 1970. */
  readonly dueAtMs: number;
}

/** A `last_refresh` further ahead than this is no clock skew; it tells nothing about the login's age. */
const MAX_CLOCK_SKEW_MS = 300_000;

/** How far the jitter spreads the due times, as a share of the safety margin: little of a token's life is given away. */
const SPREAD_SHARE = 1 / 16;

/**
 * Says whether a login should be refreshed now, and if not, when.
 *
 * Due is the earliest of: access token `exp` minus the safety margin, `last_refresh` plus stale-after, and
 * at once when neither can be read. A token that lives shorter than three margins is refreshed after two
 * thirds of its life instead: with the margin as set it would be due the moment it arrives, for ever.
 *
 * @param nowMs milliseconds since 1970
 * @see DESIGN.md "When"; Codex 0.169.0 itself refreshes at `exp` − 5 min, so an earlier refresh keeps it quiet
 */
export function decide(credential: LoginCopy, nowMs: number, policy: RefreshPolicy): Verdict {
  const { expiresAtMs } = credential.accessClaims;
  const isAhead = (credential.lastRefreshMs ?? 0) > nowMs + MAX_CLOCK_SKEW_MS;
  const lastRefreshMs = isAhead ? null : credential.lastRefreshMs;
  const marginMs = effectiveMarginMs(credential, policy);
  const staleAfterMs = policy.staleAfterSec * 1000;
  const spreadMs = Math.min(marginMs, staleAfterMs) * SPREAD_SHARE * (policy.jitter ?? 0);
  const dueTimesMs = [
    expiresAtMs === null ? null : expiresAtMs - marginMs - spreadMs,
    lastRefreshMs === null ? null : lastRefreshMs + staleAfterMs - spreadMs,
  ].filter((ms) => ms !== null);
  const dueAtMs = dueTimesMs.length === 0 ? nowMs : Math.min(...dueTimesMs);
  return { kind: dueAtMs <= nowMs ? "due" : "fresh", dueAtMs };
}

function effectiveMarginMs(credential: LoginCopy, policy: RefreshPolicy): number {
  const { expiresAtMs, issuedAtMs } = credential.accessClaims;
  const setMs = policy.safetyMarginSec * 1000;
  if (expiresAtMs === null || issuedAtMs === null || issuedAtMs >= expiresAtMs) return setMs;
  return Math.min(setMs, (expiresAtMs - issuedAtMs) / 3);
}
