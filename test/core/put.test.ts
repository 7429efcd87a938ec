import { describe, expect, it } from "vitest";
import { type Credential, readCredential } from "../../src/core/credential.js";
import { planPut } from "../../src/core/put.js";
import { makeAuthJson, makeJwt, makeTokens } from "../support/login.js";

function login(iat: number | null, accountId = "acct-test"): Credential {
  const claims = { "https://api.openai.com/auth": { chatgpt_account_id: accountId }, ...(iat === null ? {} : { iat }) };
  const tokens = { ...makeTokens({ accountId }), id_token: makeJwt(claims), access_token: makeJwt(claims) };
  const text = makeAuthJson(tokens, { accountId });
  const stamp = iat === null ? '"x": 1' : '"last_refresh": "2026-11-21T12:00:00Z"';
  const reading = readCredential(text.replace(/"last_refresh": "[^"]*"/, stamp));
  if (reading.kind !== "login") throw new Error(reading.kind);
  return reading.credential;
}

const NEW = login(2_000_000);

describe("a login is put", () => {
  it.each([
    ["where there is none", NEW, null],
    ["over an older one of the account", NEW, login(1_000_000)],
  ])("%s", (_name, offered, stored) => {
    expect(planPut(offered, stored, false)).toEqual({ kind: "put" });
  });
});

describe("a login is not put", () => {
  it.each([
    ["over itself", NEW, NEW, false, /stored already/],
    ["over a newer one", login(1_000_000), NEW, false, /the stored one is newer/],
    ["over one of the same age", login(2_000_000), NEW, false, /the stored one is newer/],
    ["over one of which nothing tells the age", login(null), login(null), false, /nothing tells whether it is newer/],
    ["over another account's", login(3_000_000, "acct-other"), NEW, false, /--credential/],
    ["when its token was presented before", NEW, login(1_000_000), true, /it is spent/],
    ["when its token was presented before, and nothing is there", NEW, null, true, /it is spent/],
  ])("%s", (_name, offered, stored, wasPresented, why) => {
    expect(planPut(offered, stored, wasPresented)).toEqual({ kind: "refused", why: expect.stringMatching(why) });
  });
});
