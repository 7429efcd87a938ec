import { present } from "./attempt.js";
import { addRefresh, markOf, type RefreshHistory } from "./core/brake.js";
import { isCodexRefreshing } from "./core/codex-window.js";
import type { Credential, Reading } from "./core/credential.js";
import { decide } from "./core/decide.js";
import { fingerprint } from "./core/fingerprint.js";
import { type CycleOutcome, outcomeWithoutLogin } from "./core/outcome.js";
import { planCommit } from "./core/reconcile.js";
import { describeHolder, type Presented, planAttempt, REQUEST_DEADLINE_MS, RETRY_SOON_MS } from "./core/ticket.js";
import { spendThroughCodex } from "./delegate.js";
import type { Delegate, HeldLock, RefreshPorts } from "./ports.js";
import { readSettled } from "./reading.js";
import type { RefreshRequest } from "./refresh.js";
import { isStillPresented, recover } from "./settle.js";
import { WAIT_STEP_MS } from "./sibling.js";
import { spend } from "./spend.js";

/**
 * How long a running Codex is given to save what it may be fetching, milliseconds. No release of Codex shows by a lock
 * that it has a request on its way (0.130 to 0.169).
 */
const GIVE_WAY_MS = 15_000;

/** What the brake has to count once a refresh of ours has made `after` of `before`. */
export function historyAfter(
  [before, after]: readonly [Reading, Reading],
  history: RefreshHistory | null,
  nowMs: number,
): RefreshHistory | null {
  if (after.kind !== "login") return history;
  const tokenMark = before.kind === "login" ? markOf(fingerprint(before.credential.refreshToken)) : "";
  return addRefresh(history, tokenMark, markOf(fingerprint(after.credential.refreshToken)), nowMs);
}

/** The part of a refresh for which this process holds the lock. */
export async function refreshUnderLock(
  ports: RefreshPorts,
  request: RefreshRequest,
  lock: HeldLock,
): Promise<CycleOutcome> {
  const { clock, store } = ports;
  const deadlineMs = clock.nowMs() + request.lockWaitMs;
  let hasGivenWay = false;
  for (;;) {
    const listing = await ports.tickets.list();
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
        if (!hasGivenWay && isCodexRefreshing(credential, clock.nowMs()) && ports.isCodexRunning()) {
          hasGivenWay = true;
          await giveWay(ports, presented, request.stop);
          continue;
        }
        const delegate = chooseDelegate(ports, credential);
        const fault = (await store.preflight()) ?? delegate?.preflight() ?? null;
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
          const { ticket } = creation;
          const { stop } = request;
          const own = { lock, stop, credential, presented, name, ticket, createdMs, dispatchCount };
          const outcome = await (delegate === null ? spend(ports, own) : spendThroughCodex(ports, delegate, own));
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

/**
 * Codex, where the request is to be its own; null where it is ours.
 *
 * Inside its own window Codex presents the token at its start, unasked, and again at each use until an answer is good:
 * five to ten times in one run when the endpoint answers 500 (0.130 to 0.169). So there it is ours, once.
 */
function chooseDelegate({ delegate, clock, log }: RefreshPorts, credential: Credential): Delegate | null {
  if (delegate === null || !isCodexRefreshing(credential, clock.nowMs() + REQUEST_DEADLINE_MS)) return delegate;
  log.write(
    "info",
    "not_delegated",
    "refresh: codex would send a token this close to its end more than once; sending it directly",
  );
  return null;
}

/** Waits until a Codex that may be refreshing has saved, or is not. */
async function giveWay({ clock, store, log }: RefreshPorts, presented: Presented, stop: AbortSignal): Promise<void> {
  const seconds = GIVE_WAY_MS / 1000;
  log.write(
    "info",
    "giving_way",
    `refresh: a Codex runs on this login and may be refreshing it now; waiting ${seconds} s at most`,
  );
  const untilMs = clock.nowMs() + GIVE_WAY_MS;
  while (clock.nowMs() < untilMs && !stop.aborted && isStillPresented(await store.read(), presented)) {
    await clock.sleep(WAIT_STEP_MS, stop);
  }
}
