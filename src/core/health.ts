import { type Credential, type LoginCopy, loginOf, type Reading } from "./credential.js";
import { decide, type RefreshPolicy } from "./decide.js";
import { fingerprint } from "./fingerprint.js";
import { type HealthState, loginAgain, outcomeWithoutLogin, REJECTED_BECAUSE, reportOutcome } from "./outcome.js";
import type { LastStatus, Status } from "./status.js";
import { countDispatches, type HolderLife, isInFlight, type Ticket } from "./ticket.js";

/** Everything about a home that can be seen without doing anything. */
export interface HomeView {
  readonly codexHome: string;
  /** What people call the store: the path of auth.json. */
  readonly location: string;
  readonly reading: Reading;
  readonly tickets: readonly Ticket[];
  readonly setAside: readonly string[];
  /** Codex's own `cli_auth_credentials_store`. */
  readonly storeSetting: string;
  readonly last: LastStatus | null;
  /** Whether the process lives that the last status names as the loop; null when it names none. */
  readonly daemonLife: HolderLife | null;
}

/** How a login stands now, as its files tell it. */
export interface Health {
  readonly state: HealthState;
  /** A stable code for programs. */
  readonly reason: string;
  /** The access token is valid now, the login not given up, and nothing unsaved. */
  readonly isHealthy: boolean;
  /** One line for people. */
  readonly headline: string;
  /** What a person should do; null when nothing. */
  readonly action: string | null;
}

/** A loop that is later than this with its next look does not run, milliseconds: it may be busy with a request. */
const OVERDUE_MS = 5 * 60_000;

/** What Codex leaves of a token's life before it refreshes by itself (0.136 to 0.169), and a little more, milliseconds. */
const CODEX_WINDOW_MS = 330_000;

/**
 * Says how a login stands, from files alone: what the last status told may be hours old, and its writer dead.
 *
 * @param nowMs milliseconds since 1970
 */
export function assessHealth(view: HomeView, policy: RefreshPolicy, nowMs: number): Health {
  const { reading, tickets, last, storeSetting, location } = view;
  const waiting = tickets.some(({ state }) => state.kind === "answered" && state.result.kind === "granted");
  if (waiting) {
    const action = last?.state === "unsaved" ? last.action : null;
    const headline =
      "the tokens were rotated, and the answer is not in auth.json yet; it is kept in a ticket beside it";
    return trouble("unsaved", "unsaved", headline, action ?? "run codex-auth-watchdog --once");
  }
  if (reading.kind === "login" && storeSetting !== "file")
    return fromOutcome({ kind: "other-store", setting: storeSetting }, location);
  const copy = reading.kind === "inert" ? loginOf(reading) : null;
  if (copy !== null && last?.follows != null) return assessCopy(copy, last, nowMs);
  if (reading.kind !== "login") return fromOutcome(outcomeWithoutLogin(reading), location);
  return assessLogin(reading.credential, view, policy, nowMs);
}

function assessLogin(
  credential: Credential,
  { tickets, last, location }: HomeView,
  policy: RefreshPolicy,
  nowMs: number,
): Health {
  const mark = fingerprint(credential.refreshToken);
  const own = tickets.filter((ticket) => ticket.fingerprint === mark);
  for (const { state } of own) {
    if (state.kind !== "rejected") continue;
    const { cause } = state.rejection;
    return trouble(
      "login_required",
      `login_required_${cause.replaceAll("-", "_")}`,
      REJECTED_BECAUSE[cause],
      loginAgain(location),
    );
  }
  const { expiresAtMs } = credential.accessClaims;
  const isExpired = expiresAtMs !== null && expiresAtMs <= nowMs;
  const isHealthy = !isExpired;
  const unanswered = own.filter((ticket) => !isInFlight(ticket, nowMs));
  if (own.some((ticket) => isInFlight(ticket, nowMs))) {
    return { state: "ok", reason: "refreshing", isHealthy, headline: "a refresh is on its way", action: null };
  }
  if (countDispatches(unanswered) > 0) {
    const headline = "a request for new tokens left without an answer; it is tried again";
    const action = last?.state === "degraded" ? last.action : null;
    return { state: "degraded", reason: "unanswered", isHealthy, headline, action };
  }
  if (last?.state === "degraded" && last.failureCount > 0) {
    const times = last.failureCount === 1 ? "the last try failed" : `the last ${last.failureCount} tries failed`;
    const headline = `${times} (${last.reason ?? "unknown"})${isExpired ? ", and the access token has expired" : ""}`;
    return { state: "degraded", reason: last.reason ?? "unknown", isHealthy, headline, action: last.action };
  }
  if (isExpired) {
    const headline = "the access token has expired, and nobody has refreshed it";
    return {
      state: "degraded",
      reason: "access_token_expired",
      isHealthy,
      headline,
      action: "run codex-auth-watchdog --once",
    };
  }
  const isDue = decide(credential, nowMs, policy).kind === "due";
  return {
    state: "ok",
    reason: isDue ? "due" : "fresh",
    isHealthy,
    headline: isDue ? "a refresh is due" : "fresh",
    action: null,
  };
}

/** A follower's copy is good as long as its access token is, whoever has trouble meanwhile. */
function assessCopy(
  { accessClaims }: LoginCopy,
  { state, reason, action, failureCount }: LastStatus,
  nowMs: number,
): Health {
  const { expiresAtMs } = accessClaims;
  const isHealthy = expiresAtMs === null || expiresAtMs > nowMs;
  if (state === "degraded" && failureCount > 0) {
    const expired = isHealthy ? "" : ", and the copy has expired";
    const headline = `a copy of another's login; the last look at it failed (${reason ?? "unknown"})${expired}`;
    return { state, reason: reason ?? "unknown", isHealthy, headline, action };
  }
  if (isHealthy) {
    const headline = "a copy of a login that others refresh";
    return { state: "ok", reason: "follows", isHealthy, headline, action: null };
  }
  const headline = "the copy has expired, and no newer one has come";
  const cure = "see that an owner runs, and that codex-auth-watchdog follow runs here";
  return { state: "degraded", reason: "copy_expired", isHealthy, headline, action: cure };
}

function fromOutcome(outcome: Parameters<typeof reportOutcome>[0], location: string): Health {
  const { state, reason, line, action } = reportOutcome(outcome, location);
  return { state, reason, isHealthy: false, headline: line.replace(/^[a-z-]+: /, ""), action };
}

function trouble(state: HealthState, reason: string, headline: string, action: string): Health {
  return { state, reason, isHealthy: false, headline, action };
}

/**
 * Whether a Codex that starts now finds a token that it does not refresh at once by itself: two that do so in the same
 * moment burn the login.
 */
export function isReadyForCodex({ reading }: HomeView, health: Health, nowMs: number): boolean {
  if (!health.isHealthy) return false;
  // With a copy it never asks for tokens: its refresh token is empty.
  if (reading.kind !== "login") return true;
  const { expiresAtMs, issuedAtMs } = reading.credential.accessClaims;
  if (expiresAtMs === null) return true;
  // A token that lives for minutes is never further from its end than this.
  const lifeMs = issuedAtMs === null ? Number.POSITIVE_INFINITY : expiresAtMs - issuedAtMs;
  return expiresAtMs - nowMs > Math.min(CODEX_WINDOW_MS, lifeMs / 3);
}

/** Whether a loop looks after a home. `none`: nobody has said so. */
export type DaemonState = "running" | "down" | "none";

export function daemonState({ last, daemonLife }: Pick<HomeView, "last" | "daemonLife">, nowMs: number): DaemonState {
  if (last === null || last.daemon === null || daemonLife === null) return "none";
  if (daemonLife === "gone") return "down";
  // From another container nobody can see it: then its promise counts.
  const isOverdue = last.nextCheckAtMs !== null && nowMs - last.nextCheckAtMs > OVERDUE_MS;
  return daemonLife === "unknown" && isOverdue ? "down" : "running";
}

/** The same question as {@link Health.isHealthy}, of a status that was written a moment ago. */
export function isReadyStatus(status: Pick<Status, "state" | "access_token_expires_at">, nowMs: number): boolean {
  if (status.state !== "ok" && status.state !== "degraded") return false;
  const expiresAtMs = Date.parse(status.access_token_expires_at ?? "");
  return Number.isNaN(expiresAtMs) || expiresAtMs > nowMs;
}
