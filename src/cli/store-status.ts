import { LIST, ticketOf } from "../adapters/fleet-ticket-book.js";
import { joseSealer, readKeyId } from "../adapters/jose-sealer.js";
import { readKeySource } from "../adapters/key-source.js";
import type { Postgres, Row } from "../adapters/postgres.js";
import { type Reading, readCredential } from "../core/credential.js";
import { isOwnerAlive } from "../core/fleet.js";
import { assessHealth, type Health } from "../core/health.js";
import { describeUnopened } from "../core/seal.js";
import { describeMoment, describeSpan } from "../core/span.js";
import { describeHolder, isInFlight, type Ticket } from "../core/ticket.js";
import type { FleetSettings } from "./fleet-options.js";
import { type Settings, VERSION } from "./options.js";
import { loginRows, painter, renderRows, stateRow } from "./show-status.js";
import { failed, refused, type StoreAnswer } from "./store.js";

const SELECT = `select version, sealed_owner, sealed_follower, updated_by,
    extract(epoch from updated_at) * 1000 as updated_ms, extract(epoch from clock_timestamp()) * 1000 as now_ms
  from codex_auth.credential where id = $1`;

const OWNERS = `select name, extract(epoch from seen_at) * 1000 as seen_ms
  from codex_auth.owner where credential = $1 order by seen_at desc limit 50`;

/** Everything about one login of the store. */
interface StoreView {
  readonly location: string;
  readonly row: Row;
  readonly reading: Reading;
  readonly tickets: readonly Ticket[];
  readonly owners: readonly { readonly name: string; readonly seenMs: number }[];
  readonly nowMs: number;
}

type ShownSettings = Settings & { readonly isTerminal: boolean };

/** Shows what is stored, who looks after it, and what is in flight. */
export async function tellStore(settings: ShownSettings, fleet: FleetSettings, db: Postgres): Promise<StoreAnswer> {
  const values = [fleet.credentialId];
  const location = `${db.shownAddress} (credential ${fleet.credentialId})`;
  const found = await db.query({ step: "read", text: SELECT, values, isRepeatable: true });
  if (found.kind === "failed") return failed(found.fault);
  const [row] = found.rows;
  if (row === undefined) return refused(`${location} holds no login; store put puts one there`);
  const spends = await db.query({ step: "read the requests in", text: LIST, values, isRepeatable: true });
  if (spends.kind === "failed") return failed(spends.fault);
  const owners = await db.query({ step: "read the owners in", text: OWNERS, values, isRepeatable: true });
  if (owners.kind === "failed") return failed(owners.fault);
  const nowMs = Number(row["now_ms"]);
  const view: StoreView = {
    location,
    row,
    nowMs,
    reading: await open(fleet, row),
    tickets: spends.rows.map((each) => ticketOf(each, nowMs)),
    owners: owners.rows.map(({ name, seen_ms }) => ({ name: String(name), seenMs: Number(seen_ms) })),
  };
  const health = assess(view, settings);
  const text = settings.isJson ? toJson(view, health) : render(view, health, settings);
  return { text, notes: [], exitCode: 0 };
}

/** What the row says, for one who has the owner's key. */
async function open(fleet: FleetSettings, row: Row): Promise<Reading> {
  const keys = readKeySource(fleet.ownerKey, "owner");
  if (keys.kind !== "keys") return { kind: "unreadable", problem: `can't be opened here: ${keys.message}` };
  const place = { credentialId: fleet.credentialId, version: Number(row["version"]), column: "owner" } as const;
  const opened = await joseSealer(keys.keys).open(String(row["sealed_owner"]), place);
  if (opened.kind === "opened") return readCredential(opened.text.reveal());
  return { kind: "unreadable", problem: describeUnopened(opened, "owner") };
}

function assess({ location, reading, tickets, nowMs }: StoreView, settings: Settings): Health {
  const view = {
    codexHome: "",
    location,
    reading,
    tickets,
    setAside: [],
    storeSetting: "file",
    last: null,
    daemonLife: null,
  };
  return assessHealth(view, settings, nowMs);
}

function render(view: StoreView, health: Health, settings: ShownSettings): string {
  const { row, reading, tickets, owners, nowMs } = view;
  const paint = painter(settings.isTerminal);
  const rows: (readonly [string, string])[] = [stateRow(health, paint)];
  if (health.action !== null) rows.push(["do", paint("bold", health.action)]);
  if (reading.kind === "login") rows.push(...loginRows(reading.credential, { nowMs, policy: settings }, paint));
  const written = describeMoment(Number(row["updated_ms"]), nowMs);
  rows.push(["stored", `version ${row["version"]}, by ${plain(row["updated_by"])} ${written}`]);
  rows.push(["keys", `owner ${keyIdOf(row["sealed_owner"])}, follower ${keyIdOf(row["sealed_follower"])}`]);
  if (owners.length === 0) rows.push(["owners", paint("degraded", "none was ever seen: nobody refreshes this login")]);
  for (const { name, seenMs } of owners) {
    const seen = `${plain(name)}, seen ${describeMoment(seenMs, nowMs)}`;
    rows.push(["owner", isOwnerAlive(seenMs, nowMs) ? seen : paint("dim", `${seen}: not running`)]);
  }
  for (const ticket of tickets) rows.push(["request", describeTicket(ticket, nowMs)]);
  return renderRows(view.location, rows, paint);
}

/** What others have written, as a terminal may have it. */
function plain(text: unknown): string {
  return String(text).replace(/\p{Cc}/gu, " ");
}

function describeTicket(ticket: Ticket, nowMs: number): string {
  const who = plain(describeHolder(ticket.prepared?.holder ?? null));
  const since = describeSpan(nowMs - ticket.createdAtMs);
  if (ticket.state.kind === "rejected") return `${who} was refused (${ticket.state.rejection.cause})`;
  if (isInFlight(ticket, nowMs)) return `${who} is at work since ${since}; its answer is waited for`;
  return `${who} has not said what became of it since ${since}`;
}

function keyIdOf(sealed: unknown): string {
  return readKeyId(String(sealed)) ?? "unreadable";
}

function toJson(view: StoreView, health: Health): string {
  const { location, row, reading, tickets, owners, nowMs } = view;
  const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
  const credential = reading.kind === "login" ? reading.credential : null;
  const value = {
    schema_version: 1,
    watchdog_version: VERSION,
    store: location,
    state: health.state,
    reason: health.reason,
    headline: health.headline,
    operator_action: health.action,
    version: Number(row["version"]),
    updated_at: iso(Number(row["updated_ms"])),
    updated_by: row["updated_by"],
    key_ids: { owner: keyIdOf(row["sealed_owner"]), follower: keyIdOf(row["sealed_follower"]) },
    last_refresh: credential?.lastRefreshText ?? null,
    access_token_expires_at: iso(credential?.accessClaims.expiresAtMs ?? null),
    owners: owners.map(({ name, seenMs }) => ({ name, seen_at: iso(seenMs), is_alive: isOwnerAlive(seenMs, nowMs) })),
    requests: tickets.map((ticket) => ({
      attempt: ticket.attempt,
      holder: describeHolder(ticket.prepared?.holder ?? null),
      started_at: iso(ticket.createdAtMs),
      state: ticket.state.kind,
      is_in_flight: isInFlight(ticket, nowMs),
    })),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}
