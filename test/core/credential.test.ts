import { inspect } from "node:util";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Credential,
  compareStamps,
  knownAccounts,
  parseRfc3339Ms,
  readCredential,
  type Stamps,
  stampsOf,
} from "../../src/core/credential.js";
import { findLeak, makeAuthJson, makeJwt, makeTokens } from "../support/login.js";
import { check } from "../support/property.js";

function credentialOf(text: string): Credential {
  const reading = readCredential(text);
  if (reading.kind !== "login") throw new Error(`read as ${reading.kind}`);
  return reading.credential;
}

describe("a ChatGPT login", () => {
  it("is read with its token, its times and its accounts", () => {
    const tokens = makeTokens({ accountId: "acct-7" });
    const credential = credentialOf(makeAuthJson(tokens, { accountId: "acct-7" }));

    expect(credential.refreshToken.reveal()).toBe(tokens.refresh_token);
    expect(credential.accountIds).toEqual(["acct-7"]);
    expect(credential.accessClaims.expiresAtMs).not.toBeNull();
    expect(credential.lastRefreshMs).toBe(Date.parse(credential.lastRefreshText));
  });

  it("needs neither an access token that can be read nor a last_refresh", () => {
    const credential = credentialOf('{"tokens":{"refresh_token":"rt","access_token":"opaque"}}');
    expect(credential).toMatchObject({ lastRefreshText: "", lastRefreshMs: null, accountIds: [] });
    expect(credential.accessClaims.expiresAtMs).toBeNull();
  });

  it("stays one beside an API key when auth_mode says chatgpt", () => {
    expect(readCredential('{"auth_mode":"chatgpt","OPENAI_API_KEY":"k","tokens":{"refresh_token":"r"}}').kind).toBe(
      "login",
    );
  });

  it("names every account that the file names, once", () => {
    const access = makeJwt({ "https://api.openai.com/auth": { chatgpt_account_id: "a" } });
    const id = makeJwt({ "https://api.openai.com/auth": { chatgpt_account_id: "b" } });
    const tokens = { refresh_token: "r", access_token: access, id_token: id, account_id: "a" };
    expect(credentialOf(JSON.stringify({ tokens })).accountIds).toEqual(["a", "b"]);
  });

  it("drops a last_refresh that is no time", () => {
    const credential = credentialOf('{"last_refresh":"yesterday","tokens":{"refresh_token":"r"}}');
    expect(credential).toMatchObject({ lastRefreshText: "", lastRefreshMs: null });
  });

  it("keeps a last_refresh as the file spells it", () => {
    const spelled = "2026-11-21T20:54:21.209116652Z";
    const credential = credentialOf(`{"last_refresh":"${spelled}","tokens":{"refresh_token":"r"}}`);
    expect(credential.lastRefreshText).toBe(spelled);
    expect(credential.lastRefreshMs).toBe(Date.parse("2026-11-21T20:54:21.209Z"));
  });
});

describe("what is none of our business", () => {
  it.each([
    ['{"auth_mode":"apikey"}', "auth_mode=apikey"],
    ['{"auth_mode":"chatgptAuthTokens","tokens":{"refresh_token":"r"}}', "auth_mode=chatgptAuthTokens"],
    ['{"auth_mode":"ChatGPT","tokens":{"refresh_token":"r"}}', "auth_mode=ChatGPT"],
    ['{"auth_mode":"","tokens":{"refresh_token":"r"}}', "auth_mode=none"],
    ['{"auth_mode":"sk-live-0123456789"}', "auth_mode=unrecognized"],
    ['{"personal_access_token":{},"bedrock_api_key":"b"}', "auth_mode=personalAccessToken"],
    ['{"bedrock_api_key":"b","OPENAI_API_KEY":"k"}', "auth_mode=bedrockApiKey"],
    ['{"bedrock_access_keys":{},"OPENAI_API_KEY":"k"}', "auth_mode=bedrockAccessKeys"],
    ['{"OPENAI_API_KEY":"k","tokens":{"refresh_token":"r"}}', "auth_mode=apikey"],
    ['{"OPENAI_API_KEY":null}', "no_refresh_token"],
    ['{"tokens":null}', "no_refresh_token"],
    ['{"tokens":{"refresh_token":""}}', "no_refresh_token"],
    ['{"tokens":{"refresh_token":null}}', "no_refresh_token"],
  ])("%s is inert: %s", (text, reason) => {
    expect(readCredential(text)).toMatchObject({ kind: "inert", reason });
  });

  it("still tells when it was refreshed", () => {
    const reading = readCredential('{"auth_mode":"apikey","last_refresh":"2026-01-01T00:00:00Z"}');
    expect(reading).toMatchObject({ lastRefreshText: "2026-01-01T00:00:00Z", lastRefreshMs: Date.UTC(2026, 0, 1) });
  });
});

describe("what cannot be read", () => {
  it.each([
    ["", "empty"],
    [" \n\t", "empty"],
    ["{", "torn"],
    ['{"tokens":', "torn"],
    ["\uFEFF{}", "unreadable"],
    ["[]", "unreadable"],
    ["null", "unreadable"],
    ["7", "unreadable"],
    ['{"auth_mode":7}', "unreadable"],
    ['{"tokens":[]}', "unreadable"],
    ['{"tokens":{"refresh_token":7}}', "unreadable"],
    ['{"tokens":{"refresh_token":"r","access_token":{}}}', "unreadable"],
  ])("%j is %s", (text, kind) => {
    expect(readCredential(text).kind).toBe(kind);
  });

  it("is any beginning of a login's text", () => {
    const text = makeAuthJson(makeTokens());
    for (let length = 0; length < text.length; length += 1) {
      expect(["empty", "torn"]).toContain(readCredential(text.slice(0, length)).kind);
    }
  });
});

describe("any text", () => {
  const key = fc.oneof(
    fc.constantFrom("auth_mode", "tokens", "refresh_token", "access_token", "id_token", "account_id", "last_refresh"),
    fc.constantFrom("__proto__", "constructor", "toString", "valueOf", "toJSON", "OPENAI_API_KEY", "0"),
  );
  const { document } = fc.letrec((tie) => ({
    document: fc.oneof({ depthSize: "small" }, tie("leaf"), tie("object"), fc.array(tie("document"), { maxLength: 2 })),
    object: fc
      .array(fc.tuple(key, tie("document")), { maxLength: 5 })
      .map((entries) => Object.fromEntries(entries) as unknown),
    leaf: fc.oneof(fc.string(), fc.constantFrom("chatgpt", "a.b.c", null, true, 7)),
  }));

  it("yields a reading, and never throws", () => {
    const anyText = fc.oneof(
      fc.string(),
      fc.json(),
      document.map((value) => JSON.stringify(value)),
    );
    check(
      fc.property(anyText, (text) => {
        expect(readCredential(text).kind).toMatch(/^(login|inert|empty|torn|unreadable)$/);
      }),
      { numRuns: 1_000 },
    );
  });

  it("yields a reading though its id_token only looks like an object with a toString", () => {
    const text = '{"tokens":{"refresh_token":"r","id_token":{"toString":1,"valueOf":1}}}';
    expect(readCredential(text).kind).toMatch(/^(login|unreadable)$/);
  });

  it("yields a reading, however deeply it nests", () => {
    for (const depth of [128, 10_000, 1_000_000]) {
      const nested = `{"tokens":{"refresh_token":"r"},"x":${"[".repeat(depth)}${"]".repeat(depth)}}`;
      expect(readCredential(nested).kind).toMatch(/^(login|torn|unreadable)$/);
    }
  });
});

describe("a reading that strays into a log", () => {
  const tokens = makeTokens();
  const text = makeAuthJson(tokens);

  it.each([
    ["a login", text],
    ["half a login", text.slice(0, -2)],
    ["another mode", text.replace('"chatgpt"', '"chatgptAuthTokens"')],
    ["tokens in the wrong place", JSON.stringify({ tokens: [tokens] })],
    ["a token for a mode", JSON.stringify({ auth_mode: tokens.refresh_token, tokens })],
  ])("of %s tells no token", (_what, content) => {
    const reading = readCredential(content);
    const shown = `${JSON.stringify(reading)}\n${inspect(reading, { depth: 9, maxStringLength: null })}`;
    expect(findLeak(shown, Object.values(tokens))).toBeNull();
  });
});

describe("the age of a credential", () => {
  const at = (iat: number | undefined, lastRefresh: string | undefined): Stamps => {
    const tokens = { refresh_token: "r", access_token: makeJwt(iat === undefined ? {} : { iat }) };
    return stampsOf(credentialOf(JSON.stringify({ tokens, last_refresh: lastRefresh })));
  };
  const IN_2026 = "2026-01-01T00:00:00Z";
  const IN_2036 = "2036-01-01T00:00:00Z";

  it.each([
    ["the server's clock, whatever the writer's says", at(1_767_225_600, IN_2036), at(1_767_225_601, IN_2026), -1_000],
    ["last_refresh, where the server issued nothing new", at(1_000, IN_2026), at(1_000, IN_2036), -315_532_800_000],
    ["last_refresh, where no token tells", at(undefined, IN_2036), at(undefined, IN_2026), 315_532_800_000],
    ["what each of them has", at(1_767_225_601, undefined), at(undefined, IN_2026), 1_000],
    ["nothing that one of them lacks", at(undefined, undefined), at(1_000, IN_2026), null],
    ["nothing that the other lacks", at(1_000, IN_2026), at(undefined, undefined), null],
    ["nothing where they are the same", at(1_000, IN_2026), at(1_000, IN_2026), 0],
  ] as const)("is judged by %s", (_what, a, b, expected) => {
    expect(compareStamps(a, b)).toBe(expected);
    if (expected !== null) expect(compareStamps(b, a)).toBe(0 - expected);
  });
});

it("knows an account once, and only by a name", () => {
  expect(knownAccounts(["a", "", null, undefined, 7, {}, "b", "a"])).toEqual(["a", "b"]);
});

describe("an RFC 3339 time", () => {
  it.each([
    ["2026-11-21T20:54:21Z", "2026-11-21T20:54:21.000Z"],
    ["2026-11-21t20:54:21z", "2026-11-21T20:54:21.000Z"],
    ["2026-11-21 20:54:21Z", "2026-11-21T20:54:21.000Z"],
    ["2026-11-21T20:54:21", "2026-11-21T20:54:21.000Z"],
    ["2026-11-21T20:54:21.2Z", "2026-11-21T20:54:21.200Z"],
    ["2026-11-21T20:54:21.209116652Z", "2026-11-21T20:54:21.209Z"],
    ["2026-11-21T20:54:21.9999999999999999Z", "2026-11-21T20:54:21.999Z"],
    ["2026-11-21T20:54:21+02:00", "2026-11-21T18:54:21.000Z"],
    ["2026-11-21T20:54:21-0530", "2026-11-22T02:24:21.000Z"],
    ["2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"],
  ])("%s is %s", (text, iso) => {
    expect(parseRfc3339Ms(text)).toBe(Date.parse(iso));
  });

  it.each([
    "",
    "yesterday",
    "2026-11-21",
    "1763758461",
    "2026-11-21T20:54Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-01-32T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-11-21T25:00:00Z",
    "2026-11-21T20:60:21Z",
    "2026-11-21T20:54:21.Z",
    "2026-11-21T20:54:21+99:99",
    "2026-11-21T20:54:21ZZ",
    " 2026-11-21T20:54:21Z",
    "+02026-11-21T20:54:21Z",
  ])("%j is none", (text) => {
    expect(parseRfc3339Ms(text)).toBeNull();
  });

  it("reads every time that JavaScript writes", () => {
    const date = fc.date({ min: new Date("0000-01-01"), max: new Date("9999-12-31"), noInvalidDate: true });
    check(
      fc.property(date, (moment) => {
        expect(parseRfc3339Ms(moment.toISOString())).toBe(moment.getTime());
      }),
    );
  });

  it("never throws", () => {
    check(
      fc.property(fc.string(), (text) => {
        const ms = parseRfc3339Ms(text);
        expect(ms === null || Number.isFinite(ms)).toBe(true);
      }),
    );
  });
});
