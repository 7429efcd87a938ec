import type { Reading, TokenName } from "./core/credential.js";
import { describeFault, type Fault } from "./core/fault.js";
import { fingerprint } from "./core/fingerprint.js";
import type { FinalResult, Granted, Rejection, RejectionCause } from "./core/grant.js";
import { type CycleOutcome, outcomeWithoutLogin } from "./core/outcome.js";
import { isSameAccount, planCommit } from "./core/reconcile.js";
import { countDispatches, isInFlight, type Presented, type Ticket, type TicketName } from "./core/ticket.js";
import type { RefreshPorts } from "./ports.js";
import { readSettled, SETTLE_MS, SETTLE_STEP_MS } from "./reading.js";

/** A server that says "reused" may have served a sibling that has not saved yet: wait this long, milliseconds. */
const SIBLING_SAVE_MS = 3_000;
const SIBLING_STEP_MS = 100;

/** A save that failed is tried again this often at once: many a fault passes. */
const SAVE_RETRIES = 2;
const SAVE_RETRY_MS = 100;

/** How long a process rests that has an answer in memory alone, milliseconds: doubling from one to the other. */
const HOLD_FIRST_MS = 1_000;
const HOLD_MAX_MS = 30_000;

/** What was presented, under which ticket. */
export interface Spent {
  readonly presented: Presented;
  readonly name: TicketName;
  /** Whether the answer was received by an earlier run. */
  readonly isRecovery: boolean;
  /** Whether an earlier request with this token got no answer. */
  readonly isRepeat: boolean;
  /** Journals what is not in the ticket yet; true when the whole answer is. */
  readonly isJournaled: () => Promise<boolean>;
}

/** Brings answers that lie in tickets to their end. Null when the cycle goes on as if there had been none. */
export async function recover(ports: RefreshPorts, tickets: readonly Ticket[]): Promise<CycleOutcome | null> {
  for (const ticket of tickets) {
    const { state, prepared, rewrite, fingerprint, attempt } = ticket;
    if (state.kind !== "answered" || prepared === null || isInFlight(ticket, ports.clock.nowMs())) continue;
    const fault = rewrite === null ? null : await ports.store.redo(rewrite);
    if (fault !== null) return unsaved(fault);
    const name = { fingerprint, attempt };
    const isJournaled = (): Promise<boolean> => Promise.resolve(true);
    const { presented } = prepared;
    const earlier = tickets.filter((other) => other.fingerprint === fingerprint && other.attempt < attempt);
    const isRepeat = countDispatches(earlier) > 0;
    const spent = { presented, name, isRecovery: true, isRepeat, isJournaled };
    const outcome = await settle(ports, state.result, spent);
    if (outcome.kind !== "adopted") return outcome;
  }
  return null;
}

/** Saves a grant or latches a rejection. */
export async function settle(ports: RefreshPorts, result: FinalResult, spent: Spent): Promise<CycleOutcome> {
  if (result.kind === "rejected") return await adoptOrLatch(ports, result.rejection, spent);
  return isSameAccount(result.accountIds, spent.presented.accountIds)
    ? await commit(ports, result, spent)
    : await latch(ports, spent, { cause: "other-account", httpStatus: 200 });
}

/** What a server may say of a token that our own earlier request has spent. */
const SPENT_CAUSES: readonly RejectionCause[] = ["reused", "revoked", "refused-by-codex", "unnamed"];

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
    const isLost = spent.isRepeat && SPENT_CAUSES.includes(rejection.cause);
    const cause = isLost ? "lost-response" : rejection.cause;
    if (clock.nowMs() >= untilMs) return await latch(ports, spent, { ...rejection, cause });
    await clock.sleep(SIBLING_STEP_MS);
  }
}

/** The store holds something else than what was presented: that stands. */
export function adopt(reading: Reading, presented: Presented): CycleOutcome {
  if (reading.kind !== "login") return outcomeWithoutLogin(reading);
  const isSibling = isSameAccount(reading.credential.accountIds, presented.accountIds);
  return { kind: "adopted", from: isSibling ? "sibling" : "newer-login" };
}

async function latch(ports: RefreshPorts, spent: Spent, rejection: Rejection): Promise<CycleOutcome> {
  const verdict = { event: "rejected", atMs: ports.clock.nowMs(), rejection } as const;
  const fault = await ports.tickets.conclude(spent.name, verdict);
  if (fault !== null)
    ports.log.write(
      "warn",
      "not_latched",
      `refresh: the rejection could not be remembered (${fault.code} at ${fault.path})`,
    );
  return { kind: "login-required", rejection, isLatched: false };
}

/**
 * Puts the granted tokens in place. From the answer on nothing stops this: no signal, no lost lock. What
 * can't be saved stays in the ticket, for the next run of any process; what is in no ticket either keeps this
 * process alive until it is.
 */
async function commit(ports: RefreshPorts, granted: Granted, spent: Spent): Promise<CycleOutcome> {
  const { clock, store, tickets } = ports;
  const untilMs = clock.nowMs() + SETTLE_MS;
  let retries = 0;
  let holdMs = HOLD_FIRST_MS;
  for (;;) {
    const plan = await store.update(
      (reading) => planCommit(reading, spent.presented, granted.tokens, clock.nowMs()),
      (rewrite) => tickets.append(spent.name, { event: "rewriting", ...encode(rewrite) }),
    );
    switch (plan.kind) {
      case "write":
      case "done": {
        await removeTickets(ports, spent.presented.fingerprint);
        await tickets.sweep();
        const rotated = Object.keys(granted.tokens) as TokenName[];
        return { kind: "refreshed", httpStatus: granted.httpStatus, rotated, isRecovery: spent.isRecovery };
      }
      case "yield":
        if (!plan.isCertain) await tickets.setAside(spent.name);
        await removeTickets(ports, spent.presented.fingerprint);
        return { kind: "adopted", from: plan.to };
      case "unclear":
        if (clock.nowMs() < untilMs) {
          await clock.sleep(SETTLE_STEP_MS);
          break;
        }
        if (await spent.isJournaled()) return { kind: "unsaved", problem: `${store.location} ${plan.problem}` };
        await clock.sleep(SAVE_RETRY_MS);
        break;
      case "failed":
        if (retries < SAVE_RETRIES) {
          retries += 1;
          // The space that the ticket has kept free is for this; the answer in it stays.
          if (plan.fault.kind === "disk-full") await tickets.trim(spent.name);
          await clock.sleep(SAVE_RETRY_MS);
          break;
        }
        if (await spent.isJournaled()) return unsaved(plan.fault);
        ports.log.write(
          "error",
          "unsaved_in_memory",
          `refresh: UNSAVED, and in memory only; do not end this process: ${describeFault(plan.fault)}`,
        );
        await clock.sleep(holdMs);
        holdMs = Math.min(2 * holdMs, HOLD_MAX_MS);
    }
  }
}

function encode({ from, to }: { from: { reveal(): string }; to: { reveal(): string } }): { from: string; to: string } {
  const [old, next] = [from, to].map((text) => Buffer.from(text.reveal()).toString("base64"));
  return { from: old ?? "", to: next ?? "" };
}

/** Takes away the tickets of a token that is settled, and what earlier tokens of this store left behind. */
export async function removeTickets(ports: RefreshPorts, settled: string): Promise<void> {
  const listing = await ports.tickets.list();
  if (listing.kind === "failed") return;
  const reading = await ports.store.read();
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

/** Whether the store holds the very token that was presented. */
export function isStillPresented(reading: Reading, presented: Presented): boolean {
  return reading.kind === "login" && fingerprint(reading.credential.refreshToken) === presented.fingerprint;
}

function unsaved(fault: Fault): CycleOutcome {
  return { kind: "unsaved", problem: describeFault(fault) };
}
