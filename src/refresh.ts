import { addRefresh, brakedUntilMs, markOf, type RefreshHistory } from "./core/brake.js";
import { type Credential, type Reading, stampsOf } from "./core/credential.js";
import { decide } from "./core/decide.js";
import { fingerprint } from "./core/fingerprint.js";
import { judgeAnswer, parseRetryAfterMs, salvageGrant } from "./core/grant.js";
import { type CycleOutcome, outcomeWithoutLogin } from "./core/outcome.js";
import { planCommit } from "./core/reconcile.js";
import type { Secret } from "./core/secret.js";
import {
  describeHolder,
  isInFlight,
  MAX_PREPARED_MS,
  type Presented,
  planAttempt,
  RETRY_SOON_MS,
  restAfterDispatchMs,
  type TicketName,
} from "./core/ticket.js";
import type { CycleSettings } from "./cycle.js";
import type { EndpointReply, HeldLock, OpenTicket, RefreshPorts } from "./ports.js";
import { isAnswerWaiting, readSettled } from "./reading.js";
import { adopt, isStillPresented, recover, type Spent, settle, unsaved } from "./settle.js";

export interface RefreshRequest extends CycleSettings {
  /** The refresh token that the look saw: another one under the lock means that a sibling was faster. */
  readonly seenToken: Secret | null;
}

/** How often a waiting process looks again, milliseconds. */
const WAIT_STEP_MS = 100;

/**
 * Brings a due login up to date: steps 1 to 9 of the design.
 *
 * Two rules hold at every line, whatever the lock does. Only the process that created a token's ticket, and
 * found the token in the store *after* that, presents it. And a ticket goes away only when its token is no
 * longer in the store, or is known to be unspent.
 */
export async function refresh(ports: RefreshPorts, request: RefreshRequest): Promise<CycleOutcome> {
  const setting = await ports.store.readCredentialsStoreSetting();
  if (setting !== "file") return { kind: "other-store", setting };

  const untilMs = brakedAt(ports, request);
  if (untilMs !== null) return { kind: "braked", untilMs };

  const entry = await enterLock(ports, request);
  if ("kind" in entry) return entry.kind === "blocked" && isAnswerWaiting(ports.tickets) ? unsaved(entry.fault) : entry;
  try {
    return await refreshUnderLock(ports, request, entry);
  } finally {
    await entry.release();
  }
}

/** Until when the token that the look saw is held back; null when it is not. An answer that waits is never. */
function brakedAt({ clock, tickets }: RefreshPorts, request: RefreshRequest): number | null {
  if (request.seenToken === null || request.isForced || isAnswerWaiting(tickets)) return null;
  const tokenMark = markOf(fingerprint(request.seenToken));
  return brakedUntilMs(request.readHistory(), tokenMark, clock.nowMs(), request.minRefreshIntervalMs);
}

/** What the brake has to count after this outcome. */
export function historyAfter(
  { kind }: CycleOutcome,
  [before, after]: readonly [Reading, Reading],
  history: RefreshHistory | null,
  nowMs: number,
): RefreshHistory | null {
  if (kind !== "refreshed" || after.kind !== "login") return history;
  const tokenMark = before.kind === "login" ? markOf(fingerprint(before.credential.refreshToken)) : "";
  return addRefresh(history, tokenMark, markOf(fingerprint(after.credential.refreshToken)), nowMs);
}

/** Waits for the lock, and leaves early when a sibling has done the work meanwhile. */
async function enterLock(ports: RefreshPorts, request: RefreshRequest): Promise<HeldLock | CycleOutcome> {
  const { clock, lock } = ports;
  const deadlineMs = clock.nowMs() + request.lockWaitMs;
  for (;;) {
    const attempt = await lock.tryAcquire();
    if (attempt.kind === "held") return attempt.lock;
    if (attempt.kind === "failed") return { kind: "blocked", fault: attempt.fault };
    if (request.stop.aborted) return { kind: "stopped" };
    if (clock.nowMs() >= deadlineMs) return { kind: "busy", holder: attempt.holder };
    await clock.sleep(WAIT_STEP_MS, request.stop);
    if (isRotatedBySibling(ports, request)) return { kind: "adopted", from: "sibling" };
  }
}

function isRotatedBySibling(ports: RefreshPorts, request: RefreshRequest): boolean {
  const reading = ports.store.read();
  if (reading.kind !== "login" || request.seenToken === null) return false;
  if (reading.credential.refreshToken.equals(request.seenToken)) return false;
  return decide(reading.credential, ports.clock.nowMs(), request.policy).kind === "fresh";
}

async function refreshUnderLock(ports: RefreshPorts, request: RefreshRequest, lock: HeldLock): Promise<CycleOutcome> {
  const { clock, store } = ports;
  const deadlineMs = clock.nowMs() + request.lockWaitMs;
  for (;;) {
    const listing = ports.tickets.list();
    if (listing.kind === "failed") return { kind: "blocked", fault: listing.fault };
    const recovered = await recover(ports, listing.tickets);
    if (recovered !== null) return recovered;

    const reading = await readSettled(ports);
    if (reading.kind !== "login") return outcomeWithoutLogin(reading);
    const { credential } = reading;
    const isSeen = request.seenToken?.equals(credential.refreshToken) ?? false;
    const isForced = request.isForced && isSeen;
    // Another token than the look's is somebody's new one. Is it due as well, the next look has the brake to ask.
    const isReplaced = request.seenToken !== null && !isSeen;
    const isDue = isForced || decide(credential, clock.nowMs(), request.policy).kind === "due";
    if (isReplaced || !isDue) return { kind: "adopted", from: "sibling" };

    const presented = present(credential);
    const own = listing.tickets.filter((ticket) => ticket.fingerprint === presented.fingerprint);
    const plan = planAttempt(own, clock.nowMs(), isForced);
    switch (plan.kind) {
      case "latched":
        return { kind: "login-required", rejection: plan.rejection, isLatched: true };
      case "resting":
        if (plan.untilMs - clock.nowMs() > RETRY_SOON_MS) return plan;
        break;
      case "go": {
        if (request.stop.aborted) return { kind: "stopped" };
        const fault = store.preflight();
        if (fault !== null) return { kind: "blocked", fault };
        // The rewrite that follows the request is tried before the token is spent.
        const rehearsal = planCommit(reading, presented, {}, clock.nowMs());
        if (rehearsal.kind === "unclear") return { kind: "unreadable", problem: rehearsal.problem };
        const createdMs = clock.nowMs();
        const creation = await ports.tickets.create(presented, plan.attempt);
        if (creation.kind === "failed") return { kind: "blocked", fault: creation.fault };
        if (creation.kind === "created") {
          const name = { fingerprint: presented.fingerprint, attempt: plan.attempt };
          const { dispatchCount } = plan;
          const own = { lock, credential, presented, name, ticket: creation.ticket, createdMs, dispatchCount };
          const outcome = await spend(ports, { request, ...own });
          const isRetried = outcome.kind === "transient" && outcome.wasSent && outcome.retryAfterMs === RETRY_SOON_MS;
          if (!isRetried || request.stop.aborted) return outcome;
          ports.log.write(
            "warn",
            "refresh_retried",
            `refresh: the connection broke (${outcome.cause}); once more on a new one`,
          );
          await clock.sleep(RETRY_SOON_MS, request.stop);
          continue;
        }
        break; // Another process has just created it: see what it makes of it.
      }
      case "in-flight":
        break;
    }
    if (request.stop.aborted) return { kind: "stopped" };
    if (clock.nowMs() >= deadlineMs) {
      return { kind: "busy", holder: describeHolder(plan.kind === "in-flight" ? plan.holder : null) };
    }
    await clock.sleep(WAIT_STEP_MS, request.stop);
  }
}

/** A ticket of ours, and what it takes to use it. */
interface Attempt extends Pick<Spent, "presented" | "name"> {
  readonly request: RefreshRequest;
  readonly lock: HeldLock;
  readonly credential: Credential;
  readonly ticket: OpenTicket;
  /** Not later than the time by which others judge the ticket's age, milliseconds since 1970. */
  readonly createdMs: number;
  /** Earlier requests with this token that got no answer. */
  readonly dispatchCount: number;
}

/** Presents the token under a ticket of ours, and sees the answer home. */
async function spend(ports: RefreshPorts, attempt: Attempt): Promise<CycleOutcome> {
  const { presented, name, ticket, dispatchCount } = attempt;
  const journal = openJournal(ports, ticket);
  const giveBack = async (outcome: CycleOutcome): Promise<CycleOutcome> => {
    if (ticket.isInPlace()) await ports.tickets.remove([name]);
    return outcome;
  };
  const leaveOpen = async (httpStatus: number | null, cause: string, retryAfterMs: number | null = null) => {
    const verdict = { event: "unanswered", atMs: ports.clock.nowMs(), cause } as const;
    // In place it needs no space: the way out when the disk is too full for the shorter text.
    if ((await ports.tickets.conclude(name, verdict)) !== null) await ticket.record(verdict);
    const restMs = restAfterDispatchMs(dispatchCount + 1, cause);
    return transient(httpStatus, cause, true, Math.max(restMs, retryAfterMs ?? 0));
  };
  try {
    // A sibling may have rotated and cleared its tickets between our reading and our ticket.
    const reading = await readSettled(ports);
    if (!isStillPresented(reading, presented)) return await giveBack(adopt(reading, presented));

    const { reply, heldBackBy } = await dispatch(ports, attempt, journal);
    if (reply.kind === "unsent") return await giveBack(transient(null, reply.cause, false, null));
    if (reply.kind === "held-back") return await giveBack(heldBackBy);
    if (reply.kind === "unanswered") return await leaveOpen(null, reply.cause);

    const { httpStatus } = reply;
    const retryAfterMs = parseRetryAfterMs(reply.retryAfter, ports.clock.nowMs());
    const judged = judgeAnswer(httpStatus, reply.body);
    const result = (judged.kind === "ambiguous" ? salvageGrant(httpStatus, reply.body) : null) ?? judged;
    const spent = { presented, name, isRecovery: false, isRepeat: dispatchCount > 0, isJournaled: journal.isComplete };
    switch (result.kind) {
      case "granted":
      case "rejected":
        return await settle(ports, result, spent);
      case "refused":
        return await giveBack(transient(httpStatus, result.cause, false, retryAfterMs));
      case "ambiguous":
        return await leaveOpen(httpStatus, reply.isComplete ? result.cause : "broken-off", retryAfterMs);
    }
  } finally {
    await ticket.close();
  }
}

/** The answer's way into the ticket. What could not be written waits, in order, for the next try. */
interface Journal {
  add(httpStatus: number, piece: Uint8Array): Promise<void>;
  /** Tries again what is missing; true when the ticket holds all that has arrived. */
  isComplete(): Promise<boolean>;
}

function openJournal(ports: RefreshPorts, ticket: OpenTicket): Journal {
  let httpStatus = 0;
  let missing: Uint8Array[] = [];
  const isComplete = async (): Promise<boolean> => {
    if (missing.length === 0) return true;
    const base64 = Buffer.concat(missing).toString("base64");
    const fault = await ticket.record({ event: "answer", httpStatus, base64 });
    if (fault === null) missing = [];
    // The answer is in memory as well: a journal that fails now must not cost the save.
    else
      ports.log.write(
        "warn",
        "not_journaled",
        `refresh: the answer is not journaled (${fault.code}); saving it at once`,
      );
    return fault === null;
  };
  return {
    isComplete,
    add: async (status, piece) => {
      httpStatus = status;
      missing.push(piece);
      await isComplete();
    },
  };
}

/** Sends the request; the ticket becomes "dispatched" when the connection stands, just before the first byte. */
async function dispatch(
  ports: RefreshPorts,
  { ticket, name, lock, request, credential, presented, createdMs }: Attempt,
  journal: Journal,
): Promise<{ reply: EndpointReply; heldBackBy: CycleOutcome }> {
  let heldBackBy: CycleOutcome = { kind: "busy", holder: "another process" };
  const isLate = (): boolean => Math.abs(ports.clock.nowMs() - createdMs) > MAX_PREPARED_MS;
  ports.log.write("info", "refresh_starting", `refresh: starting (endpoint=${ports.endpoint.shownUrl})`);
  const reply = await ports.endpoint.present({
    refreshToken: credential.refreshToken,
    beforeFirstByte: async () => {
      if (request.stop.aborted) heldBackBy = { kind: "stopped" };
      if (request.stop.aborted || isLate() || lock.isCompromised() || !ticket.isInPlace()) return false;
      const fault = await ticket.record({ event: "dispatched", atMs: ports.clock.nowMs() });
      if (fault !== null) {
        heldBackBy = { kind: "blocked", fault };
        return false;
      }
      // Once more, because that took its time: from here to the first byte nothing is waited for.
      const reading = ports.store.read();
      const isOurs = isStillPresented(reading, presented);
      if (!isOurs) heldBackBy = adopt(reading, presented);
      return isOurs && !isLate() && ticket.isInPlace() && !isContested(ports, name);
    },
    onBody: journal.add,
  });
  return { reply, heldBackBy };
}

/**
 * Whether another process may be about to present the same token: one that took our ticket for dead has made the next
 * one, and one whose ticket we took for dead may have gone on.
 *
 * Asked when our own ticket says "dispatched". Each of two writes its own ticket before it looks at the other's, so
 * one of them sees the other, however far their clocks are apart; both may give way.
 */
function isContested({ tickets, clock }: RefreshPorts, { fingerprint, attempt }: TicketName): boolean {
  const listing = tickets.list();
  if (listing.kind === "failed") return true;
  return listing.tickets.some(
    (other) =>
      other.fingerprint === fingerprint &&
      (other.attempt > attempt || (other.attempt < attempt && isInFlight(other, clock.nowMs()))),
  );
}

function present(credential: Credential): Presented {
  return {
    fingerprint: fingerprint(credential.refreshToken),
    accountIds: credential.accountIds,
    stamps: stampsOf(credential),
  };
}

function transient(httpStatus: number | null, cause: string, wasSent: boolean, waitMs: number | null): CycleOutcome {
  return { kind: "transient", httpStatus, cause, wasSent, retryAfterMs: waitMs };
}
