import type { Clock } from "../ports.js";

/**
 * The longest single timer, milliseconds. `setTimeout` fires at once beyond 2³¹−1 ms, and a timer does not
 * count the time that a machine was suspended: so the wall clock is looked at again this often.
 */
const MAX_TICK_MS = 30_000;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  sleep: async (durationMs, wake) => {
    const { setTimeout } = await import("node:timers/promises");
    const wakeAtMs = Date.now() + durationMs;
    const startedMs = performance.now();
    // Whichever clock gets there first: the wall clock jumps ahead after a suspend, and may be set back.
    const remainingMs = (): number => Math.min(wakeAtMs - Date.now(), startedMs + durationMs - performance.now());
    const options = wake === undefined ? {} : { signal: wake };
    while (remainingMs() > 0 && wake?.aborted !== true) {
      // Its only error says that it was woken.
      await setTimeout(Math.min(remainingMs(), MAX_TICK_MS), undefined, options).catch(() => undefined);
    }
  },
};
