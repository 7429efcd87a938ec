import * as fc from "fast-check";
import { expect, it } from "vitest";
import { readClaims } from "../../src/core/claims.js";
import { makeJwt } from "../support/login.js";
import { check } from "../support/property.js";

const NOTHING = { expiresAtMs: null, issuedAtMs: null, accountId: null, email: null, plan: null };

it("reads expiry, issue, account, e-mail and plan of a token", () => {
  const token = makeJwt({
    exp: 1_800_000_000,
    iat: 1_799_000_000,
    email: "ada@example.com",
    "https://api.openai.com/auth": { chatgpt_account_id: "acct-1", chatgpt_plan_type: "plus" },
  });
  const [email, plan] = ["ada@example.com", "plus"];
  const expected = { expiresAtMs: 1_800_000_000_000, issuedAtMs: 1_799_000_000_000, accountId: "acct-1", email, plan };
  expect(readClaims(token)).toEqual(expected);
});

it.each([7, "", "nobody", "a b@c", "a@b\u001b[31m", `${"a".repeat(65)}@b`])("shows no e-mail that is %j", (email) => {
  expect(readClaims(makeJwt({ email })).email).toBeNull();
});

it.each([7, "", "a plan", "\u001b[31m", "p".repeat(31)])("shows no plan that is %j", (chatgpt_plan_type) => {
  expect(readClaims(makeJwt({ "https://api.openai.com/auth": { chatgpt_plan_type } })).plan).toBeNull();
});

it("reads fractions of a second, as RFC 7519 allows", () => {
  expect(readClaims(makeJwt({ exp: 1_800_000_000.25 })).expiresAtMs).toBe(1_800_000_000_250);
});

it.each([
  ["a string", "1800000000"],
  ["null", null],
  ["a list", [1_800_000_000]],
  ["a number past the year 9999", 253_402_300_800],
  ["milliseconds in place of seconds", 1_800_000_000_000],
])("takes %s for no expiry", (_what, exp) => {
  expect(readClaims(makeJwt({ exp })).expiresAtMs).toBeNull();
});

it.each([[{}], [null], [["acct"]], [{ chatgpt_account_id: 7 }], [{ chatgpt_account_id: "" }]])(
  "finds no account in %j",
  (auth) => {
    expect(readClaims(makeJwt({ "https://api.openai.com/auth": auth })).accountId).toBeNull();
  },
);

it.each(["", "opaque", "a.b.c", "..", "e30.e30", "e30.bnVsbA.x", "e30.W10.x"])("knows nothing about %j", (token) => {
  expect(readClaims(token)).toEqual(NOTHING);
});

it("never throws, and answers in the years that RFC 3339 can write", () => {
  const anyToken = fc.oneof(
    fc.string(),
    fc.dictionary(fc.constantFrom("exp", "iat", "x"), fc.jsonValue()).map(makeJwt),
  );
  check(
    fc.property(anyToken, (token) => {
      const { expiresAtMs, issuedAtMs } = readClaims(token);
      for (const ms of [expiresAtMs, issuedAtMs]) {
        if (ms !== null) expect(new Date(ms).toISOString()).toMatch(/^\d{4}-/);
      }
    }),
  );
});

it("takes a time before 1970 for 1970: long ago, and RFC 3339 has words for it", () => {
  expect(readClaims(makeJwt({ exp: -253_402_300_799 })).expiresAtMs).toBe(0);
});
