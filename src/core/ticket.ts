import type { Stamps } from "./credential.js";
import { type FinalResult, isUncertain, judgeAnswer, type Rejection, salvageGrant } from "./grant.js";
import { parseObject } from "./json.js";
import { Secret } from "./secret.js";

/**
 * A ticket is the right to present one refresh token once, and the journal of what came of it.
 *
 * It is a list of events, one JSON object a line, only ever added to. Blank lines are padding: they reserve
 * the space on the disk before the token is spent. A torn last line is an event that did not happen.
 */
export type TicketEvent =
  | Prepared
  /** Written and synced before the first byte of the request leaves. */
  | { readonly event: "dispatched"; readonly atMs: number }
  /** A piece of the answer's body. Each one carries the status, so that the first is worth saving at once. */
  | { readonly event: "answer"; readonly httpStatus: number; readonly base64: string }
  /**
   * The store is about to be overwritten where it stands: the redo log of a write that can be torn. Texts in base64.
   */
  | { readonly event: "rewriting"; readonly from: string; readonly to: string }
  /** The attempt is over and nobody can know whether the token was spent. */
  | { readonly event: "unanswered"; readonly atMs: number; readonly cause: string }
  /** The latch: the server refused this token for good. Takes the place of everything before it. */
  | { readonly event: "rejected"; readonly atMs: number; readonly rejection: Rejection };

/** The first event: whose ticket this is, and for what. */
export interface Prepared {
  readonly event: "prepared";
  readonly atMs: number;
  readonly holder: Holder;
  readonly presented: Presented;
}

/** A process, as far as another one can recognise it. */
export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Null, like the next two, where the machine does not tell. */
  readonly bootId: string | null;
  readonly pidNamespace: string | null;
  /** Clock ticks since boot at which the process started: tells it from a later one with the same pid. */
  readonly startTicks: string | null;
}

/** A process by the words that people know it by. */
export function describeHolder(holder: Holder | null): string {
  return holder === null ? "another process" : `process ${holder.pid} on ${holder.host}`;
}

/** What recovery must know of the credential that was presented. No token in it. */
export interface Presented {
  /** SHA-256 of the refresh token, 64 hex digits. */
  readonly fingerprint: string;
  readonly accountIds: readonly string[];
  readonly stamps: Stamps;
}

/** A text of the store, and the one that is written over it where it stands. */
export interface Rewrite {
  readonly from: Secret;
  readonly to: Secret;
}

/** Whether the process behind a ticket is still there, as far as this machine can tell. */
export type HolderLife = "self" | "alive" | "gone" | "unknown";

export type TicketState =
  /** The first line is missing or torn: its writer died before it could present anything. */
  | { readonly kind: "blank" }
  /** Nobody can read it: another user's, no regular file, or broken. Its token may have been sent. */
  | { readonly kind: "opaque" }
  | { readonly kind: "prepared" }
  /** `cause` is null while it is not known what became of the request. */
  | { readonly kind: "dispatched" | "unanswered"; readonly atMs: number; readonly cause: string | null }
  /**
   * An answer lies in the ticket: some process received it, and did not bring it to its end yet. `isWhole` is false
   * for one that broke off behind its refresh token: the rest may still be on its way.
   */
  | { readonly kind: "answered"; readonly result: FinalResult; readonly isWhole: boolean; readonly atMs: number }
  | { readonly kind: "rejected"; readonly rejection: Rejection };

/** Which ticket: the token's SHA-256, and 1, 2, 3 … for each further attempt with the same token. */
export interface TicketName {
  readonly fingerprint: string;
  readonly attempt: number;
}

export interface Ticket extends TicketName {
  readonly createdAtMs: number;
  readonly state: TicketState;
  readonly life: HolderLife;
  /** Null when the ticket is blank or opaque. */
  readonly prepared: Prepared | null;
  /** The last write in place that was begun for this answer; null when there was none. */
  readonly rewrite: Rewrite | null;
}

/** How long a request may take in all, milliseconds. The script gave up after 30 s, and lost the login. */
export const REQUEST_DEADLINE_MS = 60_000;

/** A dispatched ticket of an unknown holder counts as in flight for this long, milliseconds. */
const IN_FLIGHT_MS = REQUEST_DEADLINE_MS + 30_000;

/** Its holder dispatches nothing with a ticket that is older than this, milliseconds. */
export const MAX_PREPARED_MS = 30_000;

/** So one that says nothing of a dispatch is dead after this, whoever holds it: the clocks may differ a little. */
const UNDISPATCHED_MS = MAX_PREPARED_MS + 15_000;

/** How often one token may be dispatched within {@link DISPATCH_WINDOW_MS} when no answer arrives. */
const MAX_DISPATCHES = 3;
const DISPATCH_WINDOW_MS = 86_400_000;

/** A server with a grace period answers a repeated request again, if it comes soon enough, milliseconds. */
export const RETRY_SOON_MS = 1_000;

/** The server is slow, or at a loss, or it is Codex who asked it: none of them will know better in a second. */
const PATIENT_CAUSES: readonly (string | null)[] = [
  "deadline",
  "server-error",
  "bad-body",
  "codex-died",
  "codex-odd",
  "codex-unchanged",
];

/**
 * How long a token rests after a request that may have spent it, milliseconds.
 *
 * A connection that broke is tried again at once, then after a minute. An answer that says nothing (500, 502,
 * 504) and a deadline skip the first step, and end with an hour: outages outlast minutes, and there are only
 * three requests.
 *
 * @param dispatchCount how many there were, 1 or more
 * @param cause what ended the last one; null when its process died over it
 */
export function restAfterDispatchMs(dispatchCount: number, cause: string | null): number {
  if (!PATIENT_CAUSES.includes(cause)) return dispatchCount === 1 ? RETRY_SOON_MS : 60_000;
  return dispatchCount === 1 ? 60_000 : 3_600_000;
}

export type AttemptPlan =
  /** Create ticket number `attempt`. `dispatchCount`: earlier requests with this token that got no answer. */
  | { readonly kind: "go"; readonly attempt: number; readonly dispatchCount: number }
  | { readonly kind: "in-flight"; readonly holder: Holder | null }
  | { readonly kind: "latched"; readonly rejection: Rejection }
  /** It was sent `dispatchCount` times without an answer, and rests. */
  | { readonly kind: "resting"; readonly untilMs: number; readonly dispatchCount: number };

/**
 * Says what may be done with a refresh token, given every ticket that exists for it.
 *
 * A dead ticket is never deleted to make way, and never reused: the next attempt takes the next number.
 * Deleting would let two processes that both found it dead both go on; creating a number is exclusive.
 *
 * @param tickets all tickets of one fingerprint, in any order, none of them answered
 * @param isForced lets a person ask again after a rejection without a known code, which may have come from a
 *   proxy and not from the server. A named rejection is the server's word on this very token, and stands.
 */
export function planAttempt(tickets: readonly Ticket[], nowMs: number, isForced: boolean): AttemptPlan {
  const running = tickets.find((ticket) => isInFlight(ticket, nowMs));
  if (running !== undefined) return { kind: "in-flight", holder: running.prepared?.holder ?? null };
  const rejections = tickets.flatMap(({ state }) => (state.kind === "rejected" ? [state.rejection] : []));
  const binding = rejections.find(({ cause }) => !(isForced && isUncertain(cause)));
  if (binding !== undefined) return { kind: "latched", rejection: binding };

  const dispatchCount = countDispatches(tickets);
  const untilMs = restsUntilMs(tickets, nowMs);
  if (untilMs !== null && untilMs > nowMs) return { kind: "resting", untilMs, dispatchCount };
  const attempt = Math.max(0, ...tickets.map((ticket) => ticket.attempt)) + 1;
  return { kind: "go", attempt, dispatchCount };
}

/** Until when a token rests that was sent without an answer; null when it was not, or not in the last day. */
function restsUntilMs(tickets: readonly Ticket[], nowMs: number): number | null {
  const sent = tickets
    .flatMap((ticket) => {
      const atMs = dispatchedAtMs(ticket);
      return atMs === null ? [] : [{ atMs, cause: "cause" in ticket.state ? ticket.state.cause : null }];
    })
    .filter(({ atMs }) => Math.abs(nowMs - atMs) < DISPATCH_WINDOW_MS)
    .sort((a, b) => a.atMs - b.atMs);
  const [first, last] = [sent[0], sent.at(-1)];
  if (first === undefined || last === undefined) return null;
  if (sent.length >= MAX_DISPATCHES) return first.atMs + DISPATCH_WINDOW_MS;
  // A stamp ahead of the clock must not make the token rest for longer than from now on.
  return Math.min(last.atMs, nowMs) + restAfterDispatchMs(sent.length, last.cause);
}

/** Whether the ticket's process may still be at work with the token. */
export function isInFlight(ticket: Ticket, nowMs: number): boolean {
  const { state, life } = ticket;
  // An answer that lies here whole can be saved by anybody: saving it twice leaves the same file.
  if (state.kind === "unanswered" || state.kind === "rejected") return false;
  if (state.kind === "answered" && state.isWhole) return false;
  if (life === "gone" || life === "self") return false;
  const isUndispatched = state.kind === "blank" || state.kind === "prepared";
  // A stopped process may have the answer in its socket. One that has sent nothing must not keep everybody waiting.
  if (life === "alive" && !isUndispatched) return true;
  const limitMs = isUndispatched ? UNDISPATCHED_MS : IN_FLIGHT_MS;
  return Math.abs(nowMs - (dispatchedAtMs(ticket) ?? ticket.createdAtMs)) < limitMs;
}

/** One event as the line that goes into the ticket. */
export function encodeEvent(event: TicketEvent): string {
  return `${JSON.stringify(event)}\n`;
}

/**
 * The text of a ticket that has come to its end: the verdict, and what led to it without the answer's body.
 * Nobody knows what a server puts into an error, or into half of an answer.
 */
export function concludeText(text: string, verdict: TicketEvent): string {
  return `${(text.match(/^{"event":"(?:prepared|dispatched)".*\n/gm) ?? []).join("")}${encodeEvent(verdict)}`;
}

/** What the text of a ticket says. Never throws: what is no event of ours is passed over. */
export function readTicketText(text: string): Pick<Ticket, "state" | "prepared" | "rewrite"> {
  // Not at each one: the reserve is 65,000 line ends.
  const events = text.split(/\n+/).flatMap(parseEvent);
  const ofKind = <Name extends TicketEvent["event"]>(name: Name): Extract<TicketEvent, { event: Name }>[] =>
    events.filter((event): event is Extract<TicketEvent, { event: Name }> => event.event === name);
  const [prepared = null] = ofKind("prepared");
  if (prepared === null) return { prepared, rewrite: null, state: { kind: isBlank(text) ? "blank" : "opaque" } };

  const [rewriting] = ofKind("rewriting").slice(-1);
  const rewrite = rewriting === undefined ? null : { from: decode(rewriting.from), to: decode(rewriting.to) };
  const [rejected] = ofKind("rejected");
  if (rejected !== undefined) return { prepared, rewrite, state: { kind: "rejected", rejection: rejected.rejection } };

  const [dispatched] = ofKind("dispatched");
  if (dispatched === undefined) return { prepared, rewrite, state: { kind: "prepared" } };
  const [unanswered] = ofKind("unanswered");
  const answer = readAnswer(ofKind("answer"), dispatched.atMs);
  const { atMs } = dispatched;
  const none: TicketState = { kind: unanswered?.event ?? "dispatched", atMs, cause: unanswered?.cause ?? null };
  return { prepared, rewrite, state: answer ?? none };
}

const BEGINNING = '{"event":"prepared"';

/** Whether the first line never got whole, or none was synced: nothing was dispatched with such a ticket. */
function isBlank(text: string): boolean {
  const line = text.replace(/[\s\0]+$/, "");
  return BEGINNING.startsWith(line.slice(0, BEGINNING.length)) && !line.includes("\n");
}

/** What an answer's pieces come to; null when they settle nothing. */
function readAnswer(pieces: readonly { httpStatus: number; base64: string }[], atMs: number): TicketState | null {
  const httpStatus = pieces[0]?.httpStatus;
  if (httpStatus === undefined) return null;
  const body = Buffer.concat(pieces.map(({ base64 }) => Buffer.from(base64, "base64"))).toString("utf8");
  const result = judgeAnswer(httpStatus, body);
  if (result.kind === "refused") return { kind: "prepared" }; // Sent, and unspent all the same.
  if (result.kind !== "ambiguous") return { kind: "answered", result, isWhole: true, atMs };
  const salvaged = salvageGrant(httpStatus, body);
  return salvaged === null ? null : { kind: "answered", result: salvaged, isWhole: false, atMs };
}

function decode(base64: string): Secret {
  return new Secret(Buffer.from(base64, "base64").toString("utf8"));
}

/** How many of these tickets stand for a request that left, or may have left. */
export function countDispatches(tickets: readonly Ticket[]): number {
  return tickets.filter((ticket) => dispatchedAtMs(ticket) !== null).length;
}

/** When the ticket's token left, or may have left, milliseconds since 1970; null when it did not. */
function dispatchedAtMs({ state, createdAtMs }: Ticket): number | null {
  if (state.kind === "opaque") return createdAtMs;
  return "atMs" in state ? state.atMs : null;
}

/** The fields that an event must have, and of what type. */
const FIELDS: Readonly<Record<TicketEvent["event"], Readonly<Record<string, "number" | "string" | "object">>>> = {
  prepared: { atMs: "number", holder: "object", presented: "object" },
  dispatched: { atMs: "number" },
  answer: { httpStatus: "number", base64: "string" },
  rewriting: { from: "string", to: "string" },
  unanswered: { atMs: "number", cause: "string" },
  rejected: { rejection: "object" },
};

function parseEvent(line: string): TicketEvent[] {
  const value = line.trim() === "" ? null : parseObject(line);
  const fields = Object.entries(FIELDS[value?.["event"] as TicketEvent["event"]] ?? { event: "never" });
  const isWhole = fields.every(([name, type]) => typeof value?.[name] === type && value?.[name] !== null);
  const event = value as unknown as TicketEvent;
  return isWhole && isSound(event) ? [event] : [];
}

/** Looks one level deeper, where recovery relies on it: a broken ticket must not break recovery. */
function isSound(event: TicketEvent): boolean {
  if (event.event === "rejected") return typeof event.rejection.cause === "string";
  if (event.event !== "prepared") return true;
  const { accountIds, stamps } = event.presented;
  return Array.isArray(accountIds) && typeof stamps === "object" && stamps !== null;
}
