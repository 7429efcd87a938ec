import type { Credential } from "./credential.js";
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

/** What the credential looked like at the end of the cycle; all that the status tells about it. */
export interface CredentialView {
  readonly lastRefreshText: string;
  readonly lastRefreshMs: number | null;
  readonly expiresAtMs: number | null;
  readonly dueAtMs: number | null;
}

export const NO_CREDENTIAL: CredentialView = {
  lastRefreshText: "",
  lastRefreshMs: null,
  expiresAtMs: null,
  dueAtMs: null,
};

export function viewCredential(credential: Credential, dueAtMs: number): CredentialView {
  return {
    lastRefreshText: credential.lastRefreshText,
    lastRefreshMs: credential.lastRefreshMs,
    expiresAtMs: credential.accessClaims.expiresAtMs,
    dueAtMs,
  };
}

/** Age of a `last_refresh` in whole seconds, null when unknown. Negative when it lies ahead of the clock. */
export function ageSec(lastRefreshMs: number | null, nowMs: number): number | null {
  return lastRefreshMs === null ? null : Math.trunc((nowMs - lastRefreshMs) / 1000);
}

export function buildStatus(input: {
  readonly report: Report;
  readonly view: CredentialView;
  readonly failureCount: number;
  readonly nextCheckAtMs: number | null;
  readonly nowMs: number;
  readonly version: string;
}): Status {
  const { report, view, nowMs } = input;
  return {
    last_refresh: view.lastRefreshText,
    last_refresh_age_seconds: ageSec(view.lastRefreshMs, nowMs) ?? -1,
    watchdog_last_outcome: report.word,
    watchdog_last_run_iso: new Date(nowMs).toISOString(),
    schema_version: 1,
    watchdog_version: input.version,
    state: report.state,
    reason: report.reason,
    access_token_expires_at: toIso(view.expiresAtMs),
    refresh_due_at: toIso(view.dueAtMs),
    next_check_at: toIso(input.nextCheckAtMs),
    consecutive_failures: input.failureCount,
    operator_action: report.action,
  };
}

function toIso(ms: number | null): string | null {
  if (ms === null || !Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return null;
  return new Date(ms).toISOString();
}
