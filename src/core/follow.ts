import { compareStamps, type LoginCopy, loginOf, type Reading, readCredential, stampsOf } from "./credential.js";
import { toFollowerText } from "./follower-text.js";
import type { Report } from "./outcome.js";
import { isSameAccount } from "./reconcile.js";
import { describeSpan } from "./span.js";
import type { Follows } from "./status.js";

/** Why a copy is not written. Only a person can help with the first four. */
export type FollowRefusal = "own-login" | "other-mode" | "other-account" | "not-a-login" | "older" | "unreadable";

/** What becomes of what a source has offered. */
export type FollowPlan =
  | { readonly kind: "write"; readonly text: string; readonly copy: LoginCopy }
  /** The home holds this very copy. */
  | { readonly kind: "same"; readonly copy: LoginCopy }
  | { readonly kind: "refused"; readonly why: FollowRefusal; readonly problem: string };

export interface Offer {
  /** The text of an auth.json, whoever made it. */
  readonly text: string;
  /** The store's number for it; null where the source has none. */
  readonly version: number | null;
}

/**
 * Decides whether a follower writes what it was offered.
 *
 * What is written is always a follower's text: a refresh token that a source sends by mistake does not reach the disk.
 *
 * @param local what the home holds now
 * @param lastVersion the number of what was copied last from this source; null when nothing was
 * @param isTakeOver whether a person has said that a login of the home's own may go
 */
export function planFollow(local: Reading, offer: Offer, lastVersion: number | null, isTakeOver: boolean): FollowPlan {
  const text = toFollowerText(offer.text);
  const offered = text === null ? null : readCredential(text);
  const copy = offered === null ? null : loginOf(offered);
  if (text === null || copy === null) return refused("not-a-login", "what it offers is no ChatGPT login");
  if (local.kind === "torn" || local.kind === "unreadable") return refused("unreadable", `auth.json ${local.problem}`);
  // A number that falls means a store that was put back, whatever the tokens say of their age; one that rises is newer.
  const { version } = offer;
  const order = version === null || lastVersion === null ? null : version - lastVersion;
  if (order !== null && order < 0) return refused("older", OLDER);
  if (local.kind === "absent" || local.kind === "empty") return { kind: "write", text, copy };

  const own = loginOf(local);
  if (!isTakeOver) {
    if (local.kind === "login") return refused("own-login", "the home holds a login of its own");
    if (own === null) return refused("other-mode", "the home holds another kind of login");
    if (!isSameAccount(own.accountIds, copy.accountIds)) {
      return refused("other-account", "the home holds another account's login");
    }
    if (order === null && (compareStamps(stampsOf(copy), stampsOf(own)) ?? 0) < 0) return refused("older", OLDER);
  }
  if (own?.text.reveal() === text) return { kind: "same", copy };
  return { kind: "write", text, copy };
}

const OLDER = "what it offers is older than the copy here (a restored backup?)";

function refused(why: FollowRefusal, problem: string): FollowPlan {
  return { kind: "refused", why, problem };
}

const TAKE_OVER = "follow with --take-over to replace it, or follow into another CODEX_HOME";

const CURES: Readonly<Record<FollowRefusal, string>> = {
  "own-login": TAKE_OVER,
  "other-mode": TAKE_OVER,
  "other-account": TAKE_OVER,
  "not-a-login": "check what is stored there",
  older: "put a new login with codex-auth-watchdog store put",
  unreadable: "mend it, or take it away",
};

/** How one look at the source ended. */
export type FollowOutcome =
  | { readonly kind: "copied"; readonly version: number | null }
  | { readonly kind: "current" }
  | { readonly kind: "refused"; readonly why: FollowRefusal; readonly problem: string }
  /** `isFinal`: waiting does not mend it. `problem` follows the source's name. */
  | { readonly kind: "unavailable"; readonly problem: string; readonly isFinal: boolean }
  /** The copy could not be written; `problem` is a line of its own. */
  | { readonly kind: "unwritten"; readonly problem: string };

/** What an access token must have left for its owner's silence to be nobody's business yet, milliseconds. */
const SOON_MS = 3_600_000;

/**
 * Puts a follower's look into words.
 *
 * @param copy what the home holds now; null when it holds no copy
 * @param nowMs milliseconds since 1970
 */
export function reportFollow(outcome: FollowOutcome, copy: LoginCopy | null, follows: Follows, nowMs: number): Report {
  const expiresAtMs = copy?.accessClaims.expiresAtMs ?? null;
  const isExpired = copy === null || (expiresAtMs !== null && expiresAtMs <= nowMs);
  const left = expiresAtMs === null ? "" : `, good for ${describeSpan(Math.max(0, expiresAtMs - nowMs))}`;
  const of = follows.version === null ? "" : ` version ${follows.version}`;
  switch (outcome.kind) {
    case "copied":
    case "current": {
      const isCopied = outcome.kind === "copied";
      const line = `follow: ${isCopied ? "copied" : "holds"}${of} of ${follows.source}${left}`;
      const word = isCopied ? "followed" : "skip";
      const isSilent = follows.isOwnerAlive === false && (expiresAtMs ?? nowMs) - nowMs < SOON_MS;
      if (isExpired || isSilent) {
        const reason = isExpired ? "copy_expired" : "owner_silent";
        const what = isExpired ? "the newest copy there has expired" : "no owner was seen, and the copy expires soon";
        return { exitCode: 2, state: "degraded", word, line: `${line}; ${what}`, reason, action: OWNER_ACTION };
      }
      return { exitCode: isCopied ? 0 : 1, state: "ok", word, line, reason: "follows", action: null };
    }
    case "refused": {
      const { why, problem } = outcome;
      const isFinal = why !== "older" && why !== "unreadable";
      const line = `follow: not copied from ${follows.source}: ${problem}; ${CURES[why]}`;
      const word = isFinal ? "fail:permanent_follow" : "fail:transient_follow";
      const reason = `follow_${why.replaceAll("-", "_")}`;
      return { exitCode: isFinal ? 3 : 2, state: "degraded", word, line, reason, action: CURES[why] };
    }
    case "unavailable": {
      const line = `follow: ${follows.source} ${outcome.problem}`;
      const word = outcome.isFinal ? "fail:permanent_follow" : "fail:transient_follow";
      const action = outcome.problem.split(/[;:] /).at(-1) ?? null;
      const exitCode = outcome.isFinal ? 3 : 2;
      return { exitCode, state: "degraded", word, line, reason: "source_unavailable", action };
    }
    case "unwritten":
      return {
        exitCode: 2,
        state: "degraded",
        word: "fail:transient_follow",
        line: `follow: ${outcome.problem}`,
        reason: "copy_not_written",
        action: outcome.problem.split(": ").at(-1) ?? null,
      };
  }
}

const OWNER_ACTION = "see that an owner runs (codex-auth-watchdog --store …) and what its log says";
