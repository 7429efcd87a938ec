import { type FinalResult, judgeAnswer, type Rejection } from "./grant.js";
import { parseObject } from "./json.js";

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

/** What recovery must know of the credential that was presented. No token in it. */
export interface Presented {
  /** SHA-256 of the refresh token, 64 hex digits. */
  readonly fingerprint: string;
  readonly accountIds: readonly string[];
  /** The newest stamp of that credential, milliseconds since 1970; null when it had none. */
  readonly stampMs: number | null;
}

/** Whether the process behind a ticket is still there, as far as this machine can tell. */
export type HolderLife = "self" | "alive" | "gone" | "unknown";

export type TicketState =
  /** The first line is missing or torn: its writer died before it could present anything. */
  | { readonly kind: "blank" }
  | { readonly kind: "prepared" }
  | { readonly kind: "dispatched" | "unanswered"; readonly atMs: number }
  /** The answer lies in the ticket whole: some process received it, and did not bring it to its end yet. */
  | { readonly kind: "answered"; readonly result: FinalResult }
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
  /** Null when the ticket is blank. */
  readonly prepared: Prepared | null;
}

/** How long a request may take in all, milliseconds. The script gave up after 30 s, and lost the login. */
export const REQUEST_DEADLINE_MS = 60_000;

/** A dispatched ticket of an unknown holder counts as in flight for this long, milliseconds. */
const IN_FLIGHT_MS = REQUEST_DEADLINE_MS + 30_000;

/** How often one token may be dispatched within {@link DISPATCH_WINDOW_MS} when no answer arrives. */
const MAX_DISPATCHES = 3;
const DISPATCH_WINDOW_MS = 86_400_000;

export type AttemptPlan =
  /** Create ticket number `attempt`. `isRepeat`: an earlier request with this token got no answer. */
  | { readonly kind: "go"; readonly attempt: number; readonly isRepeat: boolean }
  | { readonly kind: "in-flight"; readonly holder: Holder | null }
  | { readonly kind: "latched"; readonly rejection: Rejection }
  | { readonly kind: "exhausted"; readonly untilMs: number };

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
  const binding = rejections.find(({ cause }) => !(isForced && cause === "unnamed"));
  if (binding !== undefined) return { kind: "latched", rejection: binding };

  const dispatches = tickets.map(dispatchedAtMs).filter((atMs) => atMs !== null);
  const recent = dispatches.filter((atMs) => Math.abs(nowMs - atMs) < DISPATCH_WINDOW_MS);
  if (recent.length >= MAX_DISPATCHES) {
    return { kind: "exhausted", untilMs: Math.min(...recent) + DISPATCH_WINDOW_MS };
  }
  const attempt = Math.max(0, ...tickets.map((ticket) => ticket.attempt)) + 1;
  return { kind: "go", attempt, isRepeat: dispatches.length > 0 };
}

/** Whether the ticket's process may still be at work with the token. */
export function isInFlight(ticket: Ticket, nowMs: number): boolean {
  const { state, life } = ticket;
  // An answer that lies here whole can be saved by anybody: saving it twice leaves the same file.
  if (state.kind === "unanswered" || state.kind === "rejected" || state.kind === "answered") return false;
  if (life === "gone" || life === "self") return false;
  if (life === "alive") return true;
  return Math.abs(nowMs - (dispatchedAtMs(ticket) ?? ticket.createdAtMs)) < IN_FLIGHT_MS;
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
export function readTicketText(text: string): Pick<Ticket, "state" | "prepared"> {
  const events = text.split("\n").flatMap(parseEvent);
  const find = <Name extends TicketEvent["event"]>(name: Name): Extract<TicketEvent, { event: Name }> | undefined =>
    events.find((event): event is Extract<TicketEvent, { event: Name }> => event.event === name);
  const prepared = find("prepared");
  const rejected = find("rejected");
  if (prepared === undefined) return { prepared: null, state: { kind: "blank" } };
  if (rejected !== undefined) return { prepared, state: { kind: "rejected", rejection: rejected.rejection } };

  const dispatched = find("dispatched");
  if (dispatched === undefined) return { prepared, state: { kind: "prepared" } };
  const status = find("answer")?.httpStatus;
  const pieces = events.map((event) => Buffer.from(event.event === "answer" ? event.base64 : "", "base64"));
  const result = status === undefined ? null : judgeAnswer(status, Buffer.concat(pieces).toString("utf8"));
  if (result?.kind === "granted" || result?.kind === "rejected")
    return { prepared, state: { kind: "answered", result } };
  if (result?.kind === "refused") return { prepared, state: { kind: "prepared" } }; // Sent, and unspent all the same.
  return { prepared, state: { kind: find("unanswered")?.event ?? "dispatched", atMs: dispatched.atMs } };
}

function dispatchedAtMs({ state }: Ticket): number | null {
  return state.kind === "dispatched" || state.kind === "unanswered" ? state.atMs : null;
}

/** The fields that an event must have, and of what type. */
const FIELDS: Readonly<Record<TicketEvent["event"], Readonly<Record<string, "number" | "string" | "object">>>> = {
  prepared: { atMs: "number", holder: "object", presented: "object" },
  dispatched: { atMs: "number" },
  answer: { httpStatus: "number", base64: "string" },
  unanswered: { atMs: "number" },
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
  return event.event !== "prepared" || Array.isArray(event.presented.accountIds);
}
