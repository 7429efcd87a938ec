import type { Clock } from "../ports.js";

/** So many homes are refreshed at a time, and so far apart they begin: one client must not fire bursts. */
const PACE = { size: 4, spacingMs: 250 } as const;

/** Lets work begin a bounded number at a time, and not all at once. */
export class Pacer {
  readonly #clock: Clock;
  readonly #size: number;
  readonly #spacingMs: number;
  readonly #waiting: (() => void)[] = [];
  #runningCount = 0;
  #nextStartMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, { size, spacingMs }: { readonly size: number; readonly spacingMs: number } = PACE) {
    this.#clock = clock;
    this.#size = size;
    this.#spacingMs = spacingMs;
  }

  /**
   * Waits for its turn; at once when `stop` is aborted, because then nothing is begun any more.
   *
   * @returns to be called when the work has ended
   */
  async enter(stop: AbortSignal): Promise<() => void> {
    if (this.#runningCount >= this.#size) {
      await new Promise<void>((resolve) => {
        const onStop = (): void => resolve();
        stop.addEventListener("abort", onStop, { once: true });
        this.#waiting.push(() => {
          // The signal lives as long as the process: whoever has had a turn must not stay with it.
          stop.removeEventListener("abort", onStop);
          resolve();
        });
      });
    }
    this.#runningCount += 1;
    const startMs = Math.max(this.#clock.nowMs(), this.#nextStartMs);
    this.#nextStartMs = startMs + this.#spacingMs;
    await this.#clock.sleep(startMs - this.#clock.nowMs(), stop);
    return () => {
      this.#runningCount -= 1;
      this.#waiting.shift()?.();
    };
  }
}
