import type { TokenClaims } from "../core/claims.js";
import { type Credential, loginOf } from "../core/credential.js";
import { decide, type RefreshPolicy } from "../core/decide.js";
import { assessHealth, type DaemonState, daemonState, type Health, type HomeView } from "../core/health.js";
import type { HealthState } from "../core/outcome.js";
import { describeMoment, describeSpan, drawTimeline } from "../core/span.js";

/** One home as `status` tells of it. */
export interface HomeReport {
  readonly view: HomeView;
  readonly health: Health;
  readonly daemon: DaemonState;
  readonly nowMs: number;
  readonly policy: RefreshPolicy;
}

export function reportHome(view: HomeView, policy: RefreshPolicy, nowMs: number): HomeReport {
  return { view, policy, nowMs, health: assessHealth(view, policy, nowMs), daemon: daemonState(view, nowMs) };
}

/** Whether a HEALTHCHECK should be content: a home without a login to look after is no fault of anybody's. */
export function isContent({ health, daemon }: HomeReport): boolean {
  return (health.isHealthy || health.state === "idle") && daemon !== "down";
}

const COLOURS: Readonly<Record<HealthState | "dim" | "bold", number>> = {
  ok: 32,
  idle: 36,
  degraded: 33,
  login_required: 31,
  unsaved: 31,
  dim: 2,
  bold: 1,
};

const STATE_WORDS: Readonly<Record<HealthState, string>> = {
  ok: "healthy",
  idle: "nothing to look after",
  degraded: "in trouble, and tries again by itself",
  login_required: "LOG IN AGAIN",
  unsaved: "NOT SAVED YET",
};

/** Colours a text, where somebody sees it. */
export type Paint = (colour: keyof typeof COLOURS, text: string) => string;

/** A home for a person: a few lines, the state first. */
export function renderStatus(report: HomeReport, isTerminal: boolean): string {
  const { view, health, nowMs, daemon } = report;
  const paint = painter(isTerminal);
  const rows: (readonly [string, string])[] = [stateRow(health, paint)];
  if (health.action !== null) rows.push(["do", paint("bold", health.action)]);
  if (view.reading.kind === "login") rows.push(...loginRows(view.reading.credential, report, paint));
  else rows.push(...copyRows(view, nowMs, paint));
  rows.push(["last", describeLast(view, nowMs)], ["next", describeNext(view, nowMs, daemon)]);
  rows.push(["watchdog", describeDaemon(view, nowMs, daemon, paint)]);
  for (const name of view.setAside)
    rows.push(["set aside", `${name}: an answer that could not be told from a newer login`]);
  return renderRows(view.location, rows, paint);
}

export function painter(isTerminal: boolean): Paint {
  return (colour, text) => (isTerminal ? `\u001b[${COLOURS[colour]}m${text}\u001b[0m` : text);
}

/** The first row: how it stands, in colour. */
export function stateRow({ state, headline }: Health, paint: Paint): readonly [string, string] {
  return ["state", `${paint(state, `● ${STATE_WORDS[state]}`)}: ${headline}`];
}

/** Lines under a name that stands above them. */
export function renderRows(title: string, rows: readonly (readonly [string, string])[], paint: Paint): string {
  const lines = rows.map(([name, text]) => `  ${paint("dim", name.padEnd(10))} ${text}`);
  return [paint("bold", title), ...lines, ""].join("\n");
}

export function loginRows(
  credential: Credential,
  report: Pick<HomeReport, "nowMs" | "policy">,
  paint: Paint,
): (readonly [string, string])[] {
  const { nowMs, policy } = report;
  const { email, plan } = credential.idClaims;
  const who = email ?? credential.accountIds[0] ?? "an account without a name";
  const { dueAtMs } = decide(credential, nowMs, policy);
  const { lastRefreshMs } = credential;
  const age =
    lastRefreshMs === null
      ? "last renewed at an unknown time"
      : `renewed ${describeMoment(lastRefreshMs, nowMs)}; works once, and does not say when it expires`;
  return [
    ["login", `${who}${plan === null ? "" : ` (${plan})`}`],
    ["access", describeToken(credential.accessClaims, dueAtMs, nowMs, paint)],
    ["refresh", age],
    ["id", describeToken(credential.idClaims, null, nowMs, paint)],
  ];
}

/** A follower's copy: whose it is, how long it is good, and who looks after the original. */
function copyRows({ reading, last }: HomeView, nowMs: number, paint: Paint): (readonly [string, string])[] {
  const copy = loginOf(reading);
  const follows = last?.follows ?? null;
  if (copy === null || follows === null) return [];
  const { email, plan } = copy.idClaims;
  const age =
    follows.fetchedAtMs === null
      ? "never reached yet"
      : `the same as there ${describeMoment(follows.fetchedAtMs, nowMs)}`;
  const seen =
    follows.ownerSeenAtMs === null ? "was never seen" : `was seen ${describeMoment(follows.ownerSeenAtMs, nowMs)}`;
  const owner = `${seen}${follows.isOwnerAlive === false ? paint("degraded", ": none runs now") : ""}`;
  return [
    ["login", `${email ?? copy.accountIds[0] ?? "an account without a name"}${plan === null ? "" : ` (${plan})`}`],
    ["access", describeToken(copy.accessClaims, null, nowMs, paint)],
    ["refresh", "none here: others refresh this login"],
    ["follows", `${follows.source}; ${age}`],
    ...(follows.isOwnerAlive === null ? [] : [["owner", owner] as const]),
  ];
}

/** A token's life; Codex never looks at the id token's. */
function describeToken(claims: TokenClaims, dueAtMs: number | null, nowMs: number, paint: Paint): string {
  const { issuedAtMs, expiresAtMs } = claims;
  if (expiresAtMs === null) return "does not say when it expires";
  const isOver = expiresAtMs <= nowMs;
  const due = dueAtMs === null ? "" : `; refresh due ${describeMoment(dueAtMs, nowMs)} ◆`;
  const life = issuedAtMs === null ? "" : ` of ${describeSpan(expiresAtMs - issuedAtMs)}`;
  const words = isOver
    ? `expired ${describeMoment(expiresAtMs, nowMs)}`
    : `${describeSpan(expiresAtMs - nowMs)} left${life}`;
  if (issuedAtMs === null) return `${words}${due}`;
  const line = drawTimeline(issuedAtMs, expiresAtMs, dueAtMs, nowMs);
  const colour = dueAtMs === null ? "dim" : isOver ? "login_required" : dueAtMs <= nowMs ? "degraded" : "ok";
  return `${paint(colour, line)} ${words}${due}`;
}

function describeLast({ last }: HomeView, nowMs: number): string {
  if (last?.ranAtMs == null) return "nothing was done here yet";
  return `${last.word ?? "unknown"} (${last.reason ?? "unknown"}) ${describeMoment(last.ranAtMs, nowMs)}`;
}

function describeNext({ last }: HomeView, nowMs: number, daemon: DaemonState): string {
  if (daemon !== "running" || last?.nextCheckAtMs == null) return "nobody looks by itself; run codex-auth-watchdog";
  return `looks again ${describeMoment(last.nextCheckAtMs, nowMs)}`;
}

function describeDaemon({ last, daemonLife }: HomeView, nowMs: number, daemon: DaemonState, paint: Paint): string {
  const holder = last?.daemon;
  if (daemon === "none" || holder == null) return "no loop runs";
  const name = `process ${holder.pid} on ${holder.host}`;
  if (daemon === "running") return `${name} runs${daemonLife === "unknown" ? " (as its status says)" : ""}`;
  const since = last?.ranAtMs == null ? "" : `; it last looked ${describeMoment(last.ranAtMs, nowMs)}`;
  return paint("degraded", `DOWN: ${name} is gone${since}`);
}

/** The same for a program. Keys are only ever added. */
export function statusJson({ view, health, daemon, nowMs, policy }: HomeReport): Record<string, unknown> {
  const credential = loginOf(view.reading);
  const follows = view.last?.follows ?? null;
  const iso = (ms: number | null | undefined): string | null =>
    ms == null || Math.abs(ms) > 8.64e15 ? null : new Date(ms).toISOString();
  return {
    codex_home: view.codexHome,
    auth_json: view.location,
    state: health.state,
    reason: health.reason,
    is_healthy: health.isHealthy,
    headline: health.headline,
    operator_action: health.action,
    login:
      credential === null
        ? null
        : {
            email: credential.idClaims.email,
            plan: credential.idClaims.plan,
            account_ids: credential.accountIds,
            last_refresh: credential.lastRefreshText,
            access_token_issued_at: iso(credential.accessClaims.issuedAtMs),
            access_token_expires_at: iso(credential.accessClaims.expiresAtMs),
            id_token_expires_at: iso(credential.idClaims.expiresAtMs),
            refresh_due_at: view.reading.kind === "login" ? iso(decide(credential, nowMs, policy).dueAtMs) : null,
          },
    follows:
      follows === null
        ? null
        : {
            source: follows.source,
            version: follows.version,
            fetched_at: iso(follows.fetchedAtMs),
            owner_seen_at: iso(follows.ownerSeenAtMs),
            is_owner_alive: follows.isOwnerAlive,
          },
    daemon: { state: daemon, pid: view.last?.daemon?.pid ?? null, host: view.last?.daemon?.host ?? null },
    last_run_at: iso(view.last?.ranAtMs),
    last_outcome: view.last?.word ?? null,
    next_check_at: iso(view.last?.nextCheckAtMs),
    set_aside: view.setAside,
  };
}
