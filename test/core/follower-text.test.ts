import * as fc from "fast-check";
import { expect, it } from "vitest";
import { readCredential } from "../../src/core/credential.js";
import { toFollowerText } from "../../src/core/follower-text.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { check } from "../support/property.js";

const TOKENS = makeTokens();
const TEXT = makeAuthJson(TOKENS);

it("has all that Codex needs, and an empty refresh token", () => {
  const copy = JSON.parse(toFollowerText(TEXT) ?? "") as Record<string, unknown>;
  expect(copy).toEqual({ ...JSON.parse(TEXT), tokens: { ...TOKENS, account_id: "acct-test", refresh_token: "" } });
  const reading = readCredential(JSON.stringify(copy));
  expect(reading).toMatchObject({ kind: "inert", reason: "no_refresh_token" });
  expect(reading.kind === "inert" && reading.copy?.accountIds).toEqual(["acct-test"]);
});

it("has no other secret of the owner's", () => {
  const text = TEXT.replace('"OPENAI_API_KEY": null', '"OPENAI_API_KEY": "sk-made-up", "agent_identity": "secret"');
  expect(toFollowerText(text)).not.toMatch(/sk-made-up|secret/);
});

it("is of the ChatGPT mode, with the fields that Codex knows, where they are text", () => {
  const tokens = { ...TOKENS, account_id: "a", agent_token: "secret" };
  const parse = (document: unknown): unknown => JSON.parse(toFollowerText(JSON.stringify(document)) ?? "");
  expect(parse({ auth_mode: "chatgptAuthTokens", tokens, last_refresh: "x", more: "secret" })).toEqual({
    auth_mode: "chatgpt",
    OPENAI_API_KEY: null,
    tokens: { ...TOKENS, account_id: "a", refresh_token: "" },
    last_refresh: "x",
  });
  const none = { auth_mode: "chatgpt", OPENAI_API_KEY: null, tokens: { refresh_token: "" } };
  const odd = { id_token: 1, access_token: {}, refresh_token: 5, account_id: null };
  expect(parse({ tokens: odd, last_refresh: 5 })).toEqual(none);
  expect(parse({ tokens: {} })).toEqual(none);
});

it("of a follower's text is that text", () => {
  const copy = toFollowerText(TEXT) ?? "";
  expect(copy).not.toBe("");
  expect(toFollowerText(copy)).toBe(copy);
});

it("of a text with a field twice has neither of its refresh tokens", () => {
  const twice = TEXT.replace('"refresh_token"', '"refresh_token": "rt_made_up_first", "refresh_token"');
  expect(twice).not.toBe(TEXT);
  expect(toFollowerText(twice)).not.toMatch(/rt_/);
  const before = TEXT.replace('"tokens"', '"tokens": {"refresh_token": "rt_made_up_first"}, "tokens"');
  expect(toFollowerText(before)).not.toMatch(/rt_/);
});

it.each([
  ["no JSON", "{"],
  ["no object", "[]"],
  ["no tokens", '{"auth_mode":"apikey"}'],
  ["its refresh token elsewhere", TEXT.replace("acct-test", TOKENS.refresh_token)],
])("there is none of %s", (_name, text) => {
  expect(toFollowerText(text)).toBeNull();
});

it("never holds the refresh token, wherever it stands", () => {
  const places = ["id_token", "access_token", "account_id", "refresh_token", "more"];
  check(
    fc.property(fc.string({ minLength: 8 }), fc.subarray(places), fc.boolean(), (token, names, isTwice) => {
      const fields = [...names, "refresh_token"].map((name) => `${JSON.stringify(name)}: ${JSON.stringify(token)}`);
      const tokens = `"tokens": {${fields.join(",")}}`;
      const text = toFollowerText(`{${isTwice ? `${tokens},` : ""}${tokens}, "last_refresh": "x"}`);
      expect(text === null || !text.includes(JSON.stringify(token).slice(1, -1))).toBe(true);
    }),
  );
});
