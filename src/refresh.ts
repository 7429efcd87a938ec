import { type Credential, newestStampMs, type Reading, type TokenName } from "./core/credential.js";
import { decide } from "./core/decide.js";
import { describeFault, type Fault } from "./core/fault.js";
import { fingerprint } from "./core/fingerprint.js";
import { type FinalResult, type Granted, judgeAnswer, parseRetryAfterMs, type Rejection } from "./core/grant.js";
import { type CycleOutcome, outcomeWithoutLogin } from "./core/outcome.js";
import { isSameAccount, planCommit } from "./core/reconcile.js";
import type { Secret } from "./core/secret.js";
import { type Holder, isInFlight, type Presented, planAttempt, type Ticket, type TicketName } from "./core/ticket.js";
import type { CycleSettings } from "./cycle.js";
import type { EndpointReply, HeldLock, OpenTicket, RefreshPorts } from "./ports.js";
import { isAnswerWaiting, readSettled, SETTLE_MS, SETTLE_STEP_MS } from "./reading.js";

export interface RefreshRequest extends CycleSettings {
  /** The refresh token that the look saw: another one under the lock means that a sibling was faster. */
  readonly seenToken: Secret | null;
}

/** How often a waiting process looks again, milliseconds. */
const WAIT_STEP_MS = 100;

/** A ticket that is older than this when the connection stands was held up too long to be trusted, milliseconds. */
const MAX_PREPARED_MS = 30_000;

/** A server that says "reused" may have served a sibling that has not saved yet: wait this long, milliseconds. */
const SIBLING_SAVE_MS = 3_000;

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

  const entry = await enterLock(ports, request);
  if ("kind" in entry) return entry.kind === "blocked" && isAnswerWaiting(ports.tickets) ? unsaved(entry.fault) : entry;
  try {
    return await refreshUnderLock(ports, request, entry);
  } finally {
    await entry.release();
  }
}

function unsaved(fault: Fault): CycleOutcome {
  return { kind: "unsaved", problem: describeFault(fault) };
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
    if (decide(credential, clock.nowMs(), request.policy).kind === "fresh" && !isForced) {
      return { kind: "adopted", from: "sibling" };
    }

    const presented = present(credential);
    const own = listing.tickets.filter((ticket) => ticket.fingerprint === presented.fingerprint);
    const plan = planAttempt(own, clock.nowMs(), isForced);
    switch (plan.kind) {
      case "latched":
        return { kind: "login-required", rejection: plan.rejection, isLatched: true };
      case "exhausted":
        return { kind: "exhausted", untilMs: plan.untilMs };
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
          const own = {
            lock,
            credential,
            presented,
            name,
            ticket: creation.ticket,
            createdMs,
            isRepeat: plan.isRepeat,
          };
          return await spend(ports, { request, ...own, isRecovery: false });
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

/** Brings answers that lie in tickets to their end. Null when the cycle goes on as if there had been none. */
async function recover(ports: RefreshPorts, tickets: readonly Ticket[]): Promise<CycleOutcome | null> {
  for (const { state, prepared, fingerprint, attempt } of tickets) {
    if (state.kind !== "answered" || prepared === null) continue;
    const name = { fingerprint, attempt };
    const { presented } = prepared;
    const outcome = await settle(ports, state.result, { presented, name, isRecovery: true, isRepeat: false });
    if (outcome.kind !== "adopted") return outcome;
  }
  return null;
}

/** What was presented, under which ticket. */
interface Spent {
  readonly presented: Presented;
  readonly name: TicketName;
  /** Whether the answer was received by an earlier run. */
  readonly isRecovery: boolean;
  /** Whether an earlier request with this token got no answer. */
  readonly isRepeat: boolean;
}

/** A ticket of ours, and what it takes to use it. */
interface Attempt extends Spent {
  readonly request: RefreshRequest;
  readonly lock: HeldLock;
  readonly credential: Credential;
  readonly ticket: OpenTicket;
  /** Not later than the time by which others judge the ticket's age, milliseconds since 1970. */
  readonly createdMs: number;
}

/** Presents the token under a ticket of ours, and sees the answer home. */
async function spend(ports: RefreshPorts, attempt: Attempt): Promise<CycleOutcome> {
  const { presented, name, ticket } = attempt;
  const giveBack = async (outcome: CycleOutcome): Promise<CycleOutcome> => {
    if (ticket.isInPlace()) await ports.tickets.remove([name]);
    return outcome;
  };
  const leaveOpen = async (httpStatus: number | null, cause: string, retryAfterMs: number | null = null) => {
    const verdict = { event: "unanswered", atMs: ports.clock.nowMs(), cause } as const;
    // In place it needs no space: the way out when the disk is too full for the shorter text.
    if ((await ports.tickets.conclude(name, verdict)) !== null) await ticket.record(verdict);
    return transient(httpStatus, cause, true, retryAfterMs);
  };
  try {
    // A sibling may have rotated and cleared its tickets between our reading and our ticket.
    const reading = await readSettled(ports);
    if (!isStillPresented(reading, presented)) return await giveBack(adopt(reading, presented));

    const { reply, heldBackBy } = await dispatch(ports, attempt);
    if (reply.kind === "unsent") return await giveBack(transient(null, reply.cause, false, null));
    if (reply.kind === "held-back") return await giveBack(heldBackBy);
    if (reply.kind === "unanswered") return await leaveOpen(null, reply.cause);

    const { httpStatus } = reply;
    const retryAfterMs = parseRetryAfterMs(reply.retryAfter, ports.clock.nowMs());
    const result = judgeAnswer(httpStatus, reply.body);
    switch (result.kind) {
      case "granted":
      case "rejected":
        return await settle(ports, result, attempt);
      case "refused":
        return await giveBack(transient(httpStatus, result.cause, false, retryAfterMs));
      case "ambiguous":
        return await leaveOpen(httpStatus, reply.isComplete ? result.cause : "broken-off", retryAfterMs);
    }
  } finally {
    await ticket.close();
  }
}

/** Sends the request; the ticket becomes "dispatched" when the connection stands, just before the first byte. */
async function dispatch(
  ports: RefreshPorts,
  { ticket, lock, request, credential, createdMs }: Attempt,
): Promise<{ reply: EndpointReply; heldBackBy: CycleOutcome }> {
  let heldBackBy: CycleOutcome = { kind: "busy", holder: "another process" };
  ports.log.line(`refresh: starting (endpoint=${ports.endpoint.shownUrl})`);
  const reply = await ports.endpoint.present({
    refreshToken: credential.refreshToken,
    beforeFirstByte: async () => {
      if (request.stop.aborted) heldBackBy = { kind: "stopped" };
      const isLate = Math.abs(ports.clock.nowMs() - createdMs) > MAX_PREPARED_MS;
      if (request.stop.aborted || isLate || lock.isCompromised() || !ticket.isInPlace()) return false;
      const fault = await ticket.record({ event: "dispatched", atMs: ports.clock.nowMs() });
      if (fault !== null) heldBackBy = { kind: "blocked", fault };
      return fault === null;
    },
    onBody: async (httpStatus, chunk) => {
      const base64 = Buffer.from(chunk).toString("base64");
      const fault = await ticket.record({ event: "answer", httpStatus, base64 });
      // The answer is in memory as well: a journal that fails now must not cost the save.
      if (fault !== null) ports.log.line(`refresh: the answer is not journaled (${fault.code}); saving it at once`);
    },
  });
  return { reply, heldBackBy };
}

/** Saves a grant or latches a rejection. */
async function settle(ports: RefreshPorts, result: FinalResult, spent: Spent): Promise<CycleOutcome> {
  if (result.kind === "rejected") return await adoptOrLatch(ports, result.rejection, spent);
  return isSameAccount(result.accountIds, spent.presented.accountIds)
    ? await commit(ports, result, spent)
    : await latch(ports, spent, { cause: "other-account", httpStatus: 200 });
}

/** A rejection may be a lost race: only a token that is still the store's own is given up. */
async function adoptOrLatch(ports: RefreshPorts, rejection: Rejection, spent: Spent): Promise<CycleOutcome> {
  const { clock } = ports;
  const untilMs = clock.nowMs() + (rejection.cause === "reused" && !spent.isRecovery ? SIBLING_SAVE_MS : 0);
  for (;;) {
    const reading = await readSettled(ports);
    if (!isStillPresented(reading, spent.presented) && !("problem" in reading)) {
      await removeTickets(ports, spent.presented.fingerprint);
      return adopt(reading, spent.presented);
    }
    // Used already by a request of our own, whose answer was lost.
    const cause = rejection.cause === "reused" && spent.isRepeat ? "lost-response" : rejection.cause;
    if (clock.nowMs() >= untilMs) return await latch(ports, spent, { ...rejection, cause });
    await clock.sleep(WAIT_STEP_MS);
  }
}

/** The store holds something else than what was presented: that stands. */
function adopt(reading: Reading, presented: Presented): CycleOutcome {
  if (reading.kind !== "login") return outcomeWithoutLogin(reading);
  const isSibling = isSameAccount(reading.credential.accountIds, presented.accountIds);
  return { kind: "adopted", from: isSibling ? "sibling" : "newer-login" };
}

async function latch(ports: RefreshPorts, spent: Spent, rejection: Rejection): Promise<CycleOutcome> {
  const verdict = { event: "rejected", atMs: ports.clock.nowMs(), rejection } as const;
  const fault = await ports.tickets.conclude(spent.name, verdict);
  if (fault !== null) ports.log.line(`refresh: the rejection could not be remembered (${fault.code} at ${fault.path})`);
  return { kind: "login-required", rejection, isLatched: false };
}

/**
 * Puts the granted tokens in place. From the answer on nothing stops this: no signal, no lost lock. What
 * can't be saved stays in the ticket, for the next run of any process.
 */
async function commit(ports: RefreshPorts, granted: Granted, spent: Spent): Promise<CycleOutcome> {
  const { clock, store } = ports;
  const untilMs = clock.nowMs() + SETTLE_MS;
  for (;;) {
    const plan = await store.update((reading) => planCommit(reading, spent.presented, granted.tokens, clock.nowMs()));
    switch (plan.kind) {
      case "failed":
        return unsaved(plan.fault);
      case "write":
      case "done": {
        await removeTickets(ports, spent.presented.fingerprint);
        const rotated = Object.keys(granted.tokens) as TokenName[];
        return { kind: "refreshed", httpStatus: granted.httpStatus, rotated, isRecovery: spent.isRecovery };
      }
      case "yield":
        await removeTickets(ports, spent.presented.fingerprint);
        return { kind: "adopted", from: plan.to };
      case "unclear":
        if (clock.nowMs() >= untilMs) return { kind: "unsaved", problem: `${store.location} ${plan.problem}` };
        await clock.sleep(SETTLE_STEP_MS);
    }
  }
}

/** Takes away the tickets of a token that is settled, and what earlier tokens of this store left behind. */
async function removeTickets(ports: RefreshPorts, settled: string): Promise<void> {
  const listing = ports.tickets.list();
  if (listing.kind === "failed") return;
  const reading = ports.store.read();
  const current = reading.kind === "login" ? fingerprint(reading.credential.refreshToken) : null;
  const nowMs = ports.clock.nowMs();
  await ports.tickets.remove(
    listing.tickets.filter(
      (ticket) =>
        ticket.fingerprint === settled ||
        (ticket.fingerprint !== current && !isInFlight(ticket, nowMs) && ticket.state.kind !== "answered"),
    ),
  );
}

function isStillPresented(reading: Reading, presented: Presented): boolean {
  return reading.kind === "login" && fingerprint(reading.credential.refreshToken) === presented.fingerprint;
}

function present(credential: Credential): Presented {
  return {
    fingerprint: fingerprint(credential.refreshToken),
    accountIds: credential.accountIds,
    stampMs: newestStampMs(credential),
  };
}

function describeHolder(holder: Holder | null): string {
  return holder === null ? "another process" : `process ${holder.pid} on ${holder.host}`;
}

function transient(httpStatus: number | null, cause: string, wasSent: boolean, waitMs: number | null): CycleOutcome {
  return { kind: "transient", httpStatus, cause, wasSent, retryAfterMs: waitMs };
}
