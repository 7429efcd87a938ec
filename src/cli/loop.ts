import type { Clock } from "../ports.js";
import type { Signals } from "./signals.js";

/** How often the loop looks whether the file was changed, milliseconds, where watching does not tell. */
const CHANGE_POLL_MS = 30_000;

/**
 * A clock that was set back by more than this while we waited, milliseconds, ends the wait: the time to look at came from
 * the old clock, and may be years away. Less is an adjustment, and must not shorten what a failure has to wait.
 */
const SET_BACK_MS = 60_000;

export interface LoopPorts {
  readonly clock: Clock;
  /** Differs when the credential may have changed. */
  readonly changeMark: () => string;
  /** Calls back when something happens to the credential, as far as the system tells; the result ends it. */
  readonly watch: (onEvent: () => void) => () => void;
  /** Runs one cycle and tells its outcome. */
  readonly cycle: () => Promise<Told>;
  /** Called whenever the loop has come round: it lives. */
  readonly onTick: () => void;
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
  let nudge = new Nudge();
  signals.onWake(() => nudge.wake());
  while (!signals.stop.aborted) {
    // All begin before the cycle's own look, so that a change or a HUP while it runs is not lost.
    nudge = new Nudge();
    const unwatch = ports.watch(() => nudge.give());
    const markBefore = ports.changeMark();
    const { exitCode, nextCheckAtMs } = await ports.cycle();
    // Our own write is no change to wake up for.
    const mark = exitCode === 0 ? ports.changeMark() : markBefore;
    await waitForNext(ports, { mark, nextMs: nextCheckAtMs, nudge });
    unwatch();
  }
}

/** Ends the current sleep of one wait. One signal lasts for all its ticks: a wait of weeks has tens of thousands. */
class Nudge {
  #current = new AbortController();
  #isWoken = false;

  /** So that somebody looks at the mark again. */
  give(): void {
    this.#current.abort();
  }

  /** So that the whole wait ends: HUP and stop. */
  wake(): void {
    this.#isWoken = true;
    this.give();
  }

  get isWoken(): boolean {
    return this.#isWoken;
  }

  /** The signal for the next sleep. */
  next(): AbortSignal {
    if (this.#current.signal.aborted) this.#current = new AbortController();
    return this.#current.signal;
  }
}

/** Waits until `nextMs`, a change of the credential since `mark`, or until it is woken, whichever comes first. */
async function waitForNext(
  { clock, changeMark, onTick }: LoopPorts,
  { mark, nextMs, nudge }: { readonly mark: string; readonly nextMs: number; readonly nudge: Nudge },
): Promise<void> {
  let lastMs = clock.nowMs();
  for (;;) {
    // Taken before the mark is looked at: what happens behind that look ends the sleep.
    const nudged = nudge.next();
    onTick();
    const nowMs = clock.nowMs();
    if (nudge.isWoken || nowMs >= nextMs || nowMs < lastMs - SET_BACK_MS || changeMark() !== mark) return;
    lastMs = nowMs;
    await clock.sleep(Math.min(nextMs - nowMs, CHANGE_POLL_MS), nudged);
  }
}
