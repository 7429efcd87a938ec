import { type Credential, type CredentialReading, newestStampMs } from "./credential.js";
import { fingerprint } from "./fingerprint.js";
import type { GrantedTokens } from "./merge.js";
import type { Presented } from "./ticket.js";

/** What to do with granted tokens, given what the file holds now. */
export type CommitPlan =
  | { readonly kind: "merge"; readonly credential: Credential }
  /** The file holds the granted tokens already: an earlier commit got through. */
  | { readonly kind: "done" }
  /** Somebody logged in, switched the mode or logged out meanwhile: their word stands, ours is dropped. */
  | { readonly kind: "yield"; readonly to: "newer-login" | "logout" }
  /** Another program is writing right now: nothing can be decided yet. */
  | { readonly kind: "unclear"; readonly problem: string };

/**
 * Decides whose word stands when granted tokens meet a file that may have changed since they were asked for.
 *
 * The same refresh token, or an older credential of the same account (a restored backup): ours. Another
 * account, or a newer credential: theirs. A file that is gone means a logout, and a logout is never undone.
 *
 * @param reading the file as it is now, null when it is gone
 * @see DESIGN.md step 8
 */
export function planCommit(
  reading: CredentialReading | null,
  presented: Presented,
  granted: GrantedTokens,
): CommitPlan {
  if (reading === null) return { kind: "yield", to: "logout" };
  switch (reading.kind) {
    case "inert":
      return { kind: "yield", to: reading.reason.kind === "no_refresh_token" ? "logout" : "newer-login" };
    case "empty":
      return { kind: "unclear", problem: "is empty" };
    case "torn":
    case "misshapen":
      return { kind: "unclear", problem: reading.problem };
    case "login":
      return planForLogin(reading.credential, presented, granted);
  }
}

/** Whether two credentials name the same account; true as well when either of them names none. */
export function isSameAccount(a: readonly string[], b: readonly string[]): boolean {
  return a.length === 0 || b.length === 0 || a.some((id) => b.includes(id));
}

function planForLogin(credential: Credential, presented: Presented, granted: GrantedTokens): CommitPlan {
  if (fingerprint(credential.refreshToken) === presented.fingerprint) return { kind: "merge", credential };
  if (granted.refresh_token !== undefined && credential.refreshToken.equals(granted.refresh_token)) {
    return { kind: "done" };
  }
  const theirsMs = newestStampMs(credential);
  const isRestoredBackup =
    isSameAccount(credential.accountIds, presented.accountIds) &&
    theirsMs !== null &&
    presented.stampMs !== null &&
    theirsMs < presented.stampMs;
  return isRestoredBackup ? { kind: "merge", credential } : { kind: "yield", to: "newer-login" };
}
