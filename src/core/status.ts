import type { RefreshHistory } from "./brake.js";
import { loginOf, type Reading } from "./credential.js";
import { EVENT_NAMES, type EventNotice } from "./event.js";
import { isObject, parseObject } from "./json.js";
import type { HealthState, Report } from "./outcome.js";
import { toRfc3339 } from "./rfc3339.js";
import type { Holder } from "./ticket.js";

/**
 * The content of `auth_refresh_status.json`. The first four keys are the shell script's, unchanged; the
 * others came with this program. Never a token, nor a part of one.
 *
 * Described for other programs by `schema/auth_refresh_status.schema.json`.
 */
export interface Status {
  /** As auth.json spells it; empty when unknown. */
  readonly last_refresh: string;
  /** Whole seconds; −1 when unknown. */
  readonly last_refresh_age_seconds: number;
  readonly watchdog_last_outcome: string;
  readonly watchdog_last_run_iso: string;
  readonly schema_version: 1;
  readonly watchdog_version: string;
  readonly state: HealthState;
  readonly reason: string;
  /** When the access token expires, RFC 3339; null when unknown. */
  readonly access_token_expires_at: string | null;
  /** When a refresh becomes due, RFC 3339; null when nothing is to be refreshed. */
  readonly refresh_due_at: string | null;
  /** When the loop looks again, RFC 3339; null where none runs. */
  readonly next_check_at: string | null;
  readonly consecutive_failures: number;
  readonly operator_action: string | null;
  /** Our own last refreshes, RFC 3339, the oldest first: what the brake counts. */
  readonly refreshed_at: readonly string[];
  /** The first 8 hex digits of the SHA-256 of the refresh token that the last of them brought; null without one. */
  readonly refreshed_token_mark: string | null;
  /** Names of files beside auth.json with answers that could not be told from a newer login; mode 0600. */
  readonly set_aside: readonly string[];
  /** The process that loops; null where none runs. */
  readonly daemon: {
    readonly pid: number;
    readonly host: string;
    readonly boot_id: string | null;
    readonly pid_namespace: string | null;
    readonly start_ticks: string | null;
  } | null;
  /** The last event for `--on-event`; null while there was none. */
  readonly event: { readonly name: string; readonly at: string; readonly is_delivered: boolean } | null;
  /** What the home's login is a copy of; null where it is its own. */
  readonly follows: {
    readonly source: string;
    /** The store's number of what was copied; null where the source has none. */
    readonly version: number | null;
    /** When the source was reached last, and the copy found to be its newest, RFC 3339; null when it never was. */
    readonly fetched_at: string | null;
    /** When somebody was seen that refreshes the login, RFC 3339; null when nobody was, or the source does not tell. */
    readonly owner_seen_at: string | null;
    /** Null where the source does not tell. */
    readonly is_owner_alive: boolean | null;
  } | null;
}

/** What a follower knows of what it follows. Times are milliseconds since 1970. */
export interface Follows {
  readonly source: string;
  readonly version: number | null;
  readonly fetchedAtMs: number | null;
  readonly ownerSeenAtMs: number | null;
  readonly isOwnerAlive: boolean | null;
}

/** What the next run wants to know of the last status. Whatever is missing or strange in the file is null. */
export interface LastStatus {
  readonly state: HealthState | null;
  readonly reason: string | null;
  readonly action: string | null;
  readonly word: string | null;
  readonly ranAtMs: number | null;
  readonly nextCheckAtMs: number | null;
  /** Failures in a row; 0 when there was none. */
  readonly failureCount: number;
  readonly history: RefreshHistory | null;
  readonly daemon: Holder | null;
  readonly event: EventNotice | null;
  readonly follows: Follows | null;
}

const STATES: readonly HealthState[] = ["ok", "idle", "degraded", "login_required", "unsaved"];

/** Reads a status back. Never throws: a file of another program's, or half of one, tells less. */
export function readStatus(text: string): LastStatus {
  const status = parseObject(text) ?? {};
  const { consecutive_failures: count, refreshed_token_mark: tokenMark, refreshed_at: times } = status;
  const atMs = (Array.isArray(times) ? times : []).map(msOf).filter((ms) => ms !== null);
  return {
    state: STATES.find((state) => state === status["state"]) ?? null,
    reason: textOf(status["reason"]),
    action: textOf(status["operator_action"]),
    word: textOf(status["watchdog_last_outcome"]),
    ranAtMs: msOf(status["watchdog_last_run_iso"]),
    nextCheckAtMs: msOf(status["next_check_at"]),
    failureCount: typeof count === "number" && Number.isSafeInteger(count) && count > 0 ? count : 0,
    history: typeof tokenMark === "string" ? { tokenMark, atMs: atMs.sort((a, b) => a - b) } : null,
    daemon: readShownHolder(status["daemon"]),
    event: readEvent(status["event"]),
    follows: readFollows(status["follows"]),
  };
}

/** A process as `showHolder` writes it; null when the value is none. */
export function readShownHolder(value: unknown): Holder | null {
  if (!isObject(value) || !Number.isSafeInteger(value["pid"])) return null;
  const { boot_id, pid_namespace, start_ticks, host } = value;
  return {
    pid: Number(value["pid"]),
    host: textOf(host) ?? "",
    bootId: textOf(boot_id),
    pidNamespace: textOf(pid_namespace),
    startTicks: textOf(start_ticks),
  };
}

function readEvent(value: unknown): EventNotice | null {
  if (!isObject(value)) return null;
  const [name, atMs] = [EVENT_NAMES.find((each) => each === value["name"]), msOf(value["at"])];
  return name === undefined || atMs === null ? null : { name, atMs, isDelivered: value["is_delivered"] === true };
}

function readFollows(value: unknown): Follows | null {
  const source = isObject(value) ? textOf(value["source"]) : null;
  if (!isObject(value) || source === null) return null;
  const { version, is_owner_alive } = value;
  return {
    source,
    version: Number.isSafeInteger(version) ? Number(version) : null,
    fetchedAtMs: msOf(value["fetched_at"]),
    ownerSeenAtMs: msOf(value["owner_seen_at"]),
    isOwnerAlive: typeof is_owner_alive === "boolean" ? is_owner_alive : null,
  };
}

function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function msOf(value: unknown): number | null {
  const ms = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}

/** Age of a `last_refresh` in whole seconds, null when unknown. Negative when it lies ahead of the clock. */
export function ageSec(lastRefreshMs: number | null, nowMs: number): number | null {
  return lastRefreshMs === null ? null : Math.trunc((nowMs - lastRefreshMs) / 1000);
}

export function buildStatus(input: {
  readonly report: Report;
  /** The store at the end of the cycle. */
  readonly reading: Reading;
  readonly dueAtMs: number | null;
  readonly nextCheckAtMs: number | null;
  readonly failureCount: number;
  readonly nowMs: number;
  readonly version: string;
  readonly setAside: readonly string[];
  readonly history: RefreshHistory | null;
  readonly daemon: Holder | null;
  readonly event: EventNotice | null;
  readonly follows: Follows | null;
}): Status {
  const { report, reading, nowMs, follows } = input;
  const credential = loginOf(reading);
  const { lastRefreshText, lastRefreshMs } =
    credential ?? (reading.kind === "inert" ? reading : { lastRefreshText: "", lastRefreshMs: null });
  return {
    last_refresh: lastRefreshText,
    last_refresh_age_seconds: ageSec(lastRefreshMs, nowMs) ?? -1,
    watchdog_last_outcome: report.word,
    watchdog_last_run_iso: toRfc3339(nowMs),
    schema_version: 1,
    watchdog_version: input.version,
    state: report.state,
    reason: report.reason,
    access_token_expires_at: toIso(credential?.accessClaims.expiresAtMs ?? null),
    refresh_due_at: toIso(input.dueAtMs),
    next_check_at: toIso(input.nextCheckAtMs),
    consecutive_failures: input.failureCount,
    operator_action: report.action,
    refreshed_at: (input.history?.atMs ?? []).map((ms) => toRfc3339(ms)),
    refreshed_token_mark: input.history?.tokenMark ?? null,
    set_aside: input.setAside,
    daemon: input.daemon === null ? null : showHolder(input.daemon),
    event: input.event === null ? null : showEvent(input.event),
    follows: follows === null ? null : showFollows(follows),
  };
}

export function showHolder({ pid, host, bootId, pidNamespace, startTicks }: Holder): Status["daemon"] {
  return { pid, host, boot_id: bootId, pid_namespace: pidNamespace, start_ticks: startTicks };
}

function showEvent({ name, atMs, isDelivered }: EventNotice): Status["event"] {
  return { name, at: toRfc3339(atMs), is_delivered: isDelivered };
}

function showFollows({ source, version, fetchedAtMs, ownerSeenAtMs, isOwnerAlive }: Follows): Status["follows"] {
  const [fetched_at, owner_seen_at] = [toIso(fetchedAtMs), toIso(ownerSeenAtMs)];
  return { source, version, fetched_at, owner_seen_at, is_owner_alive: isOwnerAlive };
}

/** RFC 3339, or null for what has no date that can be written. */
function toIso(ms: number | null): string | null {
  return ms === null || !(Math.abs(ms) <= 8.64e15) ? null : toRfc3339(ms);
}
