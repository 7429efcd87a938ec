import type { RefreshHistory } from "./core/brake.js";
import type { Credential, Reading } from "./core/credential.js";
import { decide, type RefreshPolicy } from "./core/decide.js";
import { type CycleOutcome, outcomeWithoutLogin } from "./core/outcome.js";
import type { Secret } from "./core/secret.js";
import { ageSec } from "./core/status.js";
import type { LookPorts, RefreshPorts, TicketListing } from "./ports.js";
import { hasAnswer, readSettled } from "./reading.js";
import { isDone, waitForNews } from "./sibling.js";

export interface CycleSettings {
  readonly policy: RefreshPolicy;
  /** False when this process never sends a refresh token. */
  readonly isOwner: boolean;
  /** Refresh though fresh. */
  readonly isForced: boolean;
  /** The shortest time between two refreshes of ours, milliseconds. */
  readonly minRefreshIntervalMs: number;
  /** Our own last refreshes, as an earlier cycle has told them. */
  readonly readHistory: () => RefreshHistory | null;
  /** How long to wait for another process that is at work on this login, milliseconds. */
  readonly lockWaitMs: number;
  /** Aborted when the process was told to end: nothing is sent after that. */
  readonly stop: AbortSignal;
}

export interface CycleResult {
  readonly outcome: CycleOutcome;
  /** Our last refreshes, this cycle's own included; null where it had no reason to ask for them. */
  readonly history: RefreshHistory | null;
  /** Answers that lie aside for a person, by their files' names. */
  readonly setAside: readonly string[];
  /** The store at the end of the cycle. */
  readonly reading: Reading;
}

/**
 * One cycle: look, and refresh when a refresh is due or an answer waits to be saved.
 *
 * The look takes no lock and loads nothing; `openRefreshPorts` and the code of the refresh itself are asked
 * for only when they are needed, because most runs find a fresh login.
 */
export async function runCycle(
  ports: LookPorts,
  openRefreshPorts: () => Promise<RefreshPorts>,
  settings: CycleSettings,
): Promise<CycleResult> {
  const reading = await readSettled(ports);
  const listing = await ports.tickets.list();
  const settled = look(hasAnswer(listing), reading, ports.clock.nowMs(), settings);
  if (settled !== null) return { outcome: settled, history: null, setAside: setAsideOf(listing), reading };

  const seen = reading.kind === "login" ? reading.credential : null;
  const startedMs = ports.clock.nowMs();
  const seenToken = seen?.refreshToken ?? null;
  if (await isDoneByOther(ports, seenToken, settings)) {
    const [end, left] = [await ports.store.read(), await ports.tickets.list()];
    return { outcome: { kind: "adopted", from: "sibling" }, history: null, setAside: setAsideOf(left), reading: end };
  }
  const [{ refresh }, refreshPorts] = await Promise.all([import("./refresh.js"), openRefreshPorts()]);
  const isSeenDue = seen !== null && decide(seen, ports.clock.nowMs(), settings.policy).kind === "due";
  const lockWaitMs = settings.lockWaitMs - (ports.clock.nowMs() - startedMs);
  const outcome = await refresh(refreshPorts, { ...settings, lockWaitMs, seenToken, isSeenDue });
  const end = await ports.store.read();
  const history =
    outcome.kind === "refreshed"
      ? (await import("./under-lock.js")).historyAfter([reading, end], settings.readHistory(), ports.clock.nowMs())
      : null;
  return { outcome, history, setAside: setAsideOf(await ports.tickets.list()), reading: end };
}

/**
 * For how long a look waits where another process is at work, before it loads what a refresh needs, milliseconds. Most
 * refreshes are over by then, and of a hundred processes that wait for one all but it have loaded nothing.
 */
const SIBLING_MS = 2_000;

/** Waits while another process holds the lock; whether nothing is left to do then. */
async function isDoneByOther(ports: LookPorts, seenToken: Secret | null, settings: CycleSettings): Promise<boolean> {
  if (!ports.isLocked()) return false; // Almost always, and then not even `stop` need be made.
  const { clock, store } = ports;
  const { policy, isForced, stop } = settings;
  const untilMs = clock.nowMs() + Math.min(SIBLING_MS, settings.lockWaitMs);
  for (;;) {
    const mark = store.changeMark();
    if (await isDone(ports, { seenToken, policy, isForced })) return true;
    const isWorthWaiting = clock.nowMs() < untilMs && !stop.aborted && ports.isLocked();
    if (!isWorthWaiting || !(await ports.isHolderAlive())) return false;
    await waitForNews(ports, mark, untilMs, stop);
  }
}

export function setAsideOf(listing: TicketListing): readonly string[] {
  return listing.kind === "tickets" ? listing.setAside : [];
}

/** The outcome when this look settles the cycle, else null. */
function look(isAnswered: boolean, reading: Reading, nowMs: number, settings: CycleSettings): CycleOutcome | null {
  if (isAnswered) {
    return settings.isOwner ? null : { kind: "owner-missing", what: "answer-waits" };
  }
  if (reading.kind !== "login") return outcomeWithoutLogin(reading);

  const verdict = decide(reading.credential, nowMs, settings.policy);
  if (verdict.kind === "fresh" && !(settings.isForced && settings.isOwner))
    return freshOutcome(reading.credential, nowMs);
  return settings.isOwner ? null : leaveToOwner(reading.credential, nowMs);
}

/** What a cycle makes of a login that is due, where it is another process's business. */
export function leaveToOwner({ accessClaims }: Credential, nowMs: number): CycleOutcome {
  const { expiresAtMs } = accessClaims;
  const isExpired = expiresAtMs !== null && expiresAtMs <= nowMs;
  return isExpired ? { kind: "owner-missing", what: "expired" } : { kind: "left-to-owner" };
}

/** What a cycle makes of a login that is not due. */
export function freshOutcome({ accessClaims, lastRefreshMs }: Credential, nowMs: number): CycleOutcome {
  const { expiresAtMs } = accessClaims;
  const expiresInSec = expiresAtMs === null ? null : Math.trunc((expiresAtMs - nowMs) / 1000);
  return { kind: "fresh", expiresInSec, ageSec: ageSec(lastRefreshMs, nowMs) };
}
