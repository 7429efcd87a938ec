import { type GrantResult, judgeAnswer, REJECTION_CAUSES, type Rejection } from "./grant.js";

/**
 * A ticket is the right to present one refresh token once, and the journal of what came of it.
 *
 * It is a list of events, one JSON object a line, only ever added to. Blank lines are padding: they reserve
 * the space on the disk before the token is spent. A torn last line is an event that did not happen.
 */
export type TicketEvent =
  | {
      readonly event: "prepared";
      readonly atMs: number;
      readonly holder: Holder;
      readonly presented: Presented;
    }
  /** Written and synced before the first byte of the request leaves. */
  | { readonly event: "dispatched"; readonly atMs: number }
  | { readonly event: "head"; readonly httpStatus: number; readonly retryAfter: string | null }
  | { readonly event: "body"; readonly base64: string }
  /** The attempt is over and nobody can know whether the token was spent. */
  | { readonly event: "unanswered"; readonly atMs: number; readonly why: string }
  /** The latch: the server refused this token for good. Takes the place of everything before it. */
  | { readonly event: "rejected"; readonly atMs: number; readonly rejection: Rejection };

/** The process that a ticket belongs to. */
export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Tells whether the process still lives; null where the machine does not offer it. */
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
  | { readonly kind: "prepared" }
  | { readonly kind: "dispatched"; readonly atMs: number }
  | { readonly kind: "unanswered"; readonly atMs: number }
  | { readonly kind: "answered"; readonly result: GrantResult; readonly retryAfter: string | null }
  | { readonly kind: "rejected"; readonly rejection: Rejection }
  /** The first line is missing or torn: its writer died before it could present anything. */
  | { readonly kind: "blank" };

export interface Ticket {
  readonly fingerprint: string;
  /** 1, 2, 3 …: the second attempt with a token needs a ticket of its own. */
  readonly attempt: number;
  readonly createdAtMs: number;
  readonly state: TicketState;
  readonly holder: Holder | null;
  readonly life: HolderLife;
  readonly presented: Presented | null;
}

/** How long a request may take in all, milliseconds. The script gave up after 30 s, and lost the login. */
export const REQUEST_DEADLINE_MS = 60_000;

/** A dispatched ticket of an unknown holder counts as in flight for this long, milliseconds. */
const IN_FLIGHT_MS = REQUEST_DEADLINE_MS + 30_000;

/** How often one token may be dispatched within {@link DISPATCH_WINDOW_MS} when no answer arrives. */
const MAX_DISPATCHES = 3;
const DISPATCH_WINDOW_MS = 86_400_000;

export type AttemptPlan =
  /** Create ticket number `attempt`. */
  | { readonly kind: "go"; readonly attempt: number }
  | { readonly kind: "in-flight"; readonly holder: Holder | null }
  | { readonly kind: "latched"; readonly rejection: Rejection }
  | { readonly kind: "exhausted"; readonly untilMs: number };

/**
 * Says what may be done with a refresh token, given every ticket that exists for it.
 *
 * A dead ticket is never deleted to make way, and never reused: the next attempt takes the next number.
 * Deleting would let two processes that both found it dead both go on; creating a number is exclusive.
 *
 * @param tickets all tickets of one fingerprint, in any order, none of them finishable
 * @param isForced lets a person ask again after a rejection without a known code, which may have come from a
 *   proxy and not from the server. A named rejection is the server's word on this very token, and stands.
 */
export function planAttempt(tickets: readonly Ticket[], nowMs: number, isForced: boolean): AttemptPlan {
  const running = tickets.find((ticket) => isInFlight(ticket, nowMs));
  if (running !== undefined) return { kind: "in-flight", holder: running.holder };
  const rejections = tickets.flatMap(({ state }) => (state.kind === "rejected" ? [state.rejection] : []));
  const binding = rejections.find(({ cause }) => !(isForced && cause === "unnamed"));
  if (binding !== undefined) return { kind: "latched", rejection: binding };

  const dispatches = tickets.map(dispatchedAtMs).filter((atMs) => atMs !== null);
  const recent = dispatches.filter((atMs) => Math.abs(nowMs - atMs) < DISPATCH_WINDOW_MS);
  if (recent.length >= MAX_DISPATCHES) {
    return { kind: "exhausted", untilMs: Math.min(...recent) + DISPATCH_WINDOW_MS };
  }
  return { kind: "go", attempt: Math.max(0, ...tickets.map((ticket) => ticket.attempt)) + 1 };
}

/** Whether the ticket holds an answer that some process received and did not bring to its end. */
export function isFinishable(ticket: Ticket): boolean {
  const { state } = ticket;
  return state.kind === "answered" && (state.result.kind === "granted" || state.result.kind === "rejected");
}

/** Whether the ticket's process may still be at work with the token. */
export function isInFlight(ticket: Ticket, nowMs: number): boolean {
  const { state, life } = ticket;
  if (state.kind === "unanswered" || state.kind === "rejected") return false;
  // An answer that lies here whole can be saved by anybody: saving it twice leaves the same file.
  if (isFinishable(ticket)) return false;
  if (life === "gone" || life === "self") return false;
  if (life === "alive") return true;
  return Math.abs(nowMs - (dispatchedAtMs(ticket) ?? ticket.createdAtMs)) < IN_FLIGHT_MS;
}

/** One event as the line that goes into the ticket. */
export function encodeEvent(event: TicketEvent): string {
  return `${JSON.stringify(event)}\n`;
}

/** What the text of a ticket says. Never throws: what is no event is passed over. */
export function readTicketText(
  text: string,
): Pick<Ticket, "state" | "holder" | "presented"> & { readonly preparedAtMs: number | null } {
  const events = text.split("\n").flatMap(parseEvent);
  const first = events.find((event) => event.event === "prepared");
  const named = {
    holder: first?.holder ?? null,
    presented: first?.presented ?? null,
    preparedAtMs: first?.atMs ?? null,
  };
  const rejected = events.find((event) => event.event === "rejected");
  if (rejected !== undefined) return { ...named, state: { kind: "rejected", rejection: rejected.rejection } };
  if (first === undefined) return { ...named, state: { kind: "blank" } };

  const dispatched = events.find((event) => event.event === "dispatched");
  if (dispatched === undefined) return { ...named, state: { kind: "prepared" } };
  const head = events.find((event) => event.event === "head");
  if (head !== undefined) {
    const body = Buffer.concat(
      events.flatMap((event) => (event.event === "body" ? [Buffer.from(event.base64, "base64")] : [])),
    ).toString("utf8");
    const result = judgeAnswer(head.httpStatus, body);
    if (result.kind !== "ambiguous") {
      return { ...named, state: { kind: "answered", result, retryAfter: head.retryAfter } };
    }
  }
  const over = events.find((event) => event.event === "unanswered");
  return {
    ...named,
    state:
      over === undefined
        ? { kind: "dispatched", atMs: dispatched.atMs }
        : { kind: "unanswered", atMs: dispatched.atMs },
  };
}

function dispatchedAtMs(ticket: Ticket): number | null {
  const { state } = ticket;
  return state.kind === "dispatched" || state.kind === "unanswered" ? state.atMs : null;
}

function parseEvent(line: string): TicketEvent[] {
  if (line.trim() === "") return [];
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return [];
  }
  return isEvent(value) ? [value] : [];
}

function isEvent(value: unknown): value is TicketEvent {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  switch (fields["event"]) {
    case "prepared":
      return (
        typeof fields["atMs"] === "number" &&
        isRecord(fields["holder"]) &&
        isRecord(fields["presented"]) &&
        isFingerprinted(fields["presented"])
      );
    case "dispatched":
    case "unanswered":
      return typeof fields["atMs"] === "number";
    case "head":
      return typeof fields["httpStatus"] === "number";
    case "body":
      return typeof fields["base64"] === "string";
    case "rejected": {
      const rejection = fields["rejection"];
      return isRecord(rejection) && REJECTION_CAUSES.some((cause) => cause === rejection["cause"]);
    }
    default:
      return false;
  }
}

function isFingerprinted(presented: Record<string, unknown>): boolean {
  return typeof presented["fingerprint"] === "string" && Array.isArray(presented["accountIds"]);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
