import * as fc from "fast-check";
import { expect, it } from "vitest";
import { describeMoment, describeSpan, drawTimeline } from "../../src/core/span.js";
import { check } from "../support/property.js";

it.each([
  [0, "0 s"],
  [999, "0 s"],
  [45_000, "45 s"],
  [90_000, "1 min 30 s"],
  [3_600_000, "1 h"],
  [3_659_000, "1 h"],
  [7_500_000, "2 h 5 min"],
  [-90_000_000, "1 d 1 h"],
  [864_000_000, "10 d"],
])("%i ms are %s", (ms, words) => {
  expect(describeSpan(ms)).toBe(words);
});

it("a moment lies ahead, behind, or is now", () => {
  expect([-5_000, 0, 999, 60_000].map((ms) => describeMoment(ms, 0))).toEqual(["5 s ago", "now", "now", "in 1 min"]);
});

it.each([
  [0, 50, "●───────────────◆───────────────"],
  [25, 50, "━━━━━━━━●───────◆───────────────"],
  [60, 50, "━━━━━━━━━━━━━━━━◆━━●────────────"],
  [100, 90, "━━━━━━━━━━━━━━━━━━━━━━━━━━━━◆━━●"],
  [50, null, "━━━━━━━━━━━━━━━━●───────────────"],
] as const)("at %i of 100, due at %j, a life looks like its share", (nowMs, dueAtMs, line) => {
  expect(drawTimeline(0, 100, dueAtMs, nowMs)).toBe(line);
});

it("a timeline is as long as ever, whatever the times are", () => {
  check(
    fc.property(fc.double(), fc.double(), fc.option(fc.double()), fc.double(), (from, until, due, now) => {
      fc.pre([from, until, due ?? 0, now].every(Number.isFinite));
      expect(drawTimeline(from, until, due, now)).toHaveLength(32);
    }),
  );
});
