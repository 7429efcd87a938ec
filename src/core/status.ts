import type { Reading } from "./credential.js";
import type { HealthState, Report } from "./outcome.js";

/**
 * The content of `auth_refresh_status.json`. The first four keys are the shell script's, unchanged; the
 * others came with this program. Never a token, nor a part of one.
 *
 * Described for other programs by `schema/auth_refresh_status.schema.json`.
 */
export interface Status {
  /** As auth.json spells it; empty when unknown. */
  readonly last_refresh: string;
  /** Whole seconds; −1 when unknown. */
  readonly last_refresh_age_seconds: number;
  readonly watchdog_last_outcome: string;
  readonly watchdog_last_run_iso: string;
  readonly schema_version: 1;
  readonly watchdog_version: string;
  readonly state: HealthState;
  readonly reason: string;
  /** When the access token expires, RFC 3339; null when unknown. */
  readonly access_token_expires_at: string | null;
  /** When a refresh becomes due, RFC 3339; null when nothing is to be refreshed. */
  readonly refresh_due_at: string | null;
  /** When the loop looks again, RFC 3339; null after `--once`. */
  readonly next_check_at: string | null;
  readonly consecutive_failures: number;
  readonly operator_action: string | null;
}

/** Age of a `last_refresh` in whole seconds, null when unknown. Negative when it lies ahead of the clock. */
export function ageSec(lastRefreshMs: number | null, nowMs: number): number | null {
  return lastRefreshMs === null ? null : Math.trunc((nowMs - lastRefreshMs) / 1000);
}

export function buildStatus(input: {
  readonly report: Report;
  /** The store at the end of the cycle. */
  readonly reading: Reading;
  readonly dueAtMs: number | null;
  readonly nextCheckAtMs: number | null;
  readonly failureCount: number;
  readonly nowMs: number;
  readonly version: string;
}): Status {
  const { report, reading, nowMs } = input;
  const credential = reading.kind === "login" ? reading.credential : null;
  const { lastRefreshText, lastRefreshMs } =
    credential ?? (reading.kind === "inert" ? reading : { lastRefreshText: "", lastRefreshMs: null });
  return {
    last_refresh: lastRefreshText,
    last_refresh_age_seconds: ageSec(lastRefreshMs, nowMs) ?? -1,
    watchdog_last_outcome: report.word,
    watchdog_last_run_iso: new Date(nowMs).toISOString(),
    schema_version: 1,
    watchdog_version: input.version,
    state: report.state,
    reason: report.reason,
    access_token_expires_at: toIso(credential?.accessClaims.expiresAtMs ?? null),
    refresh_due_at: toIso(input.dueAtMs),
    next_check_at: toIso(input.nextCheckAtMs),
    consecutive_failures: input.failureCount,
    operator_action: report.action,
  };
}

/** RFC 3339, or null for what has no date that can be written. */
function toIso(ms: number | null): string | null {
  return ms === null || !(Math.abs(ms) <= 8.64e15) ? null : new Date(ms).toISOString();
}
