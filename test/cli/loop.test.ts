import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { runLoop } from "../../src/cli/loop.js";
import type { Clock } from "../../src/ports.js";

const HOUR_MS = 3_600_000;

const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;

/** A loop whose sleeps are recorded, and end at once or when they are woken. */
function setUp(options: { readonly isWatching: boolean; readonly intervalMs?: number }) {
  const stop = new AbortController();
  let nowMs = 0;
  let mark = "as it was";
  let onEvent = (): void => undefined;
  let onWake = (): void => undefined;
  const sleepsMs: number[] = [];
  const signalsSeen = new Set<AbortSignal | undefined>();
  const cyclesAtMs: number[] = [];
  let duringSleep = (_count: number): void => undefined;
  const clock: Clock = {
    nowMs: () => nowMs,
    sleep: async (durationMs, wake) => {
      sleepsMs.push(durationMs);
      signalsSeen.add(wake);
      duringSleep(sleepsMs.length);
      if (wake?.aborted !== true) nowMs += durationMs;
    },
  };
  const run = async (): Promise<void> => {
    await runLoop(
      {
        clock,
        changeMark: () => mark,
        watch: (listener) => {
          if (options.isWatching) onEvent = listener;
          return () => undefined;
        },
        cycle: async () => {
          cyclesAtMs.push(nowMs);
          if (cyclesAtMs.length === 2) stop.abort();
          return { exitCode: 1, nextCheckAtMs: nowMs + (options.intervalMs ?? HOUR_MS) };
        },
        onTick: () => undefined,
      },
      {
        stop: stop.signal,
        onWake: (listener) => {
          onWake = listener;
          stop.signal.addEventListener("abort", listener);
        },
      },
    );
  };
  return {
    run,
    cyclesAtMs,
    sleepsMs,
    signalsSeen,
    shiftClock: (byMs: number) => {
      nowMs += byMs;
    },
    change: () => {
      mark = "changed";
    },
    event: () => onEvent(),
    hup: () => onWake(),
    duringSleep: (act: (count: number) => void) => {
      duringSleep = act;
    },
  };
}

describe("the loop looks again", () => {
  it("when the time has come, in ticks of half a minute at most", async () => {
    const loop = setUp({ isWatching: true });
    await loop.run();
    expect(loop.cyclesAtMs).toEqual([0, HOUR_MS]);
    expect(Math.max(...loop.sleepsMs)).toBeLessThanOrEqual(30_000);
  });

  it("when the time has come that is further away than a timer can reach", async () => {
    const loop = setUp({ isWatching: true, intervalMs: 40 * DAY_MS });
    await loop.run();
    expect(loop.cyclesAtMs).toEqual([0, 40 * DAY_MS]);
    expect(Math.max(...loop.sleepsMs)).toBeLessThanOrEqual(30_000);
  });

  it("with one signal for all ticks of a wait: one for each would add up over weeks", async () => {
    const loop = setUp({ isWatching: true, intervalMs: 20 * DAY_MS });
    await loop.run();
    expect(loop.sleepsMs.length).toBeGreaterThan(50_000);
    expect(loop.signalsSeen.size).toBe(1);
    const [signal] = loop.signalsSeen;
    // `AbortSignal.any` would hang each of them onto the signals that it follows.
    expect(signal === undefined ? null : getEventListeners(signal, "abort")).toEqual([]);
  });

  it("at once when the clock was set back by years: the time to look at lies years away by now", async () => {
    const loop = setUp({ isWatching: true });
    loop.duringSleep((count) => {
      if (count === 3) loop.shiftClock(-10 * YEAR_MS);
    });
    await loop.run();
    expect(loop.cyclesAtMs).toEqual([0, 90_000 - 10 * YEAR_MS]);
  });

  it("as it was told when the clock is put right by seconds", async () => {
    const loop = setUp({ isWatching: true });
    loop.duringSleep((count) => {
      if (count % 10 === 0) loop.shiftClock(-40_000);
    });
    await loop.run();
    expect(loop.cyclesAtMs).toEqual([0, HOUR_MS]);
  });

  it.each([
    ["the clock was set ahead by years", 10 * YEAR_MS],
    ["the machine was suspended for eight hours", 8 * HOUR_MS],
  ])("at the first tick after %s", async (_what, jumpMs) => {
    const loop = setUp({ isWatching: true });
    loop.duringSleep((count) => {
      if (count === 3) loop.shiftClock(jumpMs);
    });
    await loop.run();
    expect(loop.cyclesAtMs).toEqual([0, 90_000 + jumpMs]);
  });

  it("at once when it is told of a change", async () => {
    const loop = setUp({ isWatching: true });
    loop.duringSleep((count) => {
      if (count === 3) {
        loop.change();
        loop.event();
      }
    });
    await loop.run();
    expect(loop.cyclesAtMs).toEqual([0, 60_000]);
  });

  it("within half a minute where nobody tells it", async () => {
    const loop = setUp({ isWatching: false });
    loop.duringSleep((count) => {
      if (count === 3) loop.change();
    });
    await loop.run();
    expect(loop.cyclesAtMs).toEqual([0, 90_000]);
  });

  it("at once on HUP", async () => {
    const loop = setUp({ isWatching: true });
    loop.duringSleep((count) => {
      if (count === 2) loop.hup();
    });
    await loop.run();
    expect(loop.cyclesAtMs).toEqual([0, 30_000]);
  });

  it("not because of events that change nothing", async () => {
    const loop = setUp({ isWatching: true });
    loop.duringSleep((count) => {
      if (count < 10) loop.event();
    });
    await loop.run();
    expect(loop.cyclesAtMs).toEqual([0, HOUR_MS]);
  });
});
