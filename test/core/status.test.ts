import { readFileSync } from "node:fs";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Reading, readCredential } from "../../src/core/credential.js";
import { type CycleOutcome, reportOutcome } from "../../src/core/outcome.js";
import { ageSec, buildStatus, type Status } from "../../src/core/status.js";
import { findLeak, makeAuthJson, makeJwt, makeTokens } from "../support/login.js";
import { ALL_OUTCOMES } from "../support/outcomes.js";
import { check } from "../support/property.js";

const NOW_MS = Date.parse("2026-11-21T12:00:00.000Z");
const ajv = new Ajv2020.default({ strict: true, allErrors: true });
addFormats.default(ajv);
const validate = ajv.compile(
  JSON.parse(readFileSync(new URL("../../schema/auth_refresh_status.schema.json", import.meta.url), "utf8")),
);

function statusOf(
  outcome: CycleOutcome,
  reading: Reading,
  times: { dueAtMs?: number | null; nextMs?: number | null } = {},
): Status {
  return buildStatus({
    report: reportOutcome(outcome, "/home/agent/.codex/auth.json"),
    reading,
    dueAtMs: times.dueAtMs ?? null,
    nextCheckAtMs: times.nextMs ?? null,
    failureCount: 2,
    history: { tokenMark: "0a1b2c3d", atMs: [0] },
    nowMs: NOW_MS,
    version: "1.2.3",
    setAside: [".auth.json.watchdog.0.1.set-aside"],
    daemon: { pid: 7, host: "h", bootId: "b", pidNamespace: null, startTicks: "1" },
    follows: null,
    event: { name: "unsaved", atMs: NOW_MS, isDelivered: false },
  });
}

function expectValid(status: Status): void {
  validate(JSON.parse(JSON.stringify(status)));
  expect(validate.errors ?? []).toEqual([]);
}

const tokens = makeTokens();
const READINGS: readonly Reading[] = [
  readCredential(makeAuthJson(tokens)),
  readCredential('{"auth_mode":"apikey","last_refresh":"2026-11-21T11:00:00+01:00"}'),
  readCredential("{"),
  readCredential(""),
  { kind: "absent" },
];

describe.each(ALL_OUTCOMES.map((outcome) => [JSON.stringify(outcome), outcome] as const))(
  "the status of %s",
  (_name, outcome) => {
    it("is what the schema says, and holds no token", () => {
      for (const reading of READINGS) {
        const status = statusOf(outcome, reading, { dueAtMs: NOW_MS + 1.5, nextMs: NOW_MS + 60_000 });
        expectValid(status);
        expect(findLeak(JSON.stringify(status), Object.values(tokens))).toBeNull();
      }
    });
  },
);

it("keeps the shell script's four keys at the front", () => {
  const reading = readCredential('{"tokens":{"refresh_token":"r"},"last_refresh":"2026-11-21T11:00:00.5Z"}');
  const status = statusOf({ kind: "fresh", expiresInSec: 1, ageSec: 1 }, reading);
  expect(Object.entries(status).slice(0, 4)).toEqual([
    ["last_refresh", "2026-11-21T11:00:00.5Z"],
    ["last_refresh_age_seconds", 3_599],
    ["watchdog_last_outcome", "skip"],
    ["watchdog_last_run_iso", "2026-11-21T12:00:00.000Z"],
  ]);
});

it("says −1 and nothing for what is unknown", () => {
  expect(statusOf({ kind: "absent" }, { kind: "absent" })).toMatchObject({
    last_refresh: "",
    last_refresh_age_seconds: -1,
    access_token_expires_at: null,
    refresh_due_at: null,
    next_check_at: null,
  });
});

it("counts the age in whole seconds, negative ahead of the clock", () => {
  expect(ageSec(null, NOW_MS)).toBeNull();
  expect(ageSec(NOW_MS - 1_999, NOW_MS)).toBe(1);
  expect(ageSec(NOW_MS + 2_500, NOW_MS)).toBe(-2);
});

it("is valid for any times that a file can hold", () => {
  const lastPossibleSec = 253_402_300_799;
  const second = fc.integer({ min: -lastPossibleSec, max: lastPossibleSec });
  const moment = fc.option(fc.double({ min: -8e15, max: 8e15, noNaN: true }), { nil: null });
  check(
    fc.property(second, fc.string(), moment, (exp, last_refresh, otherMs) => {
      const access_token = makeJwt({ exp });
      const reading = readCredential(JSON.stringify({ tokens: { refresh_token: "r", access_token }, last_refresh }));
      const isWritable = otherMs === null || /^\d{4}-/.test(new Date(otherMs).toISOString());
      expectValid(
        statusOf({ kind: "busy", holder: "x" }, reading, isWritable ? { dueAtMs: otherMs, nextMs: otherMs } : {}),
      );
    }),
    { numRuns: 300 },
  );
});
