import { describe, expect, it } from "vitest";
import { addRefresh, brakedUntilMs, type RefreshHistory } from "../../src/core/brake.js";

const NOW_MS = Date.parse("2026-11-21T12:00:00Z");
const MINUTE_MS = 60_000;

/** A history of refreshes so many minutes ago, the last of which brought the token "mark". */
function history(...minutesAgo: number[]): RefreshHistory {
  return { tokenMark: "mark", atMs: minutesAgo.map((minutes) => NOW_MS - minutes * MINUTE_MS) };
}

function waitMinutes(past: RefreshHistory | null, tokenMark = "mark"): number | null {
  const untilMs = brakedUntilMs(past, tokenMark, NOW_MS, MINUTE_MS);
  return untilMs === null ? null : (untilMs - NOW_MS) / MINUTE_MS;
}

describe("the brake", () => {
  it.each([
    ["nothing is known", null, null],
    ["there was none", history(), null],
    ["the last is a minute ago", history(1), null],
    ["the last is half a minute ago", history(0.5), 0.5],
    ["three were in the last hour", history(50, 30, 10), null],
    ["four were in the last hour", history(50, 30, 20, 10), 10],
    ["the first of four is an hour ago", history(60, 30, 20, 10), null],
    ["the times are ahead of the clock", history(-5, -1_000_000), null],
  ])("when %s", (_what, past, expected) => expect(waitMinutes(past)).toBe(expected));

  it("is not for tokens that somebody else has brought", () => {
    expect(waitMinutes(history(0.1), "other")).toBeNull();
  });

  it("counts on when a refresh follows ours, and anew when it follows somebody else's login", () => {
    const past = history(20, 10);
    expect(addRefresh(past, "mark", "next", NOW_MS)).toEqual({ tokenMark: "next", atMs: [...past.atMs, NOW_MS] });
    expect(addRefresh(past, "other", "next", NOW_MS)).toEqual({ tokenMark: "next", atMs: [NOW_MS] });
    expect(addRefresh(null, "mark", "next", NOW_MS)).toEqual({ tokenMark: "next", atMs: [NOW_MS] });
  });
});
