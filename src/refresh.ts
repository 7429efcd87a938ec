import { type Credential, newestStampMs } from "./core/credential.js";
import { decide } from "./core/decide.js";
import type { Fault } from "./core/fault.js";
import { fingerprint } from "./core/fingerprint.js";
import { type GrantResult, judgeAnswer, parseRetryAfterMs, type Rejection } from "./core/grant.js";
import { mergeTokens } from "./core/merge.js";
import type { CycleOutcome } from "./core/outcome.js";
import { type CommitPlan, isSameAccount, planCommit } from "./core/reconcile.js";
import type { Secret } from "./core/secret.js";
import { type Holder, isFinishable, isInFlight, type Presented, planAttempt, type Ticket } from "./core/ticket.js";
import type { CycleSettings } from "./cycle.js";
import type { EndpointReply, HeldLock, OpenTicket, RefreshPorts } from "./ports.js";
import { describeUnclear, outcomeWithoutLogin, readSettled, SETTLE_MS, SETTLE_STEP_MS, understand } from "./reading.js";

export interface RefreshRequest {
  readonly settings: CycleSettings;
  readonly stop: AbortSignal;
  /** The refresh token that the look saw: another one under the lock means that a sibling was faster. */
  readonly seenToken: Secret | null;
}

/** How often a waiting process looks again, milliseconds. */
const WAIT_STEP_MS = 100;

/** A ticket that is older than this when the connection stands was held up too long to be trusted, milliseconds. */
const MAX_PREPARED_MS = 30_000;

/** A server that says "reused" may have served a sibling that has not saved yet: wait this long, milliseconds. */
const SIBLING_SAVE_MS = 3_000;

type Granted = Extract<GrantResult, { kind: "granted" }>;
type TicketName = Pick<Ticket, "fingerprint" | "attempt">;

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
  if (entry.kind === "left") return entry.outcome;
  try {
    return await refreshUnderLock(ports, request, entry.lock);
  } finally {
    await entry.lock.release();
  }
}

type Entry = { kind: "entered"; lock: HeldLock } | { kind: "left"; outcome: CycleOutcome };

/** Waits for the lock, and leaves early when a sibling has done the work meanwhile. */
async function enterLock(ports: RefreshPorts, request: RefreshRequest): Promise<Entry> {
  const { clock, lock } = ports;
  const deadlineMs = clock.nowMs() + request.settings.lockWaitMs;
  for (;;) {
    const attempt = await lock.tryAcquire();
    if (attempt.kind === "held") return { kind: "entered", lock: attempt.lock };
    if (attempt.kind === "failed") return left({ kind: "blocked", fault: attempt.fault });
    if (request.stop.aborted) return left({ kind: "stopped" });
    if (clock.nowMs() >= deadlineMs) return left({ kind: "busy", holder: attempt.holder });
    await clock.sleep(WAIT_STEP_MS, request.stop);
    if (isRotatedBySibling(ports, request)) return left({ kind: "adopted", from: "sibling" });
  }
}

function left(outcome: CycleOutcome): Entry {
  return { kind: "left", outcome };
}

function isRotatedBySibling(ports: RefreshPorts, request: RefreshRequest): boolean {
  const reading = understand(ports.store.read());
  if (reading.kind !== "login" || request.seenToken === null) return false;
  if (reading.credential.refreshToken.equals(request.seenToken)) return false;
  return decide(reading.credential, ports.clock.nowMs(), request.settings.policy).kind === "fresh";
}

async function refreshUnderLock(ports: RefreshPorts, request: RefreshRequest, lock: HeldLock): Promise<CycleOutcome> {
  const { clock, store } = ports;
  const deadlineMs = clock.nowMs() + request.settings.lockWaitMs;
  for (;;) {
    const listing = ports.tickets.list();
    if (listing.kind === "failed") return { kind: "blocked", fault: listing.fault };
    const recovered = await recover(ports, listing.tickets);
    if (recovered !== null) return recovered;

    const reading = await readSettled(ports);
    if (reading.kind !== "login") return outcomeWithoutLogin(reading);
    const { credential } = reading;
    const isSeen = request.seenToken?.equals(credential.refreshToken) ?? false;
    const isForced = request.settings.isForced && isSeen;
    if (decide(credential, clock.nowMs(), request.settings.policy).kind === "fresh" && !isForced) {
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
        if (!canBeMerged(credential)) return { kind: "unreadable", problem: "is nested too deeply" };
        const creation = await ports.tickets.create(presented, plan.attempt);
        if (creation.kind === "failed") return { kind: "blocked", fault: creation.fault };
        if (creation.kind === "created") {
          return await spend({
            ports,
            request,
            lock,
            credential,
            presented,
            attempt: plan.attempt,
            ticket: creation.ticket,
          });
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
  for (const ticket of tickets.filter(isFinishable)) {
    const { state, presented } = ticket;
    if (state.kind !== "answered" || presented === null) continue;
    const outcome = await settleAnswer(ports, state.result, { presented, name: ticket, isRecovery: true });
    if (outcome !== null && outcome.kind !== "adopted") return outcome;
  }
  return null;
}

interface Attempt {
  readonly ports: RefreshPorts;
  readonly request: RefreshRequest;
  readonly lock: HeldLock;
  readonly credential: Credential;
  readonly presented: Presented;
  readonly attempt: number;
  readonly ticket: OpenTicket;
}

/** Presents the token under a ticket of ours, and sees the answer home. */
async function spend(attempt: Attempt): Promise<CycleOutcome> {
  const { ports, presented, ticket } = attempt;
  const name: TicketName = { fingerprint: presented.fingerprint, attempt: attempt.attempt };
  const giveBack = async (outcome: CycleOutcome): Promise<CycleOutcome> => {
    if (ticket.isInPlace()) await ports.tickets.remove([name]);
    return outcome;
  };
  try {
    // A sibling may have rotated and cleared its tickets between our reading and our ticket.
    const reading = await readSettled(ports);
    if (reading.kind !== "login") return await giveBack(outcomeWithoutLogin(reading));
    if (fingerprint(reading.credential.refreshToken) !== presented.fingerprint) {
      return await giveBack({ kind: "adopted", from: "sibling" });
    }
    const { reply, heldBackBy } = await dispatch(attempt);
    switch (reply.kind) {
      case "unsent":
        return await giveBack(transient(null, `${reply.cause} ${reply.detail}`.trim(), false));
      case "held-back":
        return await giveBack(heldBackBy ?? { kind: "busy", holder: "another process" });
      case "unanswered":
        await ticket.recordUnanswered(`${reply.cause} ${reply.detail}`);
        return transient(null, `${reply.cause} ${reply.detail}`.trim(), true);
      case "answered": {
        const result = judgeAnswer(reply.httpStatus, reply.body);
        const settled = await settleAnswer(ports, result, { presented, name, isRecovery: false });
        if (settled !== null) return settled;
        return await settleNothing(attempt, reply, result, giveBack);
      }
    }
  } finally {
    await ticket.close();
  }
}

/** Sends the request; the ticket becomes "dispatched" when the connection stands, just before the first byte. */
async function dispatch(attempt: Attempt): Promise<{ reply: EndpointReply; heldBackBy: CycleOutcome | null }> {
  const { ports, ticket, lock, request } = attempt;
  const startedMs = ports.clock.nowMs();
  let heldBackBy: CycleOutcome | null = null;
  const holdBack = (outcome: CycleOutcome): boolean => {
    heldBackBy = outcome;
    return false;
  };
  const note = (fault: Fault | null): void => {
    // The answer is in memory as well: a journal that fails now must not cost the save.
    if (fault !== null) ports.log.line(`refresh: the answer could not be journaled (${fault.code}); saving it at once`);
  };
  ports.log.line(`refresh: starting (endpoint=${ports.endpoint.shownUrl})`);
  const reply = await ports.endpoint.present({
    refreshToken: attempt.credential.refreshToken,
    beforeFirstByte: async () => {
      if (request.stop.aborted) return holdBack({ kind: "stopped" });
      const isLate = Math.abs(ports.clock.nowMs() - startedMs) > MAX_PREPARED_MS;
      if (isLate || lock.isCompromised() || !ticket.isInPlace()) {
        return holdBack({ kind: "busy", holder: "another process" });
      }
      const fault = await ticket.recordDispatch();
      return fault === null ? true : holdBack({ kind: "blocked", fault });
    },
    onHead: async (httpStatus, retryAfter) => note(await ticket.recordHead(httpStatus, retryAfter)),
    onBody: async (chunk) => note(await ticket.recordBody(chunk)),
  });
  return { reply, heldBackBy };
}

/** The end of an attempt whose answer decides nothing about the login. */
async function settleNothing(
  attempt: Attempt,
  reply: Extract<EndpointReply, { kind: "answered" }>,
  result: GrantResult,
  giveBack: (outcome: CycleOutcome) => Promise<CycleOutcome>,
): Promise<CycleOutcome> {
  const retryAfterMs = parseRetryAfterMs(reply.retryAfter, attempt.ports.clock.nowMs());
  if (result.kind === "refused") {
    return await giveBack(transient(reply.httpStatus, result.cause, false, retryAfterMs));
  }
  const cause = result.kind === "ambiguous" ? result.cause : "bad-body";
  await attempt.ticket.recordUnanswered(cause);
  return transient(reply.httpStatus, reply.isComplete ? cause : "reset", true, retryAfterMs);
}

interface Spent {
  readonly presented: Presented;
  readonly name: TicketName;
  /** Whether the answer was received by an earlier run. */
  readonly isRecovery: boolean;
}

/** Saves a grant or latches a rejection. Null when the answer is neither. */
async function settleAnswer(ports: RefreshPorts, result: GrantResult, spent: Spent): Promise<CycleOutcome | null> {
  switch (result.kind) {
    case "granted":
      return isSameAccount(result.accountIds, spent.presented.accountIds)
        ? await commit(ports, result, spent)
        : await latch(ports, spent, { cause: "other-account", httpStatus: 200 });
    case "rejected":
      return await adoptOrLatch(ports, result.rejection, spent);
    default:
      return null;
  }
}

/** A rejection may be a lost race: only a token that is still the store's own is given up. */
async function adoptOrLatch(ports: RefreshPorts, rejection: Rejection, spent: Spent): Promise<CycleOutcome> {
  const { clock } = ports;
  const untilMs = clock.nowMs() + (rejection.cause === "reused" && !spent.isRecovery ? SIBLING_SAVE_MS : 0);
  for (;;) {
    const reading = await readSettled(ports);
    const isStillOurs =
      reading.kind === "login" && fingerprint(reading.credential.refreshToken) === spent.presented.fingerprint;
    if (!isStillOurs && describeUnclear(reading) === null) {
      await removeTickets(ports, spent.presented.fingerprint);
      if (reading.kind !== "login") return outcomeWithoutLogin(reading);
      const isSibling = isSameAccount(reading.credential.accountIds, spent.presented.accountIds);
      return { kind: "adopted", from: isSibling ? "sibling" : "newer-login" };
    }
    if (clock.nowMs() >= untilMs) return await latch(ports, spent, rejection);
    await clock.sleep(WAIT_STEP_MS);
  }
}

async function latch(ports: RefreshPorts, spent: Spent, rejection: Rejection): Promise<CycleOutcome> {
  const fault = await ports.tickets.latch(spent.name, rejection);
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
    let plan: CommitPlan = { kind: "unclear", problem: "was not read" };
    const update = await store.update((storeReading) => {
      const reading = understand(storeReading);
      plan =
        reading.kind === "unreadable"
          ? { kind: "unclear", problem: describeUnclear(reading) ?? "" }
          : planCommit(reading.kind === "absent" ? null : reading, spent.presented, granted.tokens);
      return plan.kind === "merge" ? mergeTokens(plan.credential.text, granted.tokens, clock.nowMs()) : null;
    });
    if (update.kind === "failed")
      return { kind: "unsaved", problem: describeUnclear({ kind: "unreadable", fault: update.fault }) ?? "" };
    const decided = plan as CommitPlan;
    switch (decided.kind) {
      case "merge":
      case "done":
        await removeTickets(ports, spent.presented.fingerprint);
        return {
          kind: "refreshed",
          httpStatus: 200,
          rotated: Object.keys(granted.tokens) as (keyof typeof granted.tokens)[],
          isRecovery: spent.isRecovery,
        };
      case "yield":
        await removeTickets(ports, spent.presented.fingerprint);
        return { kind: "adopted", from: decided.to };
      case "unclear":
        if (clock.nowMs() >= untilMs) return { kind: "unsaved", problem: `${store.location} ${decided.problem}` };
        await clock.sleep(SETTLE_STEP_MS);
    }
  }
}

/** Takes away the tickets of a token that is settled, and what earlier tokens of this store left behind. */
async function removeTickets(ports: RefreshPorts, settled: string): Promise<void> {
  const listing = ports.tickets.list();
  if (listing.kind === "failed") return;
  const reading = understand(ports.store.read());
  const current = reading.kind === "login" ? fingerprint(reading.credential.refreshToken) : null;
  const nowMs = ports.clock.nowMs();
  await ports.tickets.remove(
    listing.tickets.filter(
      (ticket) =>
        ticket.fingerprint === settled ||
        (ticket.fingerprint !== current && !isInFlight(ticket, nowMs) && !isFinishable(ticket)),
    ),
  );
}

function present(credential: Credential): Presented {
  return {
    fingerprint: fingerprint(credential.refreshToken),
    accountIds: credential.accountIds,
    stampMs: newestStampMs(credential),
  };
}

/** Whether the rewrite that follows the request can be built at all: tried before the token is spent. */
function canBeMerged(credential: Credential): boolean {
  try {
    mergeTokens(credential.text, { refresh_token: credential.refreshToken }, 0);
    return true;
  } catch {
    return false; // A RangeError: the text nests deeper than the stack reaches.
  }
}

function describeHolder(holder: Holder | null): string {
  return holder === null ? "another process" : `process ${holder.pid} on ${holder.host}`;
}

function transient(
  httpStatus: number | null,
  cause: string,
  wasSent: boolean,
  retryAfterMs: number | null = null,
): CycleOutcome {
  return { kind: "transient", httpStatus, cause, wasSent, retryAfterMs };
}
