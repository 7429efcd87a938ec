import { type Credential, compareStamps, NO_REFRESH_TOKEN, type Reading, stampsOf } from "./credential.js";
import { fingerprint } from "./fingerprint.js";
import { type GrantedTokens, mergeTokens } from "./merge.js";
import type { Presented } from "./ticket.js";

/** What to do with granted tokens, given what the file holds now. */
export type CommitPlan =
  | { readonly kind: "write"; readonly text: string }
  /** The file holds the granted tokens already: an earlier commit got through. */
  | { readonly kind: "done" }
  /**
   * Somebody logged in, switched the mode or logged out meanwhile: their word stands, ours is dropped. `isCertain` is
   * false where nothing says which of two logins of one account is the newer: then ours is kept aside.
   */
  | { readonly kind: "yield"; readonly to: "newer-login" | "logout"; readonly isCertain: boolean }
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
      return { kind: "yield", to: "logout", isCertain: true };
    case "inert":
      return { kind: "yield", to: reading.reason === NO_REFRESH_TOKEN ? "logout" : "newer-login", isCertain: true };
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
    return { kind: "yield", to: "newer-login", isCertain: isComparable(credential, presented) };
  }
  const text = mergeTokens(credential.text.reveal(), granted, nowMs);
  return text === null ? { kind: "unclear", problem: "is nested too deeply" } : { kind: "write", text };
}

/** Whether it can be told which of the two is the newer: another account's always stands. */
function isComparable(credential: Credential, presented: Presented): boolean {
  if (!isSameAccount(credential.accountIds, presented.accountIds)) return true;
  return compareStamps(stampsOf(credential), presented.stamps) !== null;
}

/** Whether a credential is an earlier one of the presented account, as a restored backup would be. */
function isOlder(credential: Credential, presented: Presented): boolean {
  if (!isSameAccount(credential.accountIds, presented.accountIds)) return false;
  return (compareStamps(stampsOf(credential), presented.stamps) ?? 0) < 0;
}
