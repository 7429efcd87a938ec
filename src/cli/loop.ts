import type { Clock } from "../ports.js";
import type { Signals } from "./signals.js";

/** How often the loop looks whether the file was changed, milliseconds: a new login counts without a restart. */
const CHANGE_POLL_MS = 15_000;

export interface LoopPorts {
  readonly clock: Clock;
  /** Differs when the credential may have changed. */
  readonly changeMark: () => string;
  /** Runs one cycle and tells its outcome. */
  readonly cycle: () => Promise<Told>;
}

/** What the loop goes by. */
export interface Told {
  /** As of `--once`; 0 says that the cycle itself has written the credential. */
  readonly exitCode: number;
  /** When to look again, milliseconds since 1970. */
  readonly nextCheckAtMs: number;
}

/** Runs cycles until told to stop. A failure never ends it: that is for the status to tell. */
export async function runLoop(ports: LoopPorts, signals: Signals): Promise<void> {
  let wake = new AbortController();
  signals.onWake(() => wake.abort());
  while (!signals.stop.aborted) {
    // Both begin before the cycle's own look, so that a change or a HUP while it runs is not lost.
    wake = new AbortController();
    const markBefore = ports.changeMark();
    const { exitCode, nextCheckAtMs } = await ports.cycle();
    // Our own write is no change to wake up for.
    await waitForNext(ports, exitCode === 0 ? ports.changeMark() : markBefore, nextCheckAtMs, wake.signal);
  }
}

/** Waits until `nextMs`, a change of the credential since `mark`, or `woken` (HUP and stop), whichever comes first. */
async function waitForNext(ports: LoopPorts, mark: string, nextMs: number, woken: AbortSignal): Promise<void> {
  const { clock } = ports;
  while (!woken.aborted && clock.nowMs() < nextMs && ports.changeMark() === mark) {
    await clock.sleep(Math.min(nextMs - clock.nowMs(), CHANGE_POLL_MS), woken);
  }
}
