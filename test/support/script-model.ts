/**
 * The schedule of the shell script (`main_loop`, `needs_refresh_and_payload`), so that a year of it fits into seconds.
 * A test checks each of these decisions against the script itself.
 */

/** How long it sleeps after each attempt, whatever came of it. */
export const SCRIPT_INTERVAL_SEC = 21_600;

export const SAFETY_MARGIN_SEC = 14_400;
export const STALE_AFTER_SEC = 604_800;

/** What the script knows of a login; null is what it could not read. */
export interface ScriptView {
  readonly expiresInSec: number | null;
  readonly lastRefreshAgoSec: number | null;
}

/** Whether the script presents the refresh token. */
export function doesScriptPresent({ expiresInSec, lastRefreshAgoSec }: ScriptView): boolean {
  if (expiresInSec === null && lastRefreshAgoSec === null) return true;
  const isExpiring = expiresInSec !== null && Math.trunc(expiresInSec) <= SAFETY_MARGIN_SEC;
  return isExpiring || (lastRefreshAgoSec !== null && Math.trunc(lastRefreshAgoSec) >= STALE_AFTER_SEC);
}

/** What the script makes of an answer; null is no answer. Only a 2xx changes the file; nothing changes its next sleep. */
export function scriptOutcome(httpStatus: number | null): "refreshed" | "permanent" | "transient" {
  if (httpStatus !== null && httpStatus >= 200 && httpStatus < 300) return "refreshed";
  return httpStatus === 401 ? "permanent" : "transient";
}
