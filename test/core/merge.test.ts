import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergeTokens } from "../../src/core/merge.js";
import { Secret } from "../../src/core/secret.js";
import { check } from "../support/property.js";

const NOW_MS = Date.parse("2026-11-21T12:00:00.000Z");
const NOW = "2026-11-21T12:00:00.000Z";
const GRANTED = {
  id_token: new Secret("NEW-I"),
  access_token: new Secret("NEW-A"),
  refresh_token: new Secret("NEW-R"),
};

/** A text as Codex writes it, with a place for more. */
function authJson(more: string): string {
  return `{
  "auth_mode": "chatgpt",
  "OPENAI_API_KEY": null,
  ${more}"tokens": {
    "id_token": "OLD-I",
    "access_token": "OLD-A",
    "refresh_token": "OLD-R",
    "account_id": "acct"
  },
  "last_refresh": "2020-01-01T00:00:00Z"
}`;
}

/** What a text must become when only the four values change. */
function expected(text: string): string {
  return text
    .replace("OLD-I", "NEW-I")
    .replace("OLD-A", "NEW-A")
    .replace("OLD-R", "NEW-R")
    .replace("2020-01-01T00:00:00Z", NOW);
}

function merge(text: string, granted: Parameters<typeof mergeTokens>[1] = GRANTED): string {
  return mergeTokens(text, granted, NOW_MS) ?? "";
}

describe("merging", () => {
  it.each([
    ["a plain login", ""],
    ["a number too large for JavaScript", '"huge": 1e400, '],
    ["a number too long for JavaScript", '"id": 12345678901234567890, '],
    ["a number with a trailing zero", '"version": 1.0, '],
    ["a negative zero", '"zero": -0, '],
    ["keys that look like list places", '"10": 1, "9": 2, "b": 3, "a": 4, '],
    ["a key called __proto__", '"__proto__": {"polluted": 1}, '],
    ["a key called constructor", '"constructor": {"prototype": 1}, '],
    ["an unknown key that stands twice", '"twice": 1, "twice": 2, '],
    ["escapes", '"text": "\\u00e9\\/\\ud83d\\ude00 é", '],
    ["an empty key", '"": {"": []}, '],
    ["128 levels", `"deep": ${"[".repeat(120)}${"]".repeat(120)}, `],
    ["strange spacing", '"a"\t:\r\n  [ 1 ,2 ] ,\n\n\n  '],
  ])("changes nothing else in %s", (_what, more) => {
    const text = authJson(more);
    expect(merge(text)).toBe(expected(text));
  });

  it("keeps unknown fields among the tokens", () => {
    const text = authJson("").replace('"account_id"', '"__proto__": 1e400, "expires_in": 1.0, "account_id"');
    expect(merge(text)).toBe(expected(text));
  });

  it("adds no newline at the end, and takes none away", () => {
    expect(merge(authJson(""))).not.toMatch(/\n$/);
    expect(merge(`${authJson("")}\n`)).toMatch(/\}\n$/);
  });

  it("keeps the writer's layout", () => {
    for (const indent of [undefined, 4, "\t"]) {
      const text = JSON.stringify(JSON.parse(authJson("")), null, indent);
      expect(merge(text)).toBe(expected(text));
    }
    const windows = authJson("").replaceAll("\n", "\r\n");
    expect(merge(windows)).toBe(expected(windows));
  });

  it("keeps the tokens that the answer leaves out", () => {
    const merged = JSON.parse(merge(authJson(""), { refresh_token: new Secret("NEW-R") }));
    expect(merged.tokens).toEqual({
      id_token: "OLD-I",
      access_token: "OLD-A",
      refresh_token: "NEW-R",
      account_id: "acct",
    });
    expect(merged.last_refresh).toBe(NOW);
  });

  it("adds what was not there", () => {
    const merged = JSON.parse(merge('{"tokens":{"refresh_token":"OLD-R"},"kept":[1]}'));
    expect(merged).toEqual({
      tokens: { id_token: "NEW-I", access_token: "NEW-A", refresh_token: "NEW-R" },
      kept: [1],
      last_refresh: NOW,
    });
  });

  it.each([
    ["a token", '{"tokens":{"refresh_token":"OLD-1","refresh_token":"OLD-R"},"kept":{"__proto__":1}}'],
    [
      "the tokens",
      '{"tokens":{"refresh_token":"OLD-1"},"kept":{"__proto__":1},"tokens":{"refresh_token":"OLD-R","more":1}}',
    ],
    [
      "last_refresh",
      '{"tokens":{"refresh_token":"OLD-R"},"last_refresh":"a","last_refresh":"b","kept":{"__proto__":1}}',
    ],
  ])("reaches the readers of a text in which %s stands twice", (_what, text) => {
    const merged = merge(text);
    const document = JSON.parse(merged);
    expect(document.tokens).toMatchObject({ id_token: "NEW-I", access_token: "NEW-A", refresh_token: "NEW-R" });
    expect(document.last_refresh).toBe(NOW);
    expect(Object.keys(document.kept)).toEqual(["__proto__"]);
    expect(merged).not.toMatch(/OLD/);
  });

  it("keeps numbers that JavaScript cannot hold, though a token stands twice", () => {
    const text = '{"huge":1e400,"id":12345678901234567890,"tokens":{"refresh_token":"OLD-1","refresh_token":"OLD-R"}}';
    const merged = merge(text);
    expect(merged).toContain("12345678901234567890");
    expect(merged).toMatch(/1e\+?400/);
  });

  it("gives up, without an error, on a text that nests too deeply", () => {
    const depth = 200_000;
    expect(mergeTokens(authJson(`"deep": ${"[".repeat(depth)}${"]".repeat(depth)}, `), GRANTED, NOW_MS)).toBeNull();
  });

  it("keeps every other field of any login, and its order", () => {
    const key = fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "7", "-1", "toString"));
    const others = fc.array(fc.tuple(key, fc.json()), { maxLength: 6 });
    check(
      fc.property(others, others, fc.boolean(), (before, among, isSpaced) => {
        const gap = isSpaced ? "\n  " : "";
        const isOwn = ([name]: [string, string]): boolean => !/^(tokens|last_refresh|.*_token)$/.test(name);
        const fields = (list: [string, string][]): string =>
          list
            .filter(isOwn)
            .map(([name, value]) => `${JSON.stringify(name)}:${gap}${value},${gap}`)
            .join("");
        const tokens = `"tokens":{${fields(among)}"id_token":"OLD-I","access_token":"OLD-A","refresh_token":"OLD-R"}`;
        const text = `{${fields(before)}${tokens},${gap}"last_refresh":"2020-01-01T00:00:00Z"}`;
        fc.pre(!/OLD-|2020-01-01/.test(`${fields(before)}${fields(among)}`));
        expect(merge(text)).toBe(expected(text));
      }),
      { numRuns: 300 },
    );
  });

  it("carries any token there and back", () => {
    check(
      fc.property(fc.string({ minLength: 1, unit: "binary" }), (token) => {
        const merged = JSON.parse(merge(authJson(""), { refresh_token: new Secret(token) }));
        expect(merged.tokens.refresh_token).toBe(token);
      }),
    );
  });
});
