import type { Credential } from "./core/credential.js";
import { decide, type RefreshPolicy } from "./core/decide.js";
import type { CycleOutcome } from "./core/outcome.js";
import type { LookPorts } from "./ports.js";

/** How often a waiting process looks again, milliseconds. */
export const WAIT_STEP_MS = 100;

/**
 * For how long a look waits where another process is at work, before it loads what a refresh needs, milliseconds. Most
 * refreshes are over by then, and of a hundred processes that wait for one all but it have loaded nothing.
 */
const SIBLING_MS = 2_000;

/** What a wait needs to know of the cycle that it is part of. */
export interface WaitSettings {
  readonly policy: RefreshPolicy;
  readonly lockWaitMs: number;
  readonly stop: AbortSignal;
}

/** Waits while another process holds the lock; null when this one has to see for itself. */
export async function awaitSibling(
  ports: LookPorts,
  seen: Credential,
  { policy, lockWaitMs, stop }: WaitSettings,
): Promise<CycleOutcome | null> {
  const { clock } = ports;
  const untilMs = clock.nowMs() + Math.min(SIBLING_MS, lockWaitMs);
  while (clock.nowMs() < untilMs && (await ports.isLocked())) {
    if (stop.aborted) return { kind: "stopped" };
    await clock.sleep(WAIT_STEP_MS, stop);
    if (await isRotated(ports, seen, policy)) return { kind: "adopted", from: "sibling" };
  }
  return null;
}

/** Whether the store holds another token than the one that was seen, and it is fresh. */
export async function isRotated(
  { store, clock }: Pick<LookPorts, "store" | "clock">,
  seen: Pick<Credential, "refreshToken">,
  policy: RefreshPolicy,
): Promise<boolean> {
  const reading = await store.read();
  if (reading.kind !== "login" || reading.credential.refreshToken.equals(seen.refreshToken)) return false;
  return decide(reading.credential, clock.nowMs(), policy).kind === "fresh";
}
