import { describe, expect, it } from "vitest";
import { runLoop } from "../../src/cli/loop.js";
import type { Clock } from "../../src/ports.js";

const HOUR_MS = 3_600_000;

/** A loop whose sleeps are recorded, and end at once or when they are woken. */
function setUp(options: { readonly isWatching: boolean }) {
  const stop = new AbortController();
  let nowMs = 0;
  let mark = "as it was";
  let onEvent = (): void => undefined;
  let onWake = (): void => undefined;
  const sleepsMs: number[] = [];
  const cyclesAtMs: number[] = [];
  let duringSleep = (_count: number): void => undefined;
  const clock: Clock = {
    nowMs: () => nowMs,
    sleep: async (durationMs, wake) => {
      sleepsMs.push(durationMs);
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
          return { exitCode: 1, nextCheckAtMs: nowMs + HOUR_MS };
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
