import type { Reading } from "./core/credential.js";
import type { Fault } from "./core/fault.js";
import type { CommitPlan } from "./core/reconcile.js";
import type { Opened, SealedPlace } from "./core/seal.js";
import type { Secret } from "./core/secret.js";
import type { LastStatus, Status } from "./core/status.js";
import type { Presented, Rewrite, Ticket, TicketEvent, TicketName } from "./core/ticket.js";

/** Wall clock and waiting. A test's clock is a number that it sets. */
export interface Clock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /**
   * Waits by the wall clock, so that a suspended machine does not add its sleep to the wait.
   * Ends early, without an error, when `wake` is aborted.
   */
  sleep(durationMs: number, wake?: AbortSignal): Promise<void>;
}

/** What a store on this machine has at once, and one behind a network later. */
export type Soon<T> = T | Promise<T>;

/** The machine refused. */
export type Failed = { readonly kind: "failed"; readonly fault: Fault };

/** Where the credential lives: `auth.json`, or a row of a database. */
export interface CredentialStore {
  /** What people call this place: the path of the file, or the database and the row. */
  readonly location: string;
  /** Reads and parses; never throws for what lies there. */
  read(): Soon<Reading>;
  /** Differs from an earlier answer when the content may have changed since. Cheap; reads no content. */
  changeMark(): string;
  /** The value of `cli_auth_credentials_store` in Codex's own config, or `file` when it is not set. */
  readCredentialsStoreSetting(): Promise<string>;
  /** Null when a commit can be expected to work, else what stands in its way. Changes nothing. */
  preflight(): Soon<Fault | null>;
  /**
   * Reads the newest text, asks `decide` what to do, and for a `write` puts that text in place whole and
   * durably. As little time as possible passes between the read and the write, and what another program writes
   * in that time is put before `decide` again.
   *
   * @param keepRedo called before a write that can be torn; when it reports a fault nothing is written
   * @returns the plan as carried out; `failed` means that the store still holds what it held before, or that the
   *   redo is needed
   */
  update(
    decide: (reading: Reading) => CommitPlan,
    keepRedo: (rewrite: Rewrite) => Promise<Fault | null>,
  ): Promise<CommitPlan | Failed>;
  /** Makes what another program has written survive a power cut. */
  sync(): Promise<Fault | null>;
  /** Completes a write that was torn; does nothing when the store holds anything else than a mix of the two texts. */
  redo(rewrite: Rewrite): Promise<Fault | null>;
}

/** A store that answers at once. */
export interface LocalStore extends CredentialStore {
  read(): Reading;
}

/** Makes waiting orderly. Safety rests on the tickets, not on this: a lock can have two holders. */
export interface Lock {
  tryAcquire(): Promise<LockAttempt>;
}

export type LockAttempt =
  | { readonly kind: "held"; readonly lock: HeldLock }
  /** `holder` is for people: process, host, since when. */
  | { readonly kind: "taken"; readonly holder: string }
  | Failed;

export interface HeldLock {
  /** Whether somebody took the lock over while we held it. */
  isCompromised(): boolean;
  release(): Promise<void>;
}

/** The tickets of one credential store: see `core/ticket.ts`. */
export interface TicketBook {
  list(): Soon<TicketListing>;
  /** Creates ticket number `attempt` for a token, unless it exists. Exclusive among all processes. */
  create(presented: Presented, attempt: number): Promise<TicketCreation>;
  /** Takes tickets away once their token is no longer in the store. Failures are left for the next run. */
  remove(tickets: readonly TicketName[]): Promise<void>;
  /** Adds an event to a ticket that another run has left; durable when it resolves with null. */
  append(ticket: TicketName, event: TicketEvent): Promise<Fault | null>;
  /** Gives the space back that a ticket has reserved: the answer is in it, and the store needs room. */
  trim(ticket: TicketName): Promise<void>;
  /** Keeps a ticket's answer where no run acts on it, until a refresh succeeds. */
  setAside(ticket: TicketName): Promise<void>;
  /** After a success: takes away what was set aside, and what dead processes have left half written. */
  sweep(): Promise<void>;
  /**
   * Ends a ticket with its verdict: the latch, or an attempt that nobody knows the end of. The answer's body
   * goes away: nobody knows what a server puts into an error, or into half of an answer.
   */
  conclude(ticket: TicketName, verdict: TicketEvent): Promise<Fault | null>;
}

/** A book that answers at once. */
export interface LocalTicketBook extends TicketBook {
  list(): TicketListing;
}

export type TicketListing =
  | {
      readonly kind: "tickets";
      readonly tickets: readonly Ticket[];
      /** What was set aside, by names that people can look for. */
      readonly setAside: readonly string[];
    }
  | Failed;

export type TicketCreation =
  | { readonly kind: "created"; readonly ticket: OpenTicket }
  | { readonly kind: "exists" }
  | Failed;

/** A ticket of ours, open for writing. */
export interface OpenTicket {
  /** Whether the file that we created is still the one that stands under the ticket's name. */
  isInPlace(): boolean;
  /** Adds an event; durable when it resolves with null. */
  record(event: TicketEvent): Promise<Fault | null>;
  close(): Promise<void>;
}

export interface TokenRequest {
  readonly refreshToken: Secret;
  /**
   * Called when the connection stands and nothing has been sent. Only when it answers true does the first
   * byte leave.
   */
  readonly beforeFirstByte: () => Promise<boolean>;
  /** Called with each piece of the answer as it arrives, one after the other; once for an empty answer. */
  readonly onBody: (httpStatus: number, chunk: Uint8Array) => Promise<void>;
}

export type EndpointReply =
  | {
      readonly kind: "answered";
      readonly httpStatus: number;
      readonly retryAfter: string | null;
      readonly body: string;
      /** False when the connection broke before the end. */
      readonly isComplete: boolean;
    }
  /** No byte of the request left this machine. `cause` is a short code such as ECONNREFUSED. */
  | { readonly kind: "unsent"; readonly cause: string }
  /** `beforeFirstByte` said no. */
  | { readonly kind: "held-back" }
  /** The request left, whole or in part, and no answer came. */
  | { readonly kind: "unanswered"; readonly cause: string };

/** The door to the authorization server (RFC 6749 §3.2). */
export interface TokenEndpoint {
  /** The URL for people: without query or credentials. */
  readonly shownUrl: string;
  /** Presents the refresh token once. No retry, no redirect; expected failures are values. */
  present(request: TokenRequest): Promise<EndpointReply>;
}

/** Codex itself, which refreshes the login in its home when it is asked. */
export interface Delegate {
  /** For people, such as `codex app-server`. */
  readonly shownName: string;
  /** Null when Codex can be expected to save what it gets, else what stands in its way. Changes nothing. */
  preflight(): Fault | null;
  /** Starts Codex, asks it once, and ends it; expected failures are values. The store shows what it has done. */
  refresh(): Promise<DelegateReply>;
}

/** Short causes such as `codex-missing` are explained in `core/outcome.ts`. */
export type DelegateReply =
  /** Codex was not asked. */
  | { readonly kind: "unasked"; readonly cause: string }
  /** Codex says that it can use this login no more. */
  | { readonly kind: "refused" }
  /** Codex was asked. `cause` says why, when the store is the same as before. */
  | { readonly kind: "asked"; readonly cause: string };

/** Where the last outcome is told to other programs: `auth_refresh_status.json`. */
export interface StatusSink {
  /** What was told last; null when there is no status that can be read. */
  read(): LastStatus | null;
  /** @returns null, or what stood in the way; a failing status never fails a refresh */
  write(status: Status): Fault | null;
}

/** How much a line matters, the most first. */
export type LogLevel = "error" | "warn" | "info" | "debug";

/** One line for one event. Lines never hold a token. */
export interface Log {
  /** @param event a stable code for programs, such as `refresh_starting`; `message` is for people */
  write(level: LogLevel, event: string, message: string): void;
}

/** What a cycle needs before it knows whether anything is due. */
export interface LookPorts {
  readonly clock: Clock;
  readonly store: CredentialStore;
  readonly tickets: Pick<TicketBook, "list">;
  /** Whether somebody holds the lock of this login on this machine, as far as one glance tells. */
  isLocked(): boolean;
  /** Whether whoever holds it may still be at work. */
  isHolderAlive(): Soon<boolean>;
  readonly log: Log;
}

/** What a refresh needs beside that. */
export interface RefreshPorts extends LookPorts {
  readonly tickets: TicketBook;
  readonly lock: Lock;
  readonly endpoint: TokenEndpoint;
  /** Presents the token in place of `endpoint`; null when that is not wanted. */
  readonly delegate: Delegate | null;
  /** Whether a Codex runs on this login, as far as this process can see. */
  readonly isCodexRunning: () => boolean;
}

/** Seals what a store shall not be able to read. */
export interface Sealer {
  seal(text: Secret, place: SealedPlace): Promise<string>;
  /** Never throws for what it is given. */
  open(sealed: string, place: SealedPlace): Promise<Opened>;
}

/** Where a follower gets its copy from. */
export interface FollowSource {
  /** For people: without a password. */
  readonly location: string;
  /** Expected failures are values. */
  fetch(): Promise<Fetched>;
  /** Calls back when there may be something new, as far as the source tells; the result ends it. */
  watch(onNews: () => void): () => void;
  close(): Promise<void>;
}

export type Fetched =
  | {
      readonly kind: "fetched";
      /** The text of an auth.json. */
      readonly text: Secret;
      /** The source's number for it, which only rises; null where it has none. */
      readonly version: number | null;
      /** When somebody was seen that refreshes the login, by this machine's clock, milliseconds since 1970; null when unknown. */
      readonly ownerSeenAtMs: number | null;
      /** Null where the source does not tell. */
      readonly isOwnerAlive: boolean | null;
    }
  /** `problem` follows the location and says what to do; `isFinal` when waiting does not mend it. */
  | { readonly kind: "unavailable"; readonly problem: string; readonly isFinal: boolean };
