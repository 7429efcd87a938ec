import { expect, it } from "vitest";
import { bestShare, type Scenario, simulateScript, simulateWatchdog } from "../support/simulation.js";

const DAY_SEC = 86_400;

/** The default safety margin, at most a third of a token's life: so much is left, or more, when trouble begins. */
function marginSec(livesForSec: number): number {
  return Math.min(14_400, livesForSec / 3);
}

/** A refresh each two thirds of a short life, and a sixteenth of the margin sooner for the jitter. */
function mostRefreshes({ livesForSec, days }: Scenario): number {
  const shortestSec = livesForSec - marginSec(livesForSec) * (1 + 1 / 16);
  return Math.ceil((days * DAY_SEC) / shortestSec) + 1;
}

it.each([
  ["an hour", 3_600],
  ["eight hours", 28_800],
  ["ten days", 864_000],
])(
  "in two months without trouble a token of %s is always valid, and refreshed no more than needed",
  async (_life, livesForSec) => {
    const scenario = { livesForSec, days: 60, seed: "calm" };

    const { validShare, posts, isLost } = await simulateWatchdog(scenario);

    expect(isLost).toBe(false);
    expect(validShare).toBe(1);
    expect(posts).toBeLessThanOrEqual(mostRefreshes(scenario));
  },
);

it.each([
  ["an hour", 3_600],
  ["eight hours", 28_800],
])(
  "in two months of trouble a token of %s is valid as long as its margin lasts, and never lost",
  async (_life, livesForSec) => {
    const troubles = { restarts: true, suspends: true, outages: true };
    const scenario = { livesForSec, days: 60, seed: "trouble", ...troubles };

    const { validShare, posts, isLost } = await simulateWatchdog(scenario);

    expect(isLost).toBe(false);
    // Each morning half a minute passes until the clock is looked at, and behind each outage six minutes at most.
    const lateShare = (31 + 360 / 20) / (16 * 3_600);
    expect(validShare).toBeGreaterThan(bestShare({ ...scenario, livesForSec: marginSec(livesForSec) }) - lateShare);
    expect(validShare).toBeLessThanOrEqual(bestShare(scenario));
    // Every five minutes of an outage of two days, once a month, and one for each restart.
    expect(posts).toBeLessThanOrEqual(mostRefreshes(scenario) + 4 * (2 * 24 * 12) + 2 * 60);
  },
);

it("a token that works for 21 minutes or longer never meets the brake of four an hour", async () => {
  const { validShare } = await simulateWatchdog({ livesForSec: 21 * 60, days: 30, seed: "short" });
  expect(validShare).toBe(1);
});

it("gives the same figures for the same seed, and others for another", async () => {
  const scenario = { livesForSec: 28_800, days: 30, restarts: true, outages: true, seed: "one" };
  const first = await simulateWatchdog(scenario);
  expect(await simulateWatchdog(scenario)).toEqual(first);
  expect(await simulateWatchdog({ ...scenario, seed: "two" })).not.toEqual(first);
});

it("the script sleeps through five of each six hours of a token of an hour", async () => {
  const { validShare, posts } = await simulateScript({ livesForSec: 3_600, days: 30, seed: "calm" });
  expect(validShare).toBeCloseTo(1 / 6, 2);
  expect(posts).toBe(4 * 30);
});
