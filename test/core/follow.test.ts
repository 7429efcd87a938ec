import { describe, expect, it } from "vitest";
import { type LoginCopy, loginOf, type Reading, readCredential } from "../../src/core/credential.js";
import { type FollowOutcome, type FollowRefusal, planFollow, reportFollow } from "../../src/core/follow.js";
import { toFollowerText } from "../../src/core/follower-text.js";
import { makeAuthJson, makeTokens } from "../support/login.js";

const NOW_MS = Date.now();
const HOUR_MS = 3_600_000;

const OWN = makeAuthJson(makeTokens({ livesForSec: 1_000 }));
const NEW = makeAuthJson(makeTokens({ livesForSec: 1_000, expiresInSec: 900 }));
const NEWER = makeAuthJson(makeTokens({ livesForSec: 1_000, expiresInSec: 950 }));
const OLD = makeAuthJson(makeTokens({ livesForSec: 1_000, expiresInSec: 100 }));
const OTHER = makeAuthJson(makeTokens({ accountId: "acct-other" }), { accountId: "acct-other" });

const copyOf = (text: string): string => toFollowerText(text) ?? "";
const read = (text: string): Reading => readCredential(text);
const ABSENT: Reading = { kind: "absent" };

function planned(
  local: Reading,
  text: string,
  versions: [number | null, number | null] = [null, null],
  isTakeOver = false,
) {
  const plan = planFollow(local, { text, version: versions[0] }, versions[1], isTakeOver);
  if (plan.kind === "write") expect(plan.text).toBe(copyOf(text));
  return plan.kind === "refused" ? plan.why : plan.kind;
}

describe("a copy", () => {
  it.each<[string, Reading, [number | null, number | null], boolean, string]>([
    ["into an empty home", ABSENT, [null, null], false, "write"],
    ["over an empty file", read(""), [1, null], false, "write"],
    ["over an older copy", read(copyOf(OLD)), [null, null], false, "write"],
    ["over a copy that looks newer, when the store's number has risen", read(copyOf(NEWER)), [2, 1], false, "write"],
    ["over itself", read(copyOf(NEW)), [1, 1], false, "same"],
    ["over a login of the home's own", read(OWN), [null, null], false, "own-login"],
    ["over it, when that is wanted", read(OWN), [null, null], true, "write"],
    ["over an API key", read('{"auth_mode":"apikey"}'), [null, null], false, "other-mode"],
    ["over it, when that is wanted", read('{"auth_mode":"apikey"}'), [null, null], true, "write"],
    ["over another account's copy", read(copyOf(OTHER)), [null, null], false, "other-account"],
    ["over it, when that is wanted", read(copyOf(OTHER)), [null, null], true, "write"],
    ["over half a file", read("{"), [null, null], true, "unreadable"],
    ["over what can't be read", { kind: "unreadable", problem: "cannot be read" }, [null, null], true, "unreadable"],
    ["when the store's number has fallen", ABSENT, [1, 2], true, "older"],
  ])("%s", (_name, local, versions, isTakeOver, expected) => {
    expect(planned(local, NEW, versions, isTakeOver)).toBe(expected);
  });

  it("never takes the place of a newer one", () => {
    expect(planned(read(copyOf(NEW)), OLD)).toBe("older");
    expect(planned(read(copyOf(NEW)), OLD, [5, null])).toBe("older");
  });

  it("that is as old as the one here, or of which nothing tells the age, may come", () => {
    const twin = OLD.replace(/("id_token": ")[^"]+/, "$1x");
    expect(planned(read(copyOf(OLD)), twin)).toBe("write");
    const opaque = (token: string): string =>
      JSON.stringify({ auth_mode: "chatgpt", tokens: { access_token: token, refresh_token: "rt_1" } });
    expect(planned(read(copyOf(opaque("a"))), opaque("b"))).toBe("write");
  });

  it("is the same, whoever has emptied its refresh token", () => {
    expect(planFollow(read(copyOf(NEW)), { text: copyOf(NEW), version: null }, null, false).kind).toBe("same");
  });

  it.each([
    "",
    "{",
    "[]",
    "{}",
    '{"tokens":{}}',
    '{"auth_mode":"apikey","OPENAI_API_KEY":"x"}',
    '{"tokens":{"refresh_token":"rt"}}',
  ])("is not made of %j", (text) => {
    expect(planned(ABSENT, text)).toBe("not-a-login");
  });
});

describe("a follower says", () => {
  const follows = {
    source: "postgres://f@db/x",
    version: 7,
    fetchedAtMs: NOW_MS,
    ownerSeenAtMs: NOW_MS,
    isOwnerAlive: true,
  };
  const copy = (expiresInSec: number): LoginCopy | null =>
    loginOf(read(copyOf(makeAuthJson(makeTokens({ expiresInSec })))));

  it.each<[FollowOutcome, number, boolean | null, number, string, RegExp]>([
    [
      { kind: "copied", version: 7 },
      7_200,
      true,
      0,
      "ok",
      /^follow: copied version 7 of postgres:\/\/f@db\/x, good for (1 h 59 min|2 h)$/,
    ],
    [{ kind: "current" }, 7_200, true, 1, "ok", /^follow: holds version 7/],
    [{ kind: "current" }, 7_200, false, 1, "ok", /^follow: holds version 7/],
    [{ kind: "current" }, 1_800, false, 2, "degraded", /no owner was seen, and the copy expires soon$/],
    [{ kind: "current" }, 1_800, null, 1, "ok", /^follow: holds/],
    [{ kind: "current" }, -5, true, 2, "degraded", /the newest copy there has expired$/],
    [
      { kind: "unavailable", problem: "answers 500: see its log", isFinal: false },
      7_200,
      null,
      2,
      "degraded",
      /^follow: postgres:\/\/f@db\/x answers 500/,
    ],
    [
      { kind: "unavailable", problem: "answers 401: check it", isFinal: true },
      7_200,
      null,
      3,
      "degraded",
      /answers 401/,
    ],
    [
      { kind: "unwritten", problem: "cannot create /p (ENOSPC): free some space" },
      7_200,
      true,
      2,
      "degraded",
      /^follow: cannot create/,
    ],
  ])("%j with %i s left, owner alive: %s", (outcome, leftSec, isOwnerAlive, code, state, line) => {
    const report = reportFollow(outcome, copy(leftSec), { ...follows, isOwnerAlive }, NOW_MS);
    expect([report.exitCode, report.state]).toEqual([code, state]);
    expect(report.line).toMatch(line);
    expect(report.action !== null).toBe(report.exitCode > 1);
  });

  it.each<[FollowRefusal, number]>([
    ["own-login", 3],
    ["other-mode", 3],
    ["other-account", 3],
    ["not-a-login", 3],
    ["older", 2],
    ["unreadable", 2],
  ])("why it does not copy: %s", (why, code) => {
    const report = reportFollow({ kind: "refused", why, problem: "because" }, copy(HOUR_MS), follows, NOW_MS);
    expect([report.exitCode, report.reason]).toEqual([code, `follow_${why.replace("-", "_").replace("-", "_")}`]);
    expect(report.line).toBe(`follow: not copied from postgres://f@db/x: because; ${report.action}`);
  });

  it.each<[string, number, boolean | null, string | null, string]>([
    ["just expired", 0, true, "copy_expired", ", good for 0 s; the newest copy there has expired"],
    ["long expired", -HOUR_MS, null, "copy_expired", ", good for 0 s; the newest copy there has expired"],
    ["good for a while, and nobody sees to it", HOUR_MS - 1, false, "owner_silent", "the copy expires soon"],
    ["good for an hour, and nobody sees to it", HOUR_MS, false, "follows", ", good for 1 h"],
    ["good for a moment, and somebody sees to it", 1, true, "follows", ""],
  ])("of a copy that is %s", (_name, leftMs, isOwnerAlive, reason, end) => {
    const expiresAtMs = copy(7_200)?.accessClaims.expiresAtMs ?? Number.NaN;
    const report = reportFollow({ kind: "current" }, copy(7_200), { ...follows, isOwnerAlive }, expiresAtMs - leftMs);
    expect(report.reason).toBe(reason);
    expect(report.line.endsWith(end)).toBe(true);
  });

  it("of a copy whose end nobody knows that its owner is silent, and nothing of the time", () => {
    const opaque = loginOf(
      read(copyOf('{"auth_mode":"chatgpt","tokens":{"access_token":"x","refresh_token":"rt_1"}}')),
    );
    const say = (isOwnerAlive: boolean | null) =>
      reportFollow({ kind: "current" }, opaque, { ...follows, version: null, isOwnerAlive }, NOW_MS);
    expect(say(false)).toMatchObject({ reason: "owner_silent", exitCode: 2 });
    expect(say(null)).toMatchObject({ reason: "follows", line: "follow: holds of postgres://f@db/x" });
  });

  it.each<[FollowOutcome, string, string | null]>([
    [{ kind: "copied", version: 7 }, "followed", null],
    [{ kind: "current" }, "skip", null],
    [
      { kind: "refused", why: "older", problem: "p" },
      "fail:transient_follow",
      "put a new login with codex-auth-watchdog store put",
    ],
    [{ kind: "refused", why: "not-a-login", problem: "p" }, "fail:permanent_follow", "check what is stored there"],
    [{ kind: "unavailable", problem: "is away: see: it; wait", isFinal: false }, "fail:transient_follow", "wait"],
    [{ kind: "unavailable", problem: "answers 401: check it", isFinal: true }, "fail:permanent_follow", "check it"],
    [{ kind: "unwritten", problem: "cannot write (E): free it" }, "fail:transient_follow", "free it"],
  ])("of %j its word, and what to do", (outcome, word, action) => {
    expect(reportFollow(outcome, copy(7_200), follows, NOW_MS)).toMatchObject({ word, action });
  });

  it("that a copy which it can't find has expired", () => {
    expect(reportFollow({ kind: "current" }, null, follows, NOW_MS)).toMatchObject({ reason: "copy_expired" });
  });

  it("that there is no copy at all", () => {
    const report = reportFollow({ kind: "unavailable", problem: "is away", isFinal: false }, null, follows, NOW_MS);
    expect(report).toMatchObject({ exitCode: 2, state: "degraded" });
  });
});
