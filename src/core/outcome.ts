import { NO_REFRESH_TOKEN, type Reading, type TokenName } from "./credential.js";
import { describeFault, type Fault } from "./fault.js";
import { isUncertain, type Rejection, type RejectionCause } from "./grant.js";
import { toRfc3339 } from "./rfc3339.js";

/** How one cycle ended. Closed: the compiler finds every table that forgot a case. */
export type CycleOutcome =
  | { readonly kind: "absent" }
  | { readonly kind: "inert"; readonly reason: string }
  /** Codex keeps this login in a keyring or in memory; the file may be a leftover. */
  | { readonly kind: "other-store"; readonly setting: string }
  | { readonly kind: "fresh"; readonly expiresInSec: number | null; readonly ageSec: number | null }
  | {
      readonly kind: "refreshed";
      /** Null when Codex did the request. */
      readonly httpStatus: number | null;
      readonly rotated: readonly TokenName[];
      readonly isRecovery: boolean;
    }
  | { readonly kind: "adopted"; readonly from: "sibling" | "newer-login" | "logout" }
  | { readonly kind: "unreadable"; readonly problem: string }
  | { readonly kind: "blocked"; readonly fault: Fault }
  | { readonly kind: "busy"; readonly holder: string }
  | { readonly kind: "stopped" }
  /** Due, and this process never sends a refresh token. */
  | { readonly kind: "left-to-owner" }
  /** The same, and the owner is late. */
  | { readonly kind: "owner-missing"; readonly what: "expired" | "answer-waits" }
  /** No answer, or one that settles nothing. `wasSent`: the token may be spent. */
  | {
      readonly kind: "transient";
      readonly httpStatus: number | null;
      readonly cause: string;
      readonly wasSent: boolean;
      readonly retryAfterMs: number | null;
    }
  /** Due, and not refreshed before `untilMs`: our own last refreshes brought tokens that were due again at once. */
  | { readonly kind: "braked"; readonly untilMs: number }
  /** The token was sent `dispatchCount` times without an answer, and is not sent again before `untilMs`. */
  | { readonly kind: "resting"; readonly untilMs: number; readonly dispatchCount: number }
  | { readonly kind: "login-required"; readonly rejection: Rejection; readonly isLatched: boolean }
  /** The server rotated the tokens and the answer is not in the store yet; it lies in the ticket. */
  | { readonly kind: "unsaved"; readonly problem: string };

/** The state that the status tells. */
export type HealthState = "ok" | "idle" | "degraded" | "login_required" | "unsaved";

/** How much a report matters to whoever reads the log. */
export function levelOf({ exitCode }: Pick<Report, "exitCode">): "info" | "warn" | "error" {
  if (exitCode >= 3) return "error";
  return exitCode === 2 ? "warn" : "info";
}

/** What counts for a run that has looked after several homes: the first of these that any of them ended with. */
const EXIT_CODES_BY_WEIGHT = [70, 4, 3, 2, 0] as const;

/** The exit code of several cycles: what a person must do before what passes by itself, and a refresh before a no-op. */
export function worstExitCode(exitCodes: readonly number[]): number {
  return EXIT_CODES_BY_WEIGHT.find((code) => exitCodes.includes(code)) ?? 1;
}

/** An outcome in the words of its readers. */
export interface Report {
  readonly exitCode: 0 | 1 | 2 | 3 | 4;
  readonly state: HealthState;
  /** The shell script's outcome word, as monitoring greps for it. */
  readonly word: string;
  /** One log line, in the shell script's words where it had some. */
  readonly line: string;
  /** A stable code for programs. */
  readonly reason: string;
  /** What a person should do; null when nothing. */
  readonly action: string | null;
}

const NO_OWNER = "CODEX_AUTH_REFRESH_OWNER=0";

export const LOGIN_AGAIN = "log in again: run `codex login` on this machine, or inject a new auth.json";

/** The same for a login wherever it is stored. */
export function loginAgain(location: string): string {
  return location.startsWith("postgres://")
    ? "log in again: run `codex login` in a CODEX_HOME, and codex-auth-watchdog store put for that home"
    : LOGIN_AGAIN;
}

/** What a cycle makes of a store that holds no login to refresh. */
export function outcomeWithoutLogin(reading: Exclude<Reading, { kind: "login" }>): CycleOutcome {
  if (reading.kind === "inert") return { kind: "inert", reason: reading.reason };
  if (reading.kind === "absent" || reading.kind === "empty") return { kind: "absent" };
  return { kind: "unreadable", problem: reading.problem };
}

/** Why a person must log in again, in words that stand by themselves. */
export const REJECTED_BECAUSE: Readonly<Record<RejectionCause, string>> = {
  expired: "the refresh token has expired",
  reused: "the refresh token was already used by another process",
  revoked: "the refresh token was revoked",
  ended: "the account or its session was ended",
  unnamed: "refresh_token rejected",
  "refused-by-codex": "Codex says that it can use this login no more",
  "lost-response": "the server rotated it, and the answer of that earlier request was lost on its way",
  restored: "this refresh token was spent before: the store was put back to an older state",
  "other-account": "the answer was for another account; nothing of it was stored",
};

/**
 * Puts an outcome into words: exit code, outcome word, log line, advice.
 *
 * @param location what people call the place of the credential: the path of auth.json
 */
export function reportOutcome(outcome: CycleOutcome, location: string): Report {
  switch (outcome.kind) {
    case "absent": {
      const line = `skip: ${location} absent or empty (no chatgpt-subscription auth in this workspace)`;
      return { ...idle("no_auth_json", line), word: "skip:no_auth_json" };
    }
    case "inert":
      return idle(
        outcome.reason === NO_REFRESH_TOKEN ? NO_REFRESH_TOKEN : "other_auth_mode",
        `no-op: ${outcome.reason}`,
      );
    case "other-store": {
      const store = `cli_auth_credentials_store=${outcome.setting} in config.toml`;
      const advice = `Codex may hold a newer login than ${location}; set it to "file" to have this file refreshed`;
      return idle("other_credentials_store", `no-op: ${store}: ${advice}`);
    }
    case "fresh": {
      const [exp, age] = [outcome.expiresInSec, outcome.ageSec].map((value) => value ?? "unknown");
      return idle("fresh", `no-op: fresh exp_in=${exp}s age=${age}s`, "ok");
    }
    case "refreshed": {
      const saved = outcome.isRecovery ? " (saved an answer that an earlier run had received)" : "";
      const how = outcome.httpStatus === null ? "via codex" : `http=${outcome.httpStatus}`;
      const line = `refresh: ok (${how}) rotated=${outcome.rotated.join(",")}${saved}`;
      const reason = outcome.isRecovery ? "recovered" : "refreshed";
      return { exitCode: 0, state: "ok", word: "refreshed", line, reason, action: null };
    }
    case "adopted":
      if (outcome.from === "sibling")
        return idle("adopted", "no-op: adopted what another process just refreshed", "ok");
      if (outcome.from === "logout") return idle("logged_out", "no-op: somebody logged out meanwhile");
      return idle("newer_login", "no-op: somebody logged in meanwhile; the new login stands", "ok");
    case "unreadable": {
      const problem = `${location} ${outcome.problem}`;
      return later("unreadable_auth_json", "skip:unreadable", `${problem}; nothing was sent or written`, problem);
    }
    case "blocked": {
      const problem = describeFault(outcome.fault);
      const reason = `blocked_${outcome.fault.kind.replaceAll("-", "_")}`;
      return later(reason, "fail:blocked", `${problem}; nothing was sent, the login is unspent`, problem);
    }
    case "busy":
      return later("busy", "skip:busy", `${outcome.holder} is at work on this login; try again later`, null);
    case "left-to-owner":
      return idle("left_to_owner", `no-op: due, and left to the owner (${NO_OWNER})`, "ok");
    case "owner-missing": {
      const problem =
        outcome.what === "expired" ? "the access token has expired" : "an answer waits in a ticket to be saved";
      const action = "see that an owner runs: a watchdog without CODEX_AUTH_REFRESH_OWNER=0";
      return later(
        "owner_missing",
        "skip:not_owner",
        `${problem}, and that is left to the owner (${NO_OWNER})`,
        action,
      );
    }
    case "stopped":
      return later("stopped", "skip:stopped", "stopped before anything was sent", null);
    case "transient":
      return reportTransient(outcome);
    case "resting": {
      const until = toRfc3339(outcome.untilMs);
      const times = outcome.dispatchCount === 1 ? "once" : `${outcome.dispatchCount} times`;
      const line = `this refresh token was sent ${times} without an answer; waiting until ${until} or for a new login`;
      return later("unanswered", "fail:unanswered", line, "check the network to the token endpoint");
    }
    case "braked": {
      const line = `due again right after a refresh; waiting until ${toRfc3339(outcome.untilMs)}`;
      return later("braked", "skip:braked", line, "check this machine's clock: tokens arrive that are about to expire");
    }
    case "login-required":
      return reportLoginRequired(outcome.rejection, outcome.isLatched, location);
    case "unsaved": {
      const line = `UNSAVED: the tokens were rotated but not saved: ${outcome.problem}; the answer is kept beside ${location}, and the next run saves it first`;
      const action = `mend this, then run codex-auth-watchdog --once: ${outcome.problem}`;
      return { exitCode: 4, state: "unsaved", word: "fail:apply_response", line, reason: "unsaved", action };
    }
  }
}

function reportTransient(outcome: Extract<CycleOutcome, { kind: "transient" }>): Report {
  const status = outcome.httpStatus ?? "000";
  const fate = outcome.wasSent ? "it is not known whether the token was spent" : "the token is unspent";
  const action = ACTIONS[outcome.cause] ?? null;
  const line = `refresh: transient failure (http=${status}, ${outcome.cause}): ${fate}; ${action ?? "will retry later"}`;
  const reason = outcome.cause.replace(/[^A-Za-z0-9]+/g, "_").toLowerCase();
  const isSuccess = /^2\d\d$/.test(String(status)); // The script's word for a 2xx that nobody can use.
  return { ...later(reason, isSuccess ? "fail:apply_response" : `fail:transient_${status}`, "", action), line };
}

/** Transient causes that a person can do something about. */
const ACTIONS: Readonly<Record<string, string>> = {
  "codex-missing": "codex cannot be run; install it, name it with --codex-program, or leave out --via codex",
  "codex-too-old": "this codex has no app-server that refreshes; update it, or leave out --via codex",
  "codex-silent": "codex app-server does not answer; try it by hand, or leave out --via codex",
  "codex-no-login":
    "codex finds no ChatGPT login in this home; run `codex login status` there, as the owner of auth.json",
  "codex-unchanged": "codex did not refresh; check its network to the token endpoint",
  configuration: "the server does not accept this client; check CODEX_APP_SERVER_LOGIN_CLIENT_ID",
  redirect: "the endpoint redirects, which is never followed; check CODEX_REFRESH_TOKEN_URL_OVERRIDE",
  "ca-file": "cannot read the CA file; check CODEX_CA_CERTIFICATE and SSL_CERT_FILE",
  "proxy-setting": "the proxy setting is no http(s) URL; check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY",
};

function reportLoginRequired({ cause, httpStatus }: Rejection, isLatched: boolean, location: string): Report {
  const status = String(httpStatus).padStart(3, "0");
  const action = loginAgain(location);
  // Only then is asking again worth it.
  const again = isUncertain(cause) ? "; if the answer came from a proxy, --once --force asks again" : "";
  const remembered = isLatched ? ", remembered; nothing was sent" : "";
  return {
    exitCode: 3,
    state: "login_required",
    word: `fail:permanent_${status}`,
    line: `refresh: PERMANENT FAILURE (http=${status}${remembered}): ${REJECTED_BECAUSE[cause]}. Operator must ${action}${again}`,
    reason: `login_required_${cause.replaceAll("-", "_")}`,
    action,
  };
}

function idle(reason: string, line: string, state: HealthState = "idle"): Report {
  return { exitCode: 1, state, word: "skip", line, reason, action: null };
}

function later(reason: string, word: string, problem: string, action: string | null): Report {
  return { exitCode: 2, state: "degraded", word, line: `transient: ${problem}`, reason, action };
}
