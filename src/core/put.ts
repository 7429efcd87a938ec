import { type Credential, compareStamps, stampsOf } from "./credential.js";
import { isSameAccount } from "./reconcile.js";

/** Whether a login may be put into the store. */
export type PutPlan =
  | { readonly kind: "put" }
  /** In words that follow "not stored: ". */
  | { readonly kind: "refused"; readonly why: string };

/**
 * Decides whether a login from a file may take a place in the store. A login that is older than what is there, or that
 * was presented already, holds a spent token, and its use would revoke the good one.
 *
 * @param stored what stands there now; null when nothing does
 * @param wasPresented whether a request with this very refresh token is on record
 */
export function planPut(offered: Credential, stored: Credential | null, wasPresented: boolean): PutPlan {
  if (stored?.refreshToken.equals(offered.refreshToken) === true) return refused("the same login is stored already");
  if (wasPresented) {
    return refused("its refresh token was presented from the store before, so it is spent; log in again, and put that");
  }
  if (stored === null) return { kind: "put" };
  if (!isSameAccount(offered.accountIds, stored.accountIds)) {
    return refused("another account's login is stored under this name; choose another one with --credential");
  }
  const order = compareStamps(stampsOf(offered), stampsOf(stored));
  if (order === null)
    return refused("nothing tells whether it is newer than the stored one; log in again, and put that");
  return order > 0 ? { kind: "put" } : refused("the stored one is newer; log in again, and put that");
}

function refused(why: string): PutPlan {
  return { kind: "refused", why };
}
