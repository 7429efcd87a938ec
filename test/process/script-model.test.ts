import { afterEach, beforeEach, expect, it } from "vitest";
import { BASELINE_PATH } from "../support/baseline.js";
import { Home } from "../support/home.js";
import { type LoginOptions, makeAuthJson, makeTokens } from "../support/login.js";
import { messages, type Running, type RunResult, start, waitUntil } from "../support/program.js";
import {
  doesScriptPresent,
  SAFETY_MARGIN_SEC,
  SCRIPT_INTERVAL_SEC,
  STALE_AFTER_SEC,
  scriptOutcome,
} from "../support/script-model.js";
import { TokenServer } from "../support/token-server.js";

let home: Home;
let server: TokenServer;

beforeEach(async () => {
  home = new Home();
  // Due again at once, so that the loop has something to do each time.
  server = await TokenServer.start({ expiresInSec: 60 });
});

afterEach(async () => {
  await server.stop();
  home.remove();
});

function environment(): Record<string, string> {
  return { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
}

/** Starts the script's loop. `timeout` gives it a process group, and hands a TERM on to all of it: no sleep stays behind. */
function startLoop(env: Record<string, string>): Running {
  return start("timeout", ["60", "bash", BASELINE_PATH], { env });
}

async function runOnce(): Promise<RunResult> {
  return await start("bash", [BASELINE_PATH, "--once"], { env: environment() }).ended;
}

const HOUR = 3_600;
const DAY = 24 * HOUR;

/** Seconds pass between a login's making and the script's look. */
const SLACK = 60;

it.each<[string, Required<Pick<LoginOptions, "expiresInSec" | "lastRefreshAgoSec">>]>([
  ["a token of an hour", { expiresInSec: HOUR, lastRefreshAgoSec: 0 }],
  ["a token of eight hours", { expiresInSec: 8 * HOUR, lastRefreshAgoSec: 0 }],
  ["a token of eight hours after six", { expiresInSec: 2 * HOUR, lastRefreshAgoSec: 6 * HOUR }],
  ["an expiry just inside the margin", { expiresInSec: 4 * HOUR, lastRefreshAgoSec: 0 }],
  ["an expiry just outside the margin", { expiresInSec: 4 * HOUR + SLACK, lastRefreshAgoSec: 0 }],
  ["an expired token", { expiresInSec: -DAY, lastRefreshAgoSec: 0 }],
  ["a last refresh just short of a week ago", { expiresInSec: 3 * DAY, lastRefreshAgoSec: 7 * DAY - SLACK }],
  ["a last refresh a week ago", { expiresInSec: 3 * DAY, lastRefreshAgoSec: 7 * DAY }],
])("the model of the script decides as the script does on %s", async (_name, login) => {
  home.writeAuth(makeAuthJson(server.admit(makeTokens(login)), login));

  await runOnce();

  expect(server.posts.length === 1).toBe(doesScriptPresent(login));
});

it.each([200, 401, 429, 500, 503])("the model of the script takes an answer %i as the script does", async (status) => {
  const tokens = server.admit(makeTokens());
  home.writeAuth(makeAuthJson(tokens));
  if (status !== 200) server.always({ status, body: { error: "made up" } });

  const { code } = await runOnce();

  const outcome = scriptOutcome(status);
  expect(code).toBe({ refreshed: 0, transient: 2, permanent: 3 }[outcome]);
  expect(home.readRefreshToken() !== tokens.refresh_token).toBe(outcome === "refreshed");
});

it("the model of the script takes no answer as the script does", async () => {
  const tokens = makeTokens();
  home.writeAuth(makeAuthJson(tokens));
  await server.stop();

  const { code } = await runOnce();

  expect([code, scriptOutcome(null)]).toEqual([2, "transient"]);
  expect(home.readRefreshToken()).toBe(tokens.refresh_token);
});

it("the script's loop begins with an attempt, and sleeps its interval whatever came of it", async () => {
  home.writeAuth(makeAuthJson(server.admit(makeTokens())));
  server.script({ status: 503 }, { status: 401, body: {} }, { status: 500 });
  const postedAtMs: number[] = [];
  server.onPost = () => {
    postedAtMs.push(performance.now());
  };
  const intervalMs = 1_000;
  const env = { ...environment(), CODEX_AUTH_REFRESH_INTERVAL_SECONDS: String(intervalMs / 1000) };
  const { child, ended } = startLoop(env);

  await waitUntil("five requests", () => postedAtMs.length >= 5);
  child.kill("SIGTERM");
  await ended;

  const gapsMs = postedAtMs.slice(1).map((ms, index) => ms - (postedAtMs[index] ?? 0));
  expect(Math.min(...gapsMs)).toBeGreaterThanOrEqual(intervalMs);
});

it("the model has the script's own defaults", async () => {
  const { child, ended, stderr } = startLoop(environment());
  await waitUntil("its first lines", () => messages(stderr()).length >= 2);
  child.kill("SIGTERM");
  await ended;

  expect(messages(stderr())[0]).toContain(
    `interval=${SCRIPT_INTERVAL_SEC}s safety_margin=${SAFETY_MARGIN_SEC}s stale_after=${STALE_AFTER_SEC}s`,
  );
});
