import { describe, expect, it } from "vitest";
import { type Credential, readCredential } from "../../src/core/credential.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { damagedLoginOf, planGiveAway, planPut, storedLoginOf } from "../../src/core/put.js";
import type { HolderLife, Ticket, TicketState } from "../../src/core/ticket.js";
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
const UNKNOWN = { wasPresented: false, otherName: null };
const PRESENTED = { wasPresented: true, otherName: null };
const ELSEWHERE = { wasPresented: false, otherName: "second" };

describe("a login is put", () => {
  it.each([
    ["where there is none", NEW, null],
    ["over an older one of the account", NEW, login(1_000_000)],
  ])("%s", (_name, offered, stored) => {
    expect(planPut(offered, stored === null ? null : storedLoginOf(stored), UNKNOWN)).toEqual({ kind: "put" });
  });
});

describe("a login is not put", () => {
  it.each([
    ["over itself", NEW, NEW, UNKNOWN, /stored already/],
    ["over a newer one", login(1_000_000), NEW, UNKNOWN, /the stored one is newer/],
    ["over one of the same age", login(2_000_000), NEW, UNKNOWN, /the stored one is newer/],
    ["over one of which nothing tells the age", login(null), login(null), UNKNOWN, /nothing tells whether it is newer/],
    ["over another account's", login(3_000_000, "acct-other"), NEW, UNKNOWN, /--credential/],
    ["when it stands under another name", NEW, null, ELSEWHERE, /stored already, as second/],
    ["when it stands under another name, newer than here", NEW, login(1_000_000), ELSEWHERE, /as second/],
    ["when its token was presented before", NEW, login(1_000_000), PRESENTED, /it is spent/],
    ["when its token was presented before, and nothing is there", NEW, null, PRESENTED, /it is spent/],
  ])("%s", (_name, offered, stored, past, why) => {
    expect(planPut(offered, stored === null ? null : storedLoginOf(stored), past)).toEqual({
      kind: "refused",
      why: expect.stringMatching(why),
    });
  });
});

describe("over a row that nobody can open", () => {
  const [sameToken, other] = [fingerprint(NEW.refreshToken), "0".repeat(64)];
  const newMs = NEW.lastRefreshMs ?? Number.NaN;

  it.each([
    ["the same login", { fingerprint: sameToken, accountIds: '["acct-test"]', agedMs: newMs }, UNKNOWN, null],
    ["a newer one", { fingerprint: other, accountIds: '["acct-test"]', agedMs: newMs - 1 }, UNKNOWN, null],
    ["a newer one, where no account is named", { fingerprint: other, accountIds: "{", agedMs: 0 }, UNKNOWN, null],
    ["an older one", { fingerprint: other, accountIds: "[7]", agedMs: newMs + 1 }, UNKNOWN, /stored one is newer/],
    ["another account's", { fingerprint: other, accountIds: '["acct-other"]', agedMs: 0 }, UNKNOWN, /another account/],
    ["a spent one", { fingerprint: sameToken, accountIds: "[]", agedMs: 0 }, PRESENTED, /it is spent/],
    ["one with another name", { fingerprint: other, accountIds: "[]", agedMs: 0 }, ELSEWHERE, /as second/],
  ])("%s", (_name, row, past, why) => {
    const refusal = { kind: "refused", why: expect.stringMatching(why ?? "") };
    expect(planPut(NEW, damagedLoginOf(row), past)).toEqual(why === null ? { kind: "put" } : refusal);
  });
});

const NOW_MS = Date.UTC(2026, 10, 25);
const AN_HOUR_AGO = NOW_MS - 3_600_000;

function ticket(state: TicketState, life: HolderLife, atMs = AN_HOUR_AGO): Ticket {
  return { fingerprint: "a".repeat(64), attempt: 1, createdAtMs: atMs, state, life, prepared: null, rewrite: null };
}

describe("a home gives its login away", () => {
  it.each([
    ["without any ticket", []],
    ["when a request was given up before it left", [ticket({ kind: "prepared" }, "gone")]],
    ["when its writer died over the first line", [ticket({ kind: "blank" }, "unknown")]],
  ])("%s", (_name, tickets) => {
    expect(planGiveAway(tickets, NOW_MS)).toEqual({ kind: "give" });
  });
});

describe("a home keeps its login", () => {
  const sent = { atMs: AN_HOUR_AGO, cause: null } as const;
  const rejection = { cause: "reused", httpStatus: 401 } as const;
  const answer = { kind: "rejected", rejection } as const;
  const [spent, unknown] = [/server has refused/, /nobody knows what became of it/];

  it.each([
    ["a request is about to leave", [ticket({ kind: "prepared" }, "alive", NOW_MS - 1_000)]],
    ["a request is under way", [ticket({ kind: "dispatched", ...sent }, "alive")]],
    ["an answer waits", [ticket({ kind: "answered", result: answer, isWhole: true, atMs: AN_HOUR_AGO }, "gone")]],
    [
      "one of several is under way",
      [ticket({ kind: "unanswered", ...sent }, "gone"), ticket({ kind: "dispatched", ...sent }, "alive")],
    ],
  ])("for now, while %s", (_name, tickets) => {
    expect(planGiveAway(tickets, NOW_MS)).toEqual({ kind: "wait" });
  });

  it.each([
    ["its process died over a request", [ticket({ kind: "dispatched", ...sent }, "gone")], unknown],
    ["a request got no answer", [ticket({ kind: "unanswered", ...sent, cause: "deadline" }, "gone")], unknown],
    ["nobody can read what a ticket says", [ticket({ kind: "opaque" }, "unknown")], unknown],
    ["the server has refused it", [ticket({ kind: "rejected", rejection }, "gone")], spent],
    [
      "a refusal followed a lost answer",
      [ticket({ kind: "unanswered", ...sent }, "gone"), ticket({ kind: "rejected", rejection }, "gone")],
      spent,
    ],
  ])("for good, when %s", (_name, tickets, why) => {
    expect(planGiveAway(tickets, NOW_MS)).toEqual({ kind: "refused", why: expect.stringMatching(why) });
  });
});
