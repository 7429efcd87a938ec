import { type Credential, compareStamps, knownAccounts, type Stamps, stampsOf } from "./credential.js";
import { fingerprint } from "./fingerprint.js";
import { isSameAccount } from "./reconcile.js";
import { countDispatches, isInFlight, type Ticket } from "./ticket.js";

/** Whether a login may be put into the store. */
export type PutPlan =
  | { readonly kind: "put" }
  /** In words that follow "not stored: ". */
  | { readonly kind: "refused"; readonly why: string };

/** What stands where a login is to be put. */
export interface StoredLogin {
  /** Of its refresh token. */
  readonly fingerprint: string;
  readonly accountIds: readonly string[];
  readonly stamps: Stamps;
  /** Whether it opens. What does not is of no use to anybody, so that the same login may be put over it. */
  readonly isWhole: boolean;
}

export function storedLoginOf(credential: Credential): StoredLogin {
  const { refreshToken, accountIds } = credential;
  return { fingerprint: fingerprint(refreshToken), accountIds, stamps: stampsOf(credential), isWhole: true };
}

/**
 * What the plain columns tell of a row whose sealed text was damaged.
 *
 * @param accountIds a JSON list; what is none counts as no account
 * @param agedMs when it was refreshed, or else written, milliseconds since 1970
 */
export function damagedLoginOf(row: { fingerprint: string; accountIds: string; agedMs: number }): StoredLogin {
  let ids: unknown = null;
  try {
    ids = JSON.parse(row.accountIds);
  } catch {
    // Damaged as well.
  }
  return {
    fingerprint: row.fingerprint,
    accountIds: Array.isArray(ids) ? knownAccounts(ids) : [],
    stamps: { issuedAtMs: null, lastRefreshMs: row.agedMs },
    isWhole: false,
  };
}

/** What the store knows of the very token that is offered. */
export interface TokenPast {
  /** Whether a request with it is on record, under whatever name it stood. */
  readonly wasPresented: boolean;
  /** Another name under which it stands now; null when there is none. */
  readonly otherName: string | null;
}

/**
 * Decides whether a login from a file may take a place in the store. A login that is older than what is there, or that
 * was presented already, holds a spent token, and its use would revoke the good one.
 *
 * @param stored what stands there now; null when nothing does
 */
export function planPut(offered: Credential, stored: StoredLogin | null, past: TokenPast): PutPlan {
  const isSame = stored?.fingerprint === fingerprint(offered.refreshToken);
  if (isSame && stored.isWhole) return refused("the same login is stored already");
  // Each name has owners of its own, and they ask each other nothing.
  if (past.otherName !== null) return refused(`the same login is stored already, as ${past.otherName}`);
  if (past.wasPresented) {
    return refused("its refresh token was presented from the store before, so it is spent; log in again, and put that");
  }
  if (stored === null || isSame) return { kind: "put" };
  if (!isSameAccount(offered.accountIds, stored.accountIds)) {
    return refused("another account's login is stored under this name; choose another one with --credential");
  }
  const order = compareStamps(stampsOf(offered), stored.stamps);
  if (order === null)
    return refused("nothing tells whether it is newer than the stored one; log in again, and put that");
  return order > 0 ? { kind: "put" } : refused("the stored one is newer; log in again, and put that");
}

/** Whether a home may give its login away. */
export type GivePlan =
  | { readonly kind: "give" }
  /** A request is under way, or its answer waits to be saved. */
  | { readonly kind: "wait" }
  /** In words that follow "not stored: ". */
  | { readonly kind: "refused"; readonly why: string };

/**
 * Decides whether the requests that a home has made let its login go. The store knows nothing of them: its owners would
 * present the token as if nobody ever had.
 *
 * @param tickets the home's tickets of this very token
 * @param nowMs milliseconds since 1970
 */
export function planGiveAway(tickets: readonly Ticket[], nowMs: number): GivePlan {
  if (tickets.some((ticket) => ticket.state.kind === "answered" || isInFlight(ticket, nowMs))) return { kind: "wait" };
  if (tickets.some(({ state }) => state.kind === "rejected")) {
    return refused("the server has refused its refresh token; log in again, and put that");
  }
  if (countDispatches(tickets) > 0) {
    return refused(
      "its refresh token was sent from this home, and nobody knows what became of it; log in again, and put that",
    );
  }
  return { kind: "give" };
}

function refused(why: string): { readonly kind: "refused"; readonly why: string } {
  return { kind: "refused", why };
}
