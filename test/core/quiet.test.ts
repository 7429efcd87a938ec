import { expect, it } from "vitest";
import { isWorthSaying } from "../../src/core/quiet.js";

const HOUR_MS = 3_600_000;
const LAST = { reason: "fresh", atMs: 1_000 * HOUR_MS };

function said(reason: string, laterMs: number, isTrouble = false): boolean {
  return isWorthSaying(LAST, { reason, atMs: LAST.atMs + laterMs }, isTrouble);
}

it("says what is new at once, and the first thing of all", () => {
  expect(isWorthSaying(null, LAST, false)).toBe(true);
  expect(said("refreshed", 1)).toBe(true);
});

it("says what goes on every six hours, and every hour what is trouble", () => {
  expect([said("fresh", HOUR_MS), said("fresh", 6 * HOUR_MS - 1), said("fresh", 6 * HOUR_MS)]).toEqual([
    false,
    false,
    true,
  ]);
  expect([said("fresh", HOUR_MS - 1, true), said("fresh", HOUR_MS, true)]).toEqual([false, true]);
});

it("is not silenced by a clock that is set back", () => {
  expect(said("fresh", -HOUR_MS)).toBe(true);
});
