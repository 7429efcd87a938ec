import { describe, expect, it } from "vitest";
import { type Reading, readCredential } from "../../src/core/credential.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { isSameAccount, planCommit } from "../../src/core/reconcile.js";
import { Secret } from "../../src/core/secret.js";
import type { Presented } from "../../src/core/ticket.js";

const NOW_MS = Date.parse("2026-11-21T12:00:00Z");
const GRANTED = { access_token: new Secret("granted-access"), refresh_token: new Secret("granted-refresh") };
const NO_STAMPS = { issuedAtMs: null, lastRefreshMs: null };
const PRESENTED: Presented = {
  fingerprint: fingerprint(new Secret("presented")),
  accountIds: ["a"],
  stamps: { issuedAtMs: null, lastRefreshMs: Date.parse("2026-11-01T00:00:00Z") },
};

function login(refreshToken: string, options: { account?: string | null; last?: string } = {}): Reading {
  const account_id = options.account === undefined ? "a" : options.account;
  const last_refresh = options.last ?? "2026-11-01T00:00:00Z";
  return readCredential(JSON.stringify({ tokens: { refresh_token: refreshToken, account_id }, last_refresh }));
}

function plan(reading: Reading, presented = PRESENTED): unknown {
  return planCommit(reading, presented, GRANTED, NOW_MS);
}

describe("granted tokens", () => {
  it.each([
    ["the token that was presented", login("presented")],
    ["it, though the account was renamed", login("presented", { account: "b" })],
    ["an older token of the same account", login("backup", { last: "2026-10-31T23:59:59Z" })],
    ["an older token of an account without a name", login("backup", { account: null, last: "2026-10-01T00:00:00Z" })],
  ])("are written over %s", (_what, reading) => {
    const result = planCommit(reading, PRESENTED, GRANTED, NOW_MS);
    expect(result.kind).toBe("write");
    const text = result.kind === "write" ? result.text : "";
    expect(JSON.parse(text)).toMatchObject({
      tokens: { access_token: "granted-access", refresh_token: "granted-refresh" },
      last_refresh: "2026-11-21T12:00:00.000Z",
    });
  });

  it("that lie there already are done", () => {
    expect(plan(login("granted-refresh", { account: "b" }))).toEqual({ kind: "done" });
  });

  it.each([
    ["a newer token of the same account", login("other", { last: "2026-11-02T00:00:00Z" })],
    ["a token as old as the presented one", login("other")],
    ["a token of unknown age", login("other", { last: "never" })],
    ["another account, however old", login("other", { account: "b", last: "2020-01-01T00:00:00Z" })],
    ["another mode", readCredential('{"auth_mode":"apikey"}')],
  ])("yield to %s", (what, reading) => {
    expect(plan(reading)).toEqual({ kind: "yield", to: "newer-login", isCertain: what !== "a token of unknown age" });
  });

  it("yield to any other token when nobody knows how old the presented one was", () => {
    const reading = login("backup", { last: "2020-01-01T00:00:00Z" });
    expect(plan(reading, { ...PRESENTED, stamps: NO_STAMPS })).toEqual({
      kind: "yield",
      to: "newer-login",
      isCertain: false,
    });
  });

  it.each([
    ["a file that is gone", { kind: "absent" } as const],
    ["an emptied login", readCredential('{"tokens":{"refresh_token":""}}')],
  ])("never undo the logout of %s", (_what, reading) => {
    expect(plan(reading)).toEqual({ kind: "yield", to: "logout", isCertain: true });
  });

  it.each([
    ["empty", readCredential("")],
    ["torn", readCredential("{")],
    ["unreadable", readCredential("[]")],
  ])("wait while the file is %s", (_what, reading) => {
    expect(plan(reading)).toMatchObject({ kind: "unclear" });
  });
});

it("two credentials are of one account unless both name others", () => {
  expect(isSameAccount(["a"], ["a", "b"])).toBe(true);
  expect(isSameAccount([], ["a"])).toBe(true);
  expect(isSameAccount(["a"], [])).toBe(true);
  expect(isSameAccount(["a"], ["b"])).toBe(false);
});
