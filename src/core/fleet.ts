import { encodeEvent, type HolderLife, REQUEST_DEADLINE_MS, type TicketState } from "./ticket.js";

/**
 * The number of a credential's next version in the store.
 *
 * A counter that also follows the database's clock, so that it never comes back: what is written after an old backup was
 * restored still has a higher number than everything that anybody has seen before.
 *
 * @param version the one that is stored; 0 where there is none
 * @param nowMs by the database's clock, milliseconds since 1970
 */
export function nextVersion(version: number, nowMs: number): number {
  return Math.max(version + 1, Math.floor(nowMs));
}

/** Another host that is cut off from the database, with an answer in its hands, is waited for this long, milliseconds. */
const REMOTE_REST_MS = 3_600_000;

/** But not beyond this long before the access token's end, milliseconds: then nothing is left to be lost by asking. */
const LAST_CALL_MS = 300_000;

/** A request lasts no longer than this, milliseconds, and its answer is saved some seconds later. */
const REMOTE_REQUEST_MS = REQUEST_DEADLINE_MS + 30_000;

/**
 * Whether the process behind a spend row may still bring home an answer, for one who sees nothing but the row.
 *
 * The host may be gone, or it may hold the answer and not reach the database. To present the token again in the second
 * case revokes the login, so it waits as long as the login works without.
 *
 * @param expiresAtMs the end of the access token that is stored, milliseconds since 1970; null when unknown
 */
export function remoteLife(state: TicketState, nowMs: number, expiresAtMs: number | null): HolderLife {
  if (state.kind !== "dispatched") return "unknown";
  const lastCallMs = (expiresAtMs ?? Number.POSITIVE_INFINITY) - LAST_CALL_MS;
  const untilMs = Math.max(state.atMs + REMOTE_REQUEST_MS, Math.min(state.atMs + REMOTE_REST_MS, lastCallMs));
  return nowMs < untilMs ? "alive" : "unknown";
}

/** A spend row as the text of a ticket, so that one and the same code reads both. */
export function rowAsTicketText(prepared: string, dispatchedAtMs: number | null, verdict: string | null): string {
  const dispatched = dispatchedAtMs === null ? "" : encodeEvent({ event: "dispatched", atMs: dispatchedAtMs });
  return `${prepared.trimEnd()}\n${dispatched}${verdict === null ? "" : `${verdict.trimEnd()}\n`}`;
}

/** What stays of a ticket whose token was spent and replaced: should the store ever show that token again, it is old. */
export function spentVerdict(nowMs: number): string {
  return encodeEvent({ event: "rejected", atMs: nowMs, rejection: { cause: "restored", httpStatus: 0 } });
}

/** Why a credential that is older than one seen before is not touched, in words that follow the store's name. */
export const RESTORED_PROBLEM =
  "is older than what this host has seen of it (a restored backup?), so its refresh token may be spent; put a new login with codex-auth-watchdog store put";

/** An owner shows itself every half minute; one that missed a few of them is taken for dead, milliseconds. */
const OWNER_SILENT_MS = 180_000;

/** @param seenMs when an owner was seen last, by the clock that `nowMs` is of; null when none ever was */
export function isOwnerAlive(seenMs: number | null, nowMs: number): boolean {
  return seenMs !== null && nowMs - seenMs < OWNER_SILENT_MS;
}
