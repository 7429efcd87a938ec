import type { Credential } from "./core/credential.js";
import { decide, type RefreshPolicy } from "./core/decide.js";
import type { LookPorts } from "./ports.js";
import { isAnswerWaiting } from "./reading.js";

/** How often a waiting process looks again, milliseconds. */
export const WAIT_STEP_MS = 100;

/** The first look comes sooner, milliseconds: most refreshes take no longer than a few of these. */
const FIRST_STEP_MS = 25;

/** How long it is content with a glance, milliseconds: then it sees whether the other one is alive. */
const GLANCES_MS = 1_000;

/**
 * Waits until the lock is free, or the store holds something else than at `markBefore`, or a while has passed. It only
 * glances at both: a hundred processes that wait must not keep the one from its work that they wait for.
 */
export async function waitForNews(
  ports: LookPorts,
  markBefore: string,
  untilMs: number,
  stop: AbortSignal,
): Promise<void> {
  const { clock, store } = ports;
  const lastGlanceMs = Math.min(untilMs, clock.nowMs() + GLANCES_MS);
  let stepMs = FIRST_STEP_MS;
  do {
    await clock.sleep(Math.min(stepMs, Math.max(untilMs - clock.nowMs(), 1)), stop);
    stepMs = Math.min(2 * stepMs, WAIT_STEP_MS);
  } while (!stop.aborted && clock.nowMs() < lastGlanceMs && ports.isLocked() && store.changeMark() === markBefore);
}

/** What was asked for when a process began to wait. */
export interface Wanted {
  readonly seenToken: Credential["refreshToken"] | null;
  readonly policy: RefreshPolicy;
  readonly isForced: boolean;
}

/** Whether another process has done by now what was wanted. */
export async function isDone(ports: LookPorts, { seenToken, policy, isForced }: Wanted): Promise<boolean> {
  const reading = await ports.store.read();
  if (reading.kind !== "login" || seenToken === null) return false;
  if (decide(reading.credential, ports.clock.nowMs(), policy).kind !== "fresh") return false;
  const isRotated = !reading.credential.refreshToken.equals(seenToken);
  // The same token, and fresh: what was wanted is the save of an answer that it came with.
  return isRotated || (!isForced && !(await isAnswerWaiting(ports.tickets)));
}
