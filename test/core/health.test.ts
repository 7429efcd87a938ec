import { describe, expect, it } from "vitest";
import { readCredential } from "../../src/core/credential.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { assessHealth, daemonState, type HomeView, isReadyForCodex, isReadyStatus } from "../../src/core/health.js";
import { Secret } from "../../src/core/secret.js";
import { type LastStatus, readStatus } from "../../src/core/status.js";
import type { HolderLife, Ticket, TicketState } from "../../src/core/ticket.js";
import { makeAuthJson, makeTokens } from "../support/login.js";

const NOW_MS = Date.now();
const POLICY = { safetyMarginSec: 14_400, staleAfterSec: 604_800 };

function view(
  options: Partial<HomeView> & { expiresInSec?: number; state?: TicketState; life?: HolderLife } = {},
): HomeView {
  const { expiresInSec = 864_000, state, life = "gone", ...others } = options;
  const tokens = makeTokens({ expiresInSec });
  const ticket = (kind: TicketState): Ticket => ({
    fingerprint: fingerprint(new Secret(tokens.refresh_token)),
    attempt: 1,
    createdAtMs: NOW_MS,
    state: kind,
    life,
    prepared: null,
    rewrite: null,
  });
  return {
    codexHome: "/home/agent/.codex",
    location: "/home/agent/.codex/auth.json",
    reading: readCredential(makeAuthJson(tokens)),
    tickets: state === undefined ? [] : [ticket(state)],
    setAside: [],
    storeSetting: "file",
    last: null,
    daemonLife: null,
    ...others,
  };
}

function lastStatus(fields: Record<string, unknown>): LastStatus {
  return readStatus(JSON.stringify(fields));
}

function healthOf(options: Parameters<typeof view>[0]): ReturnType<typeof assessHealth> {
  return assessHealth(view(options), POLICY, NOW_MS);
}

const GRANT: TicketState = {
  kind: "answered",
  isWhole: true,
  atMs: NOW_MS,
  result: { kind: "granted", httpStatus: 200, tokens: {}, accountIds: [] },
};
const LATCH: TicketState = { kind: "rejected", rejection: { cause: "reused", httpStatus: 401 } };
const FAILED = lastStatus({ state: "degraded", reason: "econnrefused", consecutive_failures: 3, operator_action: "x" });

describe("a login", () => {
  it.each([
    ["that is fresh", {}, "ok", "fresh", true],
    ["that is due", { expiresInSec: 3_600 }, "ok", "due", true],
    ["that has expired", { expiresInSec: -1 }, "degraded", "access_token_expired", false],
    [
      "that was given up, though its token is valid still",
      { state: LATCH },
      "login_required",
      "login_required_reused",
      false,
    ],
    ["whose answer waits", { state: GRANT }, "unsaved", "unsaved", false],
    ["that is being refreshed", { state: { kind: "prepared" }, life: "alive" }, "ok", "refreshing", true],
    [
      "whose request got no answer",
      { state: { kind: "dispatched", atMs: NOW_MS, cause: null } },
      "degraded",
      "unanswered",
      true,
    ],
    ["that could not be refreshed yet", { last: FAILED }, "degraded", "econnrefused", true],
    ["that could not be refreshed in time", { last: FAILED, expiresInSec: -1 }, "degraded", "econnrefused", false],
    ["that Codex keeps elsewhere", { storeSetting: "keyring" }, "idle", "other_credentials_store", false],
    ["that is absent", { reading: { kind: "absent" } }, "idle", "no_auth_json", false],
    ["of another mode", { reading: readCredential('{"auth_mode":"apikey"}') }, "idle", "other_auth_mode", false],
    ["that nobody can read", { reading: readCredential("[]") }, "degraded", "unreadable_auth_json", false],
  ] as const)("%s is told as such", (_what, options, state, reason, isHealthy) => {
    const health = healthOf(options);
    expect(health).toMatchObject({ state, reason, isHealthy });
    expect(health.headline).not.toMatch(/[\n\r]/);
  });

  it("that is lost, unsaved or expired comes with what a person should do", () => {
    for (const options of [{ state: LATCH }, { state: GRANT }, { expiresInSec: -1 }]) {
      expect(healthOf(options).action).toMatch(/codex/);
    }
  });

  it("that somebody has repaired is healthy, whatever the last status told", () => {
    const last = lastStatus({ state: "login_required", reason: "login_required_reused", consecutive_failures: 9 });
    expect(healthOf({ last })).toMatchObject({ state: "ok", isHealthy: true });
  });
});

describe("a gate for Codex", () => {
  it.each([
    [864_000, true],
    [335, true],
    [325, false],
    [-1, false],
  ])("with %i s left lets it pass: %j", (expiresInSec, isReady) => {
    const seen = view({ expiresInSec });
    expect(isReadyForCodex(seen, assessHealth(seen, POLICY, NOW_MS), NOW_MS)).toBe(isReady);
  });

  it("lets nothing pass that is given up", () => {
    const seen = view({ state: LATCH });
    expect(isReadyForCodex(seen, assessHealth(seen, POLICY, NOW_MS), NOW_MS)).toBe(false);
  });
});

describe("the loop", () => {
  const daemon = { pid: 7, host: "h", boot_id: "b", pid_namespace: "n", start_ticks: "1" };
  const soon = lastStatus({ daemon, next_check_at: new Date(NOW_MS + 60_000).toISOString() });
  const overdue = lastStatus({ daemon, next_check_at: new Date(NOW_MS - 301_000).toISOString() });
  it.each([
    ["that nobody has named", null, null, "none"],
    ["that has ended in good order", lastStatus({ daemon: null }), null, "none"],
    ["that lives", overdue, "alive", "running"],
    ["that is gone", soon, "gone", "down"],
    ["in another container, as long as it is not late", soon, "unknown", "running"],
    ["in another container, when it is late", overdue, "unknown", "down"],
  ] as const)("%s", (_what, last, daemonLife, expected) => {
    expect(daemonState(view({ last, daemonLife }), NOW_MS)).toBe(expected);
  });
});

it.each([
  ["ok", 1, true],
  ["ok", -1, false],
  ["ok", null, true],
  ["degraded", 1, true],
  ["idle", null, false],
  ["login_required", 1, false],
  ["unsaved", 1, false],
] as const)("a status of %s whose token ends in %j s is ready: %j", (state, endsInSec, isReady) => {
  const access_token_expires_at = endsInSec === null ? null : new Date(NOW_MS + endsInSec * 1000).toISOString();
  expect(isReadyStatus({ state, access_token_expires_at }, NOW_MS)).toBe(isReady);
});
