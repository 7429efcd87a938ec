import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Credential, readCredential } from "../../src/core/credential.js";
import { decide } from "../../src/core/decide.js";
import { makeJwt } from "../support/login.js";
import { check } from "../support/property.js";

const NOW_SEC = 1_800_000_000;
const NOW_MS = NOW_SEC * 1000;
const HOUR = 3_600;
const DAY = 86_400;
const POLICY = { safetyMarginSec: 4 * HOUR, staleAfterSec: 7 * DAY };

interface Life {
  readonly exp?: number | undefined;
  readonly iat?: number | undefined;
  readonly lastRefreshSec?: number | undefined;
}

function credential({ exp, iat, lastRefreshSec }: Life): Credential {
  const access_token = makeJwt({ ...(exp === undefined ? {} : { exp }), ...(iat === undefined ? {} : { iat }) });
  const last_refresh = lastRefreshSec === undefined ? null : new Date(lastRefreshSec * 1000).toISOString();
  const reading = readCredential(JSON.stringify({ tokens: { refresh_token: "r", access_token }, last_refresh }));
  if (reading.kind !== "login") throw new Error(reading.kind);
  return reading.credential;
}

function dueInSec(life: Life): number {
  return (decide(credential(life), NOW_MS, POLICY).dueAtMs - NOW_MS) / 1000;
}

describe("a login falls due", () => {
  it("a safety margin before its access token expires", () => {
    expect(dueInSec({ exp: NOW_SEC + 10 * HOUR })).toBe(6 * HOUR);
    expect(decide(credential({ exp: NOW_SEC + 4 * HOUR }), NOW_MS, POLICY).kind).toBe("due");
    expect(decide(credential({ exp: NOW_SEC + 4 * HOUR + 1 }), NOW_MS, POLICY).kind).toBe("fresh");
  });

  it("when its last refresh is a week old, though the access token lives on", () => {
    expect(dueInSec({ exp: NOW_SEC + 90 * DAY, lastRefreshSec: NOW_SEC - 6 * DAY })).toBe(DAY);
    expect(
      decide(credential({ exp: NOW_SEC + 90 * DAY, lastRefreshSec: NOW_SEC - 7 * DAY }), NOW_MS, POLICY).kind,
    ).toBe("due");
  });

  it("by its age alone when the expiry is unknown", () => {
    expect(dueInSec({ lastRefreshSec: NOW_SEC - DAY })).toBe(6 * DAY);
  });

  it("at once when nothing is known", () => {
    expect(decide(credential({}), NOW_MS, POLICY)).toEqual({ kind: "due", dueAtMs: NOW_MS });
  });

  it("after two thirds of the life of a token that is shorter than three margins", () => {
    expect(dueInSec({ exp: NOW_SEC + HOUR, iat: NOW_SEC })).toBe((2 / 3) * HOUR);
    expect(dueInSec({ exp: NOW_SEC + 12 * HOUR, iat: NOW_SEC })).toBe(8 * HOUR);
    expect(dueInSec({ exp: NOW_SEC + 10 * DAY, iat: NOW_SEC })).toBe(10 * DAY - 4 * HOUR);
  });

  it("by the margin as set when a token was issued after it expired", () => {
    expect(dueInSec({ exp: NOW_SEC + HOUR, iat: NOW_SEC + 2 * HOUR })).toBe(-3 * HOUR);
  });

  it("by the access token alone when last_refresh lies ahead of the clock", () => {
    expect(dueInSec({ exp: NOW_SEC + 10 * HOUR, lastRefreshSec: NOW_SEC + DAY })).toBe(6 * HOUR);
    expect(decide(credential({ lastRefreshSec: NOW_SEC + DAY }), NOW_MS, POLICY).kind).toBe("due");
    expect(decide(credential({ lastRefreshSec: NOW_SEC + 299 }), NOW_MS, POLICY).kind).toBe("fresh");
  });
});

const second = fc.integer({ min: NOW_SEC - 400 * DAY, max: NOW_SEC + 400 * DAY });
const maybe = fc.option(second, { nil: undefined });
const jitters = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const policies = fc.record({
  safetyMarginSec: fc.nat(30 * DAY),
  staleAfterSec: fc.nat(90 * DAY),
  jitter: jitters,
});

it("once due, later is still due", () => {
  const past = fc.option(fc.integer({ min: NOW_SEC - 400 * DAY, max: NOW_SEC + 299 }), { nil: undefined });
  check(
    fc.property(maybe, maybe, past, policies, fc.nat(400 * DAY), (exp, iat, lastRefreshSec, policy, laterSec) => {
      const login = credential({ exp, iat, lastRefreshSec });
      fc.pre(decide(login, NOW_MS, policy).kind === "due");
      expect(decide(login, NOW_MS + laterSec * 1000, policy).kind).toBe("due");
    }),
    { numRuns: 500 },
  );
});

it("a login that is fresh is due at the time that was told, and not before", () => {
  check(
    fc.property(maybe, maybe, maybe, policies, (exp, iat, lastRefreshSec, policy) => {
      const login = credential({ exp, iat, lastRefreshSec });
      const { kind, dueAtMs } = decide(login, NOW_MS, policy);
      fc.pre(kind === "fresh" && (lastRefreshSec ?? 0) <= NOW_SEC);
      expect(decide(login, dueAtMs, policy).kind).toBe("due");
      expect(decide(login, Math.max(NOW_MS, Math.ceil(dueAtMs) - 1), policy).kind).toBe("fresh");
    }),
    { numRuns: 500 },
  );
});

it("a token that arrives whole is never due on arrival", () => {
  check(
    fc.property(fc.integer({ min: 2, max: 400 * DAY }), policies, (livesForSec, policy) => {
      fc.pre(policy.staleAfterSec > 0);
      const login = credential({ exp: NOW_SEC + livesForSec, iat: NOW_SEC, lastRefreshSec: NOW_SEC });
      expect(decide(login, NOW_MS, policy).kind).toBe("fresh");
    }),
  );
});

it("jitter makes a login due earlier, never later, by a sixteenth of the margin at most", () => {
  check(
    fc.property(maybe, maybe, maybe, policies, (exp, iat, lastRefreshSec, policy) => {
      fc.pre(exp !== undefined || (lastRefreshSec ?? Number.POSITIVE_INFINITY) <= NOW_SEC);
      const login = credential({ exp, iat, lastRefreshSec });
      const without = decide(login, NOW_MS, { ...policy, jitter: 0 }).dueAtMs;
      const earlierMs = without - decide(login, NOW_MS, policy).dueAtMs;
      // Years in milliseconds leave a double some thousandths.
      expect(earlierMs).toBeGreaterThanOrEqual(-0.01);
      expect(earlierMs).toBeLessThanOrEqual((policy.safetyMarginSec * 1000) / 16 + 0.01);
    }),
  );
});

it.each([
  ["an hour", HOUR, 0.03],
  ["ten days", 10 * DAY, 0.002],
])("jitter spreads a hundred processes over a token of %s, and wastes little of it", (_life, livesForSec, wasted) => {
  const login = credential({ exp: NOW_SEC + livesForSec, iat: NOW_SEC, lastRefreshSec: NOW_SEC });
  const dueSec = Array.from({ length: 100 }, (_none, index) => {
    const { dueAtMs } = decide(login, NOW_MS, { ...POLICY, jitter: index / 100 });
    return Math.floor(dueAtMs / 1000);
  });
  const fullestSecond = Math.max(...dueSec.map((sec) => dueSec.filter((other) => other === sec).length));
  expect(fullestSecond).toBeLessThanOrEqual(2);
  expect(Math.max(...dueSec) - Math.min(...dueSec)).toBeLessThanOrEqual(wasted * livesForSec);
});
