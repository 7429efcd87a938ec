import { type Credential, stampsOf } from "./core/credential.js";
import { fingerprint } from "./core/fingerprint.js";
import type { CycleOutcome } from "./core/outcome.js";
import { isInFlight, MAX_PREPARED_MS, type Presented, restAfterDispatchMs, type TicketName } from "./core/ticket.js";
import type { HeldLock, OpenTicket, RefreshPorts } from "./ports.js";
import { adopt, isStillPresented, type Spent } from "./settle.js";

/** A ticket of ours, and what it takes to use it. */
export interface Attempt extends Pick<Spent, "presented" | "name"> {
  /** Aborted when the process was told to end. */
  readonly stop: AbortSignal;
  readonly lock: HeldLock;
  readonly credential: Credential;
  readonly ticket: OpenTicket;
  /** Not later than the time by which others judge the ticket's age, milliseconds since 1970. */
  readonly createdMs: number;
  /** Earlier requests with this token that got no answer. */
  readonly dispatchCount: number;
}

/** What a ticket must say of the credential whose token it is for. */
export function present(credential: Credential): Presented {
  return {
    fingerprint: fingerprint(credential.refreshToken),
    accountIds: credential.accountIds,
    stamps: stampsOf(credential),
  };
}

/**
 * Writes "dispatched" into the ticket, and looks once more whether the token is still ours to present.
 *
 * Called just before it leaves: between this and the first byte nothing is waited for.
 *
 * @returns null when it may leave, else what holds it back
 */
export async function clearToSend(ports: RefreshPorts, attempt: Attempt): Promise<CycleOutcome | null> {
  const { ticket, name, lock, stop, presented, createdMs } = attempt;
  const busy: CycleOutcome = { kind: "busy", holder: "another process" };
  const isLate = (): boolean => Math.abs(ports.clock.nowMs() - createdMs) > MAX_PREPARED_MS;
  if (stop.aborted) return { kind: "stopped" };
  if (isLate() || lock.isCompromised() || !ticket.isInPlace()) return busy;
  const fault = await ticket.record({ event: "dispatched", atMs: ports.clock.nowMs() });
  if (fault !== null) return { kind: "blocked", fault };
  // Once more, because that took its time.
  const reading = await ports.store.read();
  if (!isStillPresented(reading, presented)) return adopt(reading, presented);
  return isLate() || !ticket.isInPlace() || (await isContested(ports, name)) ? busy : null;
}

/**
 * Whether another process may be about to present the same token: one that took our ticket for dead has made the next
 * one, and one whose ticket we took for dead may have gone on.
 *
 * Asked when our own ticket says "dispatched". Each of two writes its own ticket before it looks at the other's, so
 * one of them sees the other, however far their clocks are apart; both may give way.
 */
async function isContested({ tickets, clock }: RefreshPorts, { fingerprint, attempt }: TicketName): Promise<boolean> {
  const listing = await tickets.list();
  if (listing.kind === "failed") return true;
  return listing.tickets.some(
    (other) =>
      other.fingerprint === fingerprint &&
      (other.attempt > attempt || (other.attempt < attempt && isInFlight(other, clock.nowMs()))),
  );
}

/** The token is unspent: takes the ticket away again. */
export async function giveBack(ports: RefreshPorts, attempt: Attempt, outcome: CycleOutcome): Promise<CycleOutcome> {
  if (attempt.ticket.isInPlace()) await ports.tickets.remove([attempt.name]);
  return outcome;
}

/** Nobody can know whether the token was spent: the ticket stays, and says when the next try is. */
export async function leaveOpen(
  ports: RefreshPorts,
  { name, ticket, dispatchCount }: Attempt,
  { httpStatus, cause, retryAfterMs }: { httpStatus: number | null; cause: string; retryAfterMs: number | null },
): Promise<CycleOutcome> {
  const verdict = { event: "unanswered", atMs: ports.clock.nowMs(), cause } as const;
  // In place it needs no space: the way out when the disk is too full for the shorter text.
  if ((await ports.tickets.conclude(name, verdict)) !== null) await ticket.record(verdict);
  const restMs = restAfterDispatchMs(dispatchCount + 1, cause);
  return { kind: "transient", httpStatus, cause, wasSent: true, retryAfterMs: Math.max(restMs, retryAfterMs ?? 0) };
}

/** Nothing of the token has left. */
export function unsent(
  cause: string,
  httpStatus: number | null = null,
  retryAfterMs: number | null = null,
): CycleOutcome {
  return { kind: "transient", httpStatus, cause, wasSent: false, retryAfterMs };
}
