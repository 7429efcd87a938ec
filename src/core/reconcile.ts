import { type Credential, NO_REFRESH_TOKEN, newestStampMs, type Reading } from "./credential.js";
import { fingerprint } from "./fingerprint.js";
import { type GrantedTokens, mergeTokens } from "./merge.js";
import type { Presented } from "./ticket.js";

/** What to do with granted tokens, given what the file holds now. */
export type CommitPlan =
  | { readonly kind: "write"; readonly text: string }
  /** The file holds the granted tokens already: an earlier commit got through. */
  | { readonly kind: "done" }
  /** Somebody logged in, switched the mode or logged out meanwhile: their word stands, ours is dropped. */
  | { readonly kind: "yield"; readonly to: "newer-login" | "logout" }
  /** Another program is writing right now: nothing can be decided yet. `problem` follows the store's name. */
  | { readonly kind: "unclear"; readonly problem: string };

/**
 * Decides whose word stands when granted tokens meet a file that may have changed since they were asked for.
 *
 * The same refresh token, or an older credential of the same account (a restored backup): ours. Another
 * account, or a newer credential: theirs. A file that is gone means a logout, and a logout is never undone.
 *
 * @param reading the file as it is now
 * @param nowMs what becomes `last_refresh`, milliseconds since 1970
 * @see DESIGN.md step 8
 */
export function planCommit(reading: Reading, presented: Presented, granted: GrantedTokens, nowMs: number): CommitPlan {
  switch (reading.kind) {
    case "absent":
      return { kind: "yield", to: "logout" };
    case "inert":
      return { kind: "yield", to: reading.reason === NO_REFRESH_TOKEN ? "logout" : "newer-login" };
    case "login":
      return planForLogin(reading.credential, presented, granted, nowMs);
    default:
      return { kind: "unclear", problem: reading.problem };
  }
}

/** Whether two credentials name the same account; true as well when either of them names none. */
export function isSameAccount(a: readonly string[], b: readonly string[]): boolean {
  return a.length === 0 || b.length === 0 || a.some((id) => b.includes(id));
}

function planForLogin(credential: Credential, presented: Presented, granted: GrantedTokens, nowMs: number): CommitPlan {
  if (granted.refresh_token?.equals(credential.refreshToken) === true) return { kind: "done" };
  if (fingerprint(credential.refreshToken) !== presented.fingerprint && !isOlder(credential, presented)) {
    return { kind: "yield", to: "newer-login" };
  }
  const text = mergeTokens(credential.text.reveal(), granted, nowMs);
  return text === null ? { kind: "unclear", problem: "is nested too deeply" } : { kind: "write", text };
}

/** Whether a credential is an earlier one of the presented account, as a restored backup would be. */
function isOlder(credential: Credential, presented: Presented): boolean {
  const stampMs = newestStampMs(credential);
  if (!isSameAccount(credential.accountIds, presented.accountIds)) return false;
  return stampMs !== null && presented.stampMs !== null && stampMs < presented.stampMs;
}
