import { describe, expect, it } from "vitest";
import { readCredential } from "../../src/core/credential.js";
import { isUncertain } from "../../src/core/grant.js";
import { type CycleOutcome, outcomeWithoutLogin, reportOutcome } from "../../src/core/outcome.js";
import { ALL_OUTCOMES, OUTCOMES } from "../support/outcomes.js";

const LOCATION = "/home/agent/.codex/auth.json";

function lineOf(outcome: CycleOutcome): string {
  return reportOutcome(outcome, LOCATION).line;
}

const EXIT_CODES: Readonly<Record<CycleOutcome["kind"], number>> = {
  refreshed: 0,
  absent: 1,
  inert: 1,
  "other-store": 1,
  fresh: 1,
  adopted: 1,
  "left-to-owner": 1,
  "owner-missing": 2,
  unreadable: 2,
  blocked: 2,
  busy: 2,
  stopped: 2,
  braked: 2,
  transient: 2,
  resting: 2,
  "login-required": 3,
  unsaved: 4,
};

describe.each(ALL_OUTCOMES.map((outcome) => [JSON.stringify(outcome), outcome] as const))("%s", (_name, outcome) => {
  const report = reportOutcome(outcome, LOCATION);

  it("has its exit code, one line and a code for programs", () => {
    expect(report.exitCode).toBe(EXIT_CODES[outcome.kind]);
    expect(report.line).toMatch(/^\S[^\n\r]*\S$/);
    expect(report.line).not.toMatch(/undefined|\[object|NaN/);
    expect(report.reason).toMatch(/^[a-z0-9_]+$/);
    expect(report.word).toMatch(/^[a-z_:0-9]+$/);
  });

  it("asks for a person only when a person can help", () => {
    const isBad = report.exitCode === 3 || report.exitCode === 4;
    if (isBad) expect(report.action).not.toBeNull();
    if (report.exitCode < 2) expect(report.action).toBeNull();
    expect(report.state === "login_required").toBe(report.exitCode === 3);
    expect(report.state === "unsaved").toBe(report.exitCode === 4);
    expect(report.state === "degraded").toBe(report.exitCode === 2);
  });
});

describe("the shell script's words", () => {
  it("stand for a login that is not there", () => {
    expect(lineOf({ kind: "absent" })).toContain(`${LOCATION} absent or empty`);
    expect(reportOutcome({ kind: "absent" }, LOCATION).word).toBe("skip:no_auth_json");
  });

  it("stand for what is none of our business", () => {
    expect(lineOf({ kind: "inert", reason: "auth_mode=apikey" })).toBe("no-op: auth_mode=apikey");
    expect(lineOf({ kind: "inert", reason: "no_refresh_token" })).toBe("no-op: no_refresh_token");
  });

  it("stand for a fresh login", () => {
    expect(lineOf({ kind: "fresh", expiresInSec: 5, ageSec: 7 })).toBe("no-op: fresh exp_in=5s age=7s");
    expect(lineOf({ kind: "fresh", expiresInSec: null, ageSec: null })).toContain("exp_in=unknown");
    for (const outcome of [...OUTCOMES.fresh, ...OUTCOMES.adopted, ...OUTCOMES.inert]) {
      expect(lineOf(outcome)).toContain("no-op");
      expect(reportOutcome(outcome, LOCATION).word).toBe("skip");
    }
  });

  it("stand for a refresh", () => {
    for (const outcome of OUTCOMES.refreshed) {
      expect(lineOf(outcome)).toContain("refresh: ok (http=200) rotated=access_token,refresh_token");
      expect(reportOutcome(outcome, LOCATION).word).toBe("refreshed");
    }
  });

  it("stand for a dead login", () => {
    for (const outcome of OUTCOMES["login-required"]) {
      expect(lineOf(outcome)).toContain("PERMANENT");
      expect(reportOutcome(outcome, LOCATION).word).toBe(`fail:permanent_${outcome.rejection.httpStatus}`);
    }
  });

  it("stand for what may pass by itself", () => {
    for (const outcome of OUTCOMES.transient) {
      expect(lineOf(outcome)).toContain("transient");
      expect(reportOutcome(outcome, LOCATION).word).toMatch(/^fail:(transient_\d{3}|apply_response)$/);
    }
    expect(reportOutcome(OUTCOMES.transient[8] ?? { kind: "absent" }, LOCATION).word).toBe("fail:transient_000");
  });
});

it("says whether the token may be spent", () => {
  for (const outcome of OUTCOMES.transient) {
    expect(lineOf(outcome)).toContain(
      outcome.wasSent ? "not known whether the token was spent" : "the token is unspent",
    );
  }
});

it("says that a remembered rejection sent nothing", () => {
  for (const outcome of OUTCOMES["login-required"]) {
    expect(lineOf(outcome).includes("nothing was sent")).toBe(outcome.isLatched);
  }
});

it("advises --force only where it would help", () => {
  for (const outcome of OUTCOMES["login-required"]) {
    expect(lineOf(outcome).includes("--force")).toBe(isUncertain(outcome.rejection.cause));
  }
});

it.each([
  ["", { kind: "absent" }],
  ["{", { kind: "unreadable", problem: "is not complete JSON; mend it, or log in again" }],
  ["[]", { kind: "unreadable", problem: "is JSON, but not an object; mend it, or log in again" }],
  ['{"auth_mode":"apikey"}', { kind: "inert", reason: "auth_mode=apikey" }],
])("a store that holds %j is an outcome of its own", (text, outcome) => {
  const reading = readCredential(text);
  if (reading.kind === "login") throw new Error("a login");
  expect(outcomeWithoutLogin(reading)).toEqual(outcome);
  expect(outcomeWithoutLogin({ kind: "absent" })).toEqual({ kind: "absent" });
});
