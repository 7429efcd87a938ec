import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CycleOutcome } from "../../src/core/outcome.js";
import { nextCheckMs } from "../../src/core/schedule.js";
import { ALL_OUTCOMES, OUTCOMES } from "../support/outcomes.js";
import { check } from "../support/property.js";

const NOW_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const INTERVAL_SEC = 21_600;
/** Beside a time since 1970 a double keeps no more than some ten thousandths of a millisecond. */
const ROUNDING_MS = 0.001;
const FRESH: CycleOutcome = { kind: "fresh", expiresInSec: null, ageSec: null };

const UNSENT: CycleOutcome = {
  kind: "transient",
  httpStatus: null,
  cause: "ECONNREFUSED",
  wasSent: false,
  retryAfterMs: null,
};
/** What goes up the ladder. */
const BACKING_OFF: readonly CycleOutcome[] = [UNSENT, ...OUTCOMES.busy, ...OUTCOMES.blocked, ...OUTCOMES.unreadable];

interface Given {
  readonly dueInMs?: number | null;
  readonly expiresInMs?: number | null;
  readonly failureCount?: number;
  readonly intervalSec?: number;
  readonly jitter?: number;
}

function waitMs(outcome: CycleOutcome, given: Given = {}): number {
  const { dueInMs = null, expiresInMs = null, failureCount = 1, intervalSec = INTERVAL_SEC, jitter = 0 } = given;
  const dueAtMs = dueInMs === null ? null : NOW_MS + dueInMs;
  const expiresAtMs = expiresInMs === null ? null : NOW_MS + expiresInMs;
  return nextCheckMs({ outcome, dueAtMs, expiresAtMs, failureCount, intervalSec, nowMs: NOW_MS, jitter }) - NOW_MS;
}

const jitters = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const intervals = fc.integer({ min: 1, max: 10 * 86_400 });
const failureCounts = fc.nat(1_000);

describe("a healthy login", () => {
  it("is looked at after the interval", () => {
    expect(waitMs(FRESH)).toBe(6 * HOUR_MS);
    expect(waitMs(FRESH, { jitter: 0.999 })).toBeGreaterThan(5.6 * HOUR_MS);
  });

  it("is never looked at later than it falls due", () => {
    check(
      fc.property(intervals, jitters, fc.nat(100 * HOUR_MS), (intervalSec, jitter, dueInMs) => {
        const wait = waitMs(FRESH, { intervalSec, jitter, dueInMs });
        expect(wait).toBeLessThanOrEqual(Math.min(dueInMs, intervalSec * 1000));
        expect(wait).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it("is looked at when it falls due, though that is before the next look", () => {
    expect(waitMs(FRESH, { dueInMs: 2 * HOUR_MS })).toBe(2 * HOUR_MS);
    expect(waitMs({ kind: "adopted", from: "sibling" }, { dueInMs: 2 * HOUR_MS })).toBe(2 * HOUR_MS);
  });
});

describe("the brake", () => {
  it("holds for a token that is due on arrival, however short the interval", () => {
    const sending = [...OUTCOMES.refreshed, ...OUTCOMES.adopted];
    for (const outcome of sending) {
      for (const dueInMs of [-1_000 * HOUR_MS, 0, 1, 59_999]) {
        expect(waitMs(outcome, { dueInMs })).toBe(60_000);
        expect(waitMs(outcome, { dueInMs, intervalSec: 1 })).toBeGreaterThanOrEqual(60_000);
      }
    }
  });

  it("keeps every failing request a minute from the next", () => {
    check(
      fc.property(
        fc.constantFrom(...OUTCOMES.transient),
        intervals,
        jitters,
        failureCounts,
        (outcome, intervalSec, jitter, failureCount) => {
          expect(waitMs(outcome, { intervalSec, jitter, failureCount })).toBeGreaterThanOrEqual(60_000);
        },
      ),
    );
  });
});

describe("after a failure", () => {
  it("the wait doubles from a minute to an hour", () => {
    const waits = [1, 2, 3, 4, 5, 6, 7, 8, 1_000].map((failureCount) =>
      waitMs({ kind: "busy", holder: "x" }, { failureCount }),
    );
    expect(waits.map((wait) => wait / 60_000)).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
  });

  it("the wait leaves a token's life room for more tries, and never falls below the brake", () => {
    check(
      fc.property(
        fc.constantFrom(...BACKING_OFF),
        failureCounts,
        intervals,
        jitters,
        fc.oneof(fc.integer({ min: 1, max: 5 * HOUR_MS }), fc.integer({ min: 1, max: 240 * HOUR_MS })),
        (outcome, failureCount, intervalSec, jitter, expiresInMs) => {
          const wait = waitMs(outcome, { failureCount, intervalSec, jitter, expiresInMs });
          expect(wait).toBeGreaterThanOrEqual(60_000);
          expect(wait).toBeLessThanOrEqual(Math.max(0.3 * expiresInMs, 72_000) + ROUNDING_MS);
          expect(wait).toBeLessThanOrEqual(waitMs(outcome, { failureCount, intervalSec, jitter }));
        },
      ),
    );
  });

  it("a token of an hour, due with 20 minutes left, is tried every few minutes to its end", () => {
    const triesAtMin: number[] = [];
    for (let atMs = 0; atMs < HOUR_MS / 3; ) {
      triesAtMin.push(Math.round(atMs / 60_000));
      atMs += waitMs(UNSENT, { failureCount: triesAtMin.length, expiresInMs: HOUR_MS / 3 - atMs });
    }
    expect(triesAtMin).toEqual([0, 1, 3, 7, 10, 13, 15, 16, 17, 18, 19, 20]);
  });

  it("an outage that outlasts the token is made a quarter longer at most, and by six minutes at most", () => {
    check(
      fc.property(
        fc.constantFrom(...BACKING_OFF),
        failureCounts,
        jitters,
        fc.oneof(fc.nat(HOUR_MS), fc.nat(720 * HOUR_MS)),
        (outcome, failureCount, jitter, expiredForMs) => {
          const wait = waitMs(outcome, { failureCount, jitter, expiresInMs: -expiredForMs });
          expect(wait).toBeGreaterThanOrEqual(60_000);
          expect(wait).toBeLessThanOrEqual(Math.max(72_000, Math.min(0.3 * expiredForMs, 360_000)) + ROUNDING_MS);
        },
      ),
    );
  });

  it("neither Retry-After nor the ladder of an unknown fate is cut short by an expiry", () => {
    const expiresInMs = 60_000;
    const limited = { kind: "transient", httpStatus: 503, cause: "unavailable", wasSent: false } as const;
    const sent = { kind: "transient", httpStatus: 500, cause: "server-error", wasSent: true } as const;
    expect(waitMs({ ...limited, retryAfterMs: HOUR_MS }, { expiresInMs })).toBe(HOUR_MS);
    expect(waitMs({ ...sent, retryAfterMs: HOUR_MS }, { expiresInMs })).toBe(HOUR_MS);
    const resting: CycleOutcome = { kind: "resting", untilMs: NOW_MS + HOUR_MS, dispatchCount: 2 };
    expect(waitMs(resting, { expiresInMs })).toBe(HOUR_MS);
  });

  it("an unknown fate is asked about when the token's own ladder says so", () => {
    const sent = { kind: "transient", httpStatus: 500, cause: "server-error", wasSent: true } as const;
    const waits = [null, 1_000, 60_000, HOUR_MS].map((retryAfterMs) => waitMs({ ...sent, retryAfterMs }));
    expect(waits).toEqual([60_000, 60_000, 60_000, HOUR_MS]);
  });

  it("the server's Retry-After is honoured", () => {
    const limited: CycleOutcome = {
      kind: "transient",
      httpStatus: 429,
      cause: "rate-limit",
      wasSent: false,
      retryAfterMs: HOUR_MS,
    };
    expect(waitMs(limited)).toBe(HOUR_MS);
    expect(waitMs({ ...limited, retryAfterMs: 1 })).toBe(60_000);
    expect(waitMs({ ...limited, retryAfterMs: HOUR_MS }, { intervalSec: 60 })).toBe(HOUR_MS);
  });

  it("an unsaved answer is tried from every second to every half a minute", () => {
    const waits = [1, 2, 3, 4, 5, 6, 99].map((failureCount) => waitMs(OUTCOMES.unsaved[0] ?? FRESH, { failureCount }));
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  it("a resting token is looked at when it may be asked again, and at every interval", () => {
    const resting = (inMs: number): CycleOutcome => ({ kind: "resting", untilMs: NOW_MS + inMs, dispatchCount: 3 });
    expect(waitMs(resting(HOUR_MS))).toBe(HOUR_MS);
    expect(waitMs(resting(20 * HOUR_MS))).toBe(6 * HOUR_MS);
    expect(waitMs(resting(-HOUR_MS))).toBe(60_000);
  });

  it("a dead login is looked at once an interval: only a person can help", () => {
    for (const outcome of OUTCOMES["login-required"]) expect(waitMs(outcome)).toBe(6 * HOUR_MS);
  });
});

it("every outcome is followed by a look, at a time that can be written", () => {
  check(
    fc.property(
      fc.constantFrom(...ALL_OUTCOMES),
      intervals,
      jitters,
      failureCounts,
      fc.option(fc.integer({ min: -8e12, max: 8e12 }), { nil: null }),
      fc.option(fc.integer({ min: -8e12, max: 8e12 }), { nil: null }),
      (outcome, intervalSec, jitter, failureCount, dueInMs, expiresInMs) => {
        const wait = waitMs(outcome, { intervalSec, jitter, failureCount, dueInMs, expiresInMs });
        expect(Number.isFinite(wait)).toBe(true);
        expect(wait).toBeGreaterThanOrEqual(outcome.kind === "fresh" || outcome.kind === "resting" ? 0 : 1);
        expect(wait).toBeLessThanOrEqual(Math.max(intervalSec * 1000, 1.2 * HOUR_MS));
      },
    ),
    { numRuns: 500 },
  );
});
