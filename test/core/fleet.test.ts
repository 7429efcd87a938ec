import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isOwnerAlive, nextVersion, remoteLife, rowAsTicketText, spentVerdict } from "../../src/core/fleet.js";
import { encodeEvent, readTicketText, type TicketState } from "../../src/core/ticket.js";
import { check } from "../support/property.js";

const NOW_MS = Date.parse("2026-11-21T12:00:00Z");
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

describe("a version", () => {
  it("follows the clock, and never comes back", () => {
    expect(nextVersion(0, NOW_MS + 0.7)).toBe(NOW_MS);
    expect(nextVersion(NOW_MS + 5, NOW_MS)).toBe(NOW_MS + 6);
    check(
      fc.property(fc.nat(2 ** 50), fc.integer({ min: 0, max: 2 ** 50 }), (version, nowMs) => {
        expect(nextVersion(version, nowMs)).toBeGreaterThan(version);
        expect(nextVersion(version, nowMs)).toBeGreaterThanOrEqual(nowMs);
      }),
    );
  });
});

describe("the process behind a row on another host", () => {
  const dispatched = (agoMs: number): TicketState => ({ kind: "dispatched", atMs: NOW_MS - agoMs, cause: null });

  it.each([
    ["while its request may last", 80_000, 0, "alive"],
    ["while its request may last, though the access token has expired", 80_000, -HOUR_MS, "alive"],
    ["for an hour, while the access token works", 59 * MINUTE_MS, 4 * HOUR_MS, "alive"],
    ["no longer than its answer may need to be saved", 91_000, -HOUR_MS, "unknown"],
    ["not for an hour to the millisecond", 60 * MINUTE_MS, 4 * HOUR_MS, "unknown"],
    ["no longer than an hour", 61 * MINUTE_MS, 4 * HOUR_MS, "unknown"],
    ["until five minutes before the access token's end", 10 * MINUTE_MS, 6 * MINUTE_MS, "alive"],
    ["no longer than until five minutes before it", 10 * MINUTE_MS, 4 * MINUTE_MS, "unknown"],
    ["for an hour, where nobody knows that end", 59 * MINUTE_MS, null, "alive"],
  ])("is waited for %s", (_name, agoMs, leftMs, life) => {
    expect(remoteLife(dispatched(agoMs), NOW_MS, leftMs === null ? null : NOW_MS + leftMs)).toBe(life);
  });

  it.each<TicketState>([
    { kind: "prepared" },
    { kind: "unanswered", atMs: NOW_MS, cause: "deadline" },
    { kind: "rejected", rejection: { cause: "reused", httpStatus: 401 } },
  ])("is not waited for, for an hour, when the row says $kind", (state) => {
    expect(remoteLife(state, NOW_MS, null)).toBe("unknown");
  });
});

it("an owner is alive that was seen in the last three minutes", () => {
  expect([null, 0, 179_000, 181_000].map((ago) => isOwnerAlive(ago === null ? null : NOW_MS - ago, NOW_MS))).toEqual([
    false,
    true,
    true,
    false,
  ]);
  expect([isOwnerAlive(NOW_MS - 180_000, NOW_MS), isOwnerAlive(null, 0)]).toEqual([false, false]);
});

it("a row reads as the ticket that it is", () => {
  const presented = { fingerprint: "0".repeat(64), accountIds: [], stamps: { issuedAtMs: null, lastRefreshMs: null } };
  const holder = { pid: 1, host: "h", bootId: null, pidNamespace: null, startTicks: null };
  const prepared = encodeEvent({ event: "prepared", atMs: 1, holder, presented });
  const verdict = encodeEvent({ event: "unanswered", atMs: 3, cause: "deadline" });
  const stateOf = (dispatchedMs: number | null, end: string | null): unknown => {
    return readTicketText(rowAsTicketText(prepared, dispatchedMs, end)).state;
  };
  const lines = rowAsTicketText(`${prepared}\n`, 2, `${verdict}\n`);
  expect(lines.split("\n").map((line) => line !== "")).toEqual([true, true, true, false]);
  expect(stateOf(null, null)).toEqual({ kind: "prepared" });
  expect(stateOf(2, null)).toEqual({ kind: "dispatched", atMs: 2, cause: null });
  expect(stateOf(2, verdict)).toEqual({ kind: "unanswered", atMs: 2, cause: "deadline" });
  expect(stateOf(2, spentVerdict(9))).toEqual({ kind: "rejected", rejection: { cause: "restored", httpStatus: 0 } });
});
