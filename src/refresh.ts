import { brakedUntilMs, markOf } from "./core/brake.js";
import { describeFault } from "./core/fault.js";
import type { CycleOutcome } from "./core/outcome.js";
import type { Secret } from "./core/secret.js";
import type { CycleSettings } from "./cycle.js";
import type { HeldLock, RefreshPorts } from "./ports.js";
import { isAnswerWaiting } from "./reading.js";
import { isDone, waitForNews } from "./sibling.js";

export interface RefreshRequest extends CycleSettings {
  /** The refresh token that the look saw: another one under the lock means that a sibling was faster. */
  readonly seenToken: Secret | null;
  /** False when the look went on for another reason: force, or an answer that waited. */
  readonly isSeenDue: boolean;
}

/**
 * Brings a due login up to date: steps 1 to 9 of the design. What is needed behind the lock is loaded there.
 *
 * Two rules hold at every line, whatever the lock does. Only the process that created a token's ticket, and
 * found the token in the store *after* that, presents it. And a ticket goes away only when its token is no
 * longer in the store, or is known to be unspent.
 */
export async function refresh(ports: RefreshPorts, request: RefreshRequest): Promise<CycleOutcome> {
  const setting = await ports.store.readCredentialsStoreSetting();
  if (setting !== "file") return { kind: "other-store", setting };

  const untilMs = await brakedAt(ports, request);
  if (untilMs !== null) return { kind: "braked", untilMs };

  const entry = await enterLock(ports, request);
  if ("kind" in entry) {
    return entry.kind === "blocked" && (await isAnswerWaiting(ports.tickets))
      ? { kind: "unsaved", problem: describeFault(entry.fault) }
      : entry;
  }
  try {
    const { refreshUnderLock } = await import("./under-lock.js");
    return await refreshUnderLock(ports, request, entry);
  } finally {
    await entry.release();
  }
}

/** Until when the token that the look saw is held back; null when it is not. An answer that waits is never. */
async function brakedAt({ clock, tickets }: RefreshPorts, request: RefreshRequest): Promise<number | null> {
  if (request.seenToken === null || !request.isSeenDue || request.isForced) return null;
  if (await isAnswerWaiting(tickets)) return null;
  const [history, nowMs] = [request.readHistory(), clock.nowMs()];
  const brake = (tokenMark: string): number | null => {
    return brakedUntilMs(history, tokenMark, nowMs, request.minRefreshIntervalMs);
  };
  // Mostly the last one was long ago, whichever token it was: nobody needs to hash anything to know.
  if (history === null || brake(history.tokenMark) === null) return null;
  const { fingerprint } = await import("./core/fingerprint.js");
  return brake(markOf(fingerprint(request.seenToken)));
}

/** Waits for the lock, and leaves early when a sibling has done the work meanwhile. */
async function enterLock(ports: RefreshPorts, request: RefreshRequest): Promise<HeldLock | CycleOutcome> {
  const { clock, lock } = ports;
  const { stop } = request;
  const deadlineMs = clock.nowMs() + request.lockWaitMs;
  for (;;) {
    const attempt = await lock.tryAcquire();
    if (attempt.kind === "held") return attempt.lock;
    if (attempt.kind === "failed") return { kind: "blocked", fault: attempt.fault };
    if (stop.aborted) return { kind: "stopped" };
    if (clock.nowMs() >= deadlineMs) return { kind: "busy", holder: attempt.holder };
    const mark = ports.store.changeMark();
    if (!(await isDone(ports, request))) await waitForNews(ports, mark, deadlineMs, stop);
    if (await isDone(ports, request)) return { kind: "adopted", from: "sibling" };
  }
}
