import type { Clock } from "../ports.js";
import type { Signals } from "./signals.js";

/** How often the loop looks whether the file was changed, milliseconds: a new login counts without a restart. */
const CHANGE_POLL_MS = 15_000;

export interface LoopPorts {
  readonly clock: Clock;
  /** Differs when the credential may have changed. */
  readonly changeMark: () => string;
  /** Runs one cycle and tells its outcome; answers when to look again, milliseconds since 1970. */
  readonly cycle: () => Promise<number>;
}

/** Runs cycles until told to stop. A failure never ends it: that is for the status to tell. */
export async function runLoop(ports: LoopPorts, signals: Signals): Promise<void> {
  while (!signals.stop.aborted) {
    const nextMs = await ports.cycle();
    await waitForNext(ports, signals, nextMs);
  }
}

/** Waits until `nextMs`, a change of the credential, HUP or stop, whichever comes first. */
async function waitForNext(ports: LoopPorts, signals: Signals, nextMs: number): Promise<void> {
  const { clock } = ports;
  const wake = new AbortController();
  signals.onWake(() => wake.abort());
  // Our own write is no change; what happened since the cycle's last look is found at the next poll.
  const mark = ports.changeMark();
  while (!signals.stop.aborted && !wake.signal.aborted && clock.nowMs() < nextMs) {
    await clock.sleep(Math.min(nextMs - clock.nowMs(), CHANGE_POLL_MS), wake.signal);
    if (ports.changeMark() !== mark) return;
  }
}
