import { inspect } from "node:util";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { judgeAnswer, parseRetryAfterMs } from "../../src/core/grant.js";
import { findLeak, makeTokens } from "../support/login.js";
import { check } from "../support/property.js";

/** CODEX.md "How failures are judged", and the further clients' codes. */
const FINAL_CODES = {
  refresh_token_expired: "expired",
  refresh_token_reused: "reused",
  refresh_token_invalidated: "revoked",
  invalid_refresh_token: "revoked",
  token_invalidated: "revoked",
  app_session_terminated: "ended",
  access_denied: "ended",
  account_deactivated: "ended",
  account_suspended: "ended",
  account_deleted: "ended",
} as const;
const CONFIGURATION_CODES = ["invalid_client", "unauthorized_client", "invalid_scope"];

/** The three places of a code. */
const PLACES: readonly [place: string, make: (code: unknown) => unknown][] = [
  ["error", (code) => ({ error: code })],
  ["error.code", (code) => ({ error: { code, message: "…" }, code: "something_else" })],
  ["code", (code) => ({ error: { message: "…" }, code })],
];
const SPELLINGS: readonly ((code: string) => string)[] = [
  (code) => code,
  (code) => code.toUpperCase(),
  (code) => code.replace(/^./, (first) => first.toUpperCase()),
];

function judge(status: number, body: unknown) {
  return judgeAnswer(status, typeof body === "string" ? body : JSON.stringify(body));
}

describe.each(PLACES)("a code in %s", (_place, make) => {
  it.each(Object.entries(FINAL_CODES))("%s ends the login as %s, whatever the status and the case", (code, cause) => {
    for (const httpStatus of [302, 400, 401, 403, 404, 429, 500, 503]) {
      for (const spell of SPELLINGS) {
        expect(judge(httpStatus, make(spell(code)))).toEqual({ kind: "rejected", rejection: { cause, httpStatus } });
      }
    }
  });

  it.each(CONFIGURATION_CODES)("%s blames our settings, not the login", (code) => {
    for (const spell of SPELLINGS) {
      expect(judge(400, make(spell(code)))).toEqual({ kind: "refused", cause: "configuration" });
      expect(judge(401, make(spell(code)))).toEqual({ kind: "refused", cause: "configuration" });
    }
  });

  it("invalid_grant is final with 400 and 401 only", () => {
    for (const spell of SPELLINGS) {
      const body = make(spell("invalid_grant"));
      expect(judge(400, body)).toEqual({ kind: "rejected", rejection: { cause: "unnamed", httpStatus: 400 } });
      expect(judge(401, body)).toEqual({ kind: "rejected", rejection: { cause: "unnamed", httpStatus: 401 } });
      expect(judge(403, body)).toEqual({ kind: "refused", cause: "refused" });
      expect(judge(500, body)).toEqual({ kind: "ambiguous", cause: "server-error" });
    }
  });

  it.each(["constructor", "__proto__", "toString", "hasOwnProperty", "", "temporary-failure"])(
    "%j means nothing",
    (code) => {
      expect(judge(400, make(code))).toEqual({ kind: "refused", cause: "refused" });
    },
  );
});

it("takes the first place that holds a code", () => {
  const last = { error: { code: "temporary" }, code: "refresh_token_reused" };
  expect(judge(400, last).kind).toBe("refused");
  expect(judge(400, { error: 7, code: "refresh_token_reused" }).kind).toBe("rejected");
  expect(judge(400, { error: { code: null }, code: "refresh_token_reused" }).kind).toBe("rejected");
});

it("looks for a code in a JSON object only", () => {
  for (const body of [
    '["refresh_token_reused"]',
    '"refresh_token_reused"',
    "refresh_token_reused",
    '{"error":"refresh_token_reused"',
  ]) {
    expect(judgeAnswer(400, body).kind).toBe("refused");
  }
});

describe("a status without a known code", () => {
  it.each([
    [401, { kind: "rejected", rejection: { cause: "unnamed", httpStatus: 401 } }],
    [400, { kind: "refused", cause: "refused" }],
    [403, { kind: "refused", cause: "refused" }],
    [404, { kind: "refused", cause: "refused" }],
    [408, { kind: "refused", cause: "refused" }],
    [429, { kind: "refused", cause: "rate-limit" }],
    [301, { kind: "refused", cause: "redirect" }],
    [307, { kind: "refused", cause: "redirect" }],
    [503, { kind: "refused", cause: "unavailable" }],
    [500, { kind: "ambiguous", cause: "server-error" }],
    [502, { kind: "ambiguous", cause: "server-error" }],
    [504, { kind: "ambiguous", cause: "server-error" }],
    [530, { kind: "ambiguous", cause: "server-error" }],
  ])("%i is judged by itself", (httpStatus, expected) => {
    for (const body of ["", "<html>challenge</html>", "null", "[]", '{"error":{"code":"token_expired"}}']) {
      expect(judgeAnswer(httpStatus, body)).toEqual(expected);
    }
  });
});

describe("a success", () => {
  it("brings the tokens that it names, and their accounts", () => {
    const tokens = makeTokens({ accountId: "acct-9" });
    const result = judge(200, { ...tokens, expires_in: 10 });
    if (result.kind !== "granted") throw new Error(result.kind);
    const names = Object.entries(result.tokens).map(([name, token]) => [name, token.reveal()]);
    expect(Object.fromEntries(names)).toEqual(tokens);
    expect(result.accountIds).toEqual(["acct-9"]);
  });

  it("may leave tokens out", () => {
    const result = judge(200, { access_token: "opaque", refresh_token: "", id_token: null });
    expect(result).toMatchObject({ kind: "granted", accountIds: [] });
    expect(result.kind === "granted" && Object.keys(result.tokens)).toEqual(["access_token"]);
  });

  it.each([
    "",
    "{}",
    "null",
    "[]",
    "<html>",
    '{"access_token":7}',
    '{"access_token":"half',
    '{"error":"invalid_grant"}',
  ])("%j is unreadable, and may have cost the token", (body) => {
    expect(judgeAnswer(200, body)).toEqual({ kind: "ambiguous", cause: "bad-body" });
  });

  it("tells no token when it strays into a log", () => {
    const tokens = makeTokens();
    const result = judge(200, tokens);
    expect(findLeak(`${JSON.stringify(result)}${inspect(result, { depth: 9 })}`, Object.values(tokens))).toBeNull();
  });
});

it("judges any answer, and never throws", () => {
  const code = fc.constantFrom(...Object.keys(FINAL_CODES), "invalid_grant", "constructor", "__proto__", "valueOf");
  const body = fc.oneof(
    fc.string(),
    fc.json(),
    fc
      .record({ error: fc.oneof(code, fc.record({ code }), fc.jsonValue()), code: fc.oneof(code, fc.jsonValue()) })
      .map((value) => JSON.stringify(value)),
    fc
      .dictionary(fc.constantFrom("access_token", "id_token", "refresh_token"), fc.jsonValue())
      .map((value) => JSON.stringify(value)),
  );
  check(
    fc.property(fc.integer({ min: 100, max: 999 }), body, (httpStatus, text) => {
      const { kind } = judgeAnswer(httpStatus, text);
      expect(kind).toMatch(/^(granted|rejected|refused|ambiguous)$/);
      if (kind === "granted") expect(httpStatus).toSatisfy((status: number) => status >= 200 && status < 300);
    }),
    { numRuns: 1_000 },
  );
});

describe("Retry-After", () => {
  const nowMs = Date.parse("2026-11-21T12:00:00Z");

  it.each([
    ["0", 0],
    ["120", 120_000],
    [" 120 ", 120_000],
    ["99999", 3_600_000],
    ["9999999999", 3_600_000],
    ["Sat, 21 Nov 2026 12:01:00 GMT", 60_000],
    ["Sat, 21 Nov 2026 18:00:00 GMT", 3_600_000],
    ["Sat, 21 Nov 2026 11:00:00 GMT", 0],
  ])("%j is %i ms", (header, expected) => {
    expect(parseRetryAfterMs(header, nowMs)).toBe(expected);
  });

  it.each([null, "", "soon", "NaN", "12 apples and a pear"])("%j is none", (header) => {
    expect(parseRetryAfterMs(header, nowMs)).toBeNull();
  });

  it("is never below nothing, nor above an hour", () => {
    check(
      fc.property(fc.string(), (header) => {
        const waitMs = parseRetryAfterMs(header, nowMs);
        expect(waitMs === null || (waitMs >= 0 && waitMs <= 3_600_000)).toBe(true);
      }),
    );
  });
});
