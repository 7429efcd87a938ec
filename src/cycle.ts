import type { Reading } from "./core/credential.js";
import { decide, type RefreshPolicy } from "./core/decide.js";
import { type CycleOutcome, outcomeWithoutLogin } from "./core/outcome.js";
import { ageSec } from "./core/status.js";
import type { LookPorts, RefreshPorts } from "./ports.js";
import { isAnswerWaiting, readSettled } from "./reading.js";

export interface CycleSettings {
  readonly policy: RefreshPolicy;
  /** Refresh though fresh. */
  readonly isForced: boolean;
  /** How long to wait for another process that is at work on this login, milliseconds. */
  readonly lockWaitMs: number;
  /** Aborted when the process was told to end: nothing is sent after that. */
  readonly stop: AbortSignal;
}

export interface CycleResult {
  readonly outcome: CycleOutcome;
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
  const seen = look(ports, reading, settings);
  if (seen !== null) return { outcome: seen, reading };

  const [{ refresh }, refreshPorts] = await Promise.all([import("./refresh.js"), openRefreshPorts()]);
  const seenToken = reading.kind === "login" ? reading.credential.refreshToken : null;
  const outcome = await refresh(refreshPorts, { ...settings, seenToken });
  return { outcome, reading: ports.store.read() };
}

/** The outcome when this look settles the cycle, else null. */
function look(ports: LookPorts, reading: Reading, settings: CycleSettings): CycleOutcome | null {
  if (isAnswerWaiting(ports.tickets)) return null;
  if (reading.kind !== "login") return outcomeWithoutLogin(reading);

  const nowMs = ports.clock.nowMs();
  const verdict = decide(reading.credential, nowMs, settings.policy);
  if (verdict.kind === "due" || settings.isForced) return null;
  const { expiresAtMs } = reading.credential.accessClaims;
  return {
    kind: "fresh",
    expiresInSec: expiresAtMs === null ? null : Math.trunc((expiresAtMs - nowMs) / 1000),
    ageSec: ageSec(reading.credential.lastRefreshMs, nowMs),
  };
}
