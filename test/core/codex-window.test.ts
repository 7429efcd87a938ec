import { describe, expect, it } from "vitest";
import { isCodexRefreshing } from "../../src/core/codex-window.js";
import { type Credential, changedTokens, readCredential } from "../../src/core/credential.js";
import { makeAuthJson, makeTokens } from "../support/login.js";

const NOW_MS = Date.parse("2026-11-21T12:00:00.000Z");
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

const claims = { issuedAtMs: null, accountId: null, email: null, plan: null };

function credential(expiresAtMs: number | null, lastRefreshMs: number | null): Credential {
  return { accessClaims: { ...claims, expiresAtMs }, lastRefreshMs } as unknown as Credential;
}

describe("Codex's own window", () => {
  it.each([
    ["expired", -1, true],
    ["5 minutes left", 5 * MINUTE_MS, true],
    ["a millisecond more", 5 * MINUTE_MS + 1, false],
    ["6 minutes left", 6 * MINUTE_MS, false],
  ])("goes by the access token's expiry alone: %s", (_, leftMs, expected) => {
    for (const lastRefreshMs of [null, NOW_MS, NOW_MS - 9 * DAY_MS]) {
      expect(isCodexRefreshing(credential(NOW_MS + leftMs, lastRefreshMs), NOW_MS)).toBe(expected);
    }
  });

  it.each([
    ["no last_refresh", null, true],
    ["9 days old", NOW_MS - 9 * DAY_MS, true],
    ["7 days old", NOW_MS - 7 * DAY_MS, false],
  ])("goes by the login's age where the expiry can't be read: %s", (_, lastRefreshMs, expected) => {
    expect(isCodexRefreshing(credential(null, lastRefreshMs), NOW_MS)).toBe(expected);
  });
});

describe("changedTokens", () => {
  function read(text: string): Credential {
    const reading = readCredential(text);
    if (reading.kind !== "login") throw new Error(`no login: ${reading.kind}`);
    return reading.credential;
  }

  it("names the tokens that differ", () => {
    const [old, next] = [makeTokens(), makeTokens()];
    const before = read(makeAuthJson(old));

    expect(changedTokens(before, read(makeAuthJson(next)))).toEqual(["id_token", "access_token", "refresh_token"]);
    expect(changedTokens(before, read(makeAuthJson({ ...next, id_token: old.id_token })))).toEqual([
      "access_token",
      "refresh_token",
    ]);
    expect(changedTokens(before, before)).toEqual([]);
  });
});
