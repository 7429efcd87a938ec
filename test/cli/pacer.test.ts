import { getEventListeners } from "node:events";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Pacer } from "../../src/cli/pacer.js";
import type { Clock } from "../../src/ports.js";

const clock: Clock = {
  nowMs: () => Date.now(),
  sleep: (durationMs) => new Promise((resolve) => setTimeout(resolve, durationMs)),
};

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
});

afterEach(() => {
  vi.useRealTimers();
});

it("lets a bounded number work at a time, their starts apart, and everybody in the end", async () => {
  const pacer = new Pacer(clock, { size: 3, spacingMs: 100 });
  const starts: number[] = [];
  let running = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    const leave = await pacer.enter(new AbortController().signal);
    starts.push(Date.now());
    running += 1;
    most = Math.max(most, running);
    await clock.sleep(1_000);
    running -= 1;
    leave();
  };
  const all = Promise.all(Array.from({ length: 9 }, work));
  await vi.runAllTimersAsync();
  await all;
  expect(most).toBe(3);
  expect(starts).toEqual([0, 100, 200, 1_000, 1_100, 1_200, 2_000, 2_100, 2_200]);
});

it("keeps nobody waiting who was told to stop", async () => {
  const pacer = new Pacer(clock, { size: 1, spacingMs: 100 });
  const stop = new AbortController();
  const first = pacer.enter(stop.signal);
  const second = pacer.enter(stop.signal);
  stop.abort();
  await vi.runAllTimersAsync();
  await Promise.all([first, second]);
});

it("leaves nothing behind on the signal of a process that lives on", async () => {
  const pacer = new Pacer(clock, { size: 1, spacingMs: 100 });
  const stop = new AbortController();
  const turn = async (): Promise<void> => (await pacer.enter(stop.signal))();
  const all = Promise.all([turn(), turn(), turn()]);
  await vi.runAllTimersAsync();
  await all;
  expect(getEventListeners(stop.signal, "abort")).toEqual([]);
});
