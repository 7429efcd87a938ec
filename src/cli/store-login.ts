import { hostname } from "node:os";
import { fileCredentialStore } from "../adapters/file-credential-store.js";
import { fileTicketBook } from "../adapters/file-ticket-book.js";
import { joseSealer, keyIdOf, readKeyId } from "../adapters/jose-sealer.js";
import { readKeyPair, readKeySource } from "../adapters/key-source.js";
import type { Postgres, Row } from "../adapters/postgres.js";
import { type Sealers, writeRow } from "../adapters/postgres-row.js";
import { systemClock } from "../adapters/system-clock.js";
import { type Credential, readCredential } from "../core/credential.js";
import type { Fault } from "../core/fault.js";
import { fingerprint } from "../core/fingerprint.js";
import { nextVersion } from "../core/fleet.js";
import type { SealKey } from "../core/fleet-keys.js";
import { outcomeWithoutLogin, reportOutcome } from "../core/outcome.js";
import { damagedLoginOf, planGiveAway, planPut, type StoredLogin, storedLoginOf } from "../core/put.js";
import { describeUnopened } from "../core/seal.js";
import type { Sealer } from "../ports.js";
import { readSettled } from "../reading.js";
import type { FleetSettings } from "./fleet-options.js";
import type { Settings } from "./options.js";
import { failed, refused, type StoreAnswer } from "./store.js";

/** One row as a command sees it. */
interface StoredRow {
  readonly id: string;
  readonly version: number;
  readonly sealed: { readonly owner: string; readonly follower: string };
}

const SELECT = `select c.id, c.version, c.sealed_owner, c.sealed_follower, c.refresh_fp, c.account_ids,
    extract(epoch from coalesce(c.last_refresh, c.updated_at)) * 1000 as aged_ms,
    extract(epoch from clock_timestamp()) * 1000 as now_ms,
    exists (select from codex_auth.spend as s where s.refresh_fp = $2 and s.dispatched_at is not null) as was_presented,
    (select o.id from codex_auth.credential as o where o.refresh_fp = $2 and o.id <> $1) as other_name
  from (select 1) as one left join codex_auth.credential as c on c.id = $1`;

/** SQLSTATE: somebody has put the same token under another name since we looked. */
const UNIQUE_VIOLATION = "23505";

/** Puts the login of auth.json into the store, unless a newer one is there. */
export async function putLogin(settings: Settings, fleet: FleetSettings, db: Postgres): Promise<StoreAnswer> {
  const sealers = openSealers(fleet);
  if ("message" in sealers) return refused(sealers.message, 64);
  const offered = await readOwnLogin(settings);
  if ("notes" in offered) return offered;

  const { credentialId } = fleet;
  const values = [credentialId, fingerprint(offered.refreshToken)];
  const result = await db.query({ step: "read", text: SELECT, values, isRepeatable: true });
  if (result.kind === "failed") return failed(result.fault);
  const [row] = result.rows;
  const stored = rowOf(row);
  const opened = stored === null ? null : await openLogin(sealers.owner, stored);
  // A key that we don't have may open it. What nobody can open must not stand in the way for ever.
  if (opened !== null && "problem" in opened && opened.isKeyMissing) {
    return refused(`${nameOf(db, credentialId)} ${opened.problem}`);
  }
  const place = opened === null || row === undefined ? null : toStoredLogin(opened, row);
  const otherName = typeof row?.["other_name"] === "string" ? row["other_name"] : null;
  const past = { wasPresented: row?.["was_presented"] === true, otherName };
  const plan = planPut(offered, place, past);
  if (plan.kind === "refused") return refused(`not stored: ${plan.why}`);
  const from = stored?.version ?? 0;
  const version = nextVersion(from, Number(row?.["now_ms"]));
  const text = offered.text.reveal();
  const written = await writeRow(db, sealers, { credentialId, from, version, text, updatedBy: `put on ${hostname()}` });
  const isRaced = written.kind === "failed" ? written.fault.code === UNIQUE_VIOLATION : written.rows.length === 0;
  if (written.kind === "failed" && !isRaced) return failed(written.fault);
  if (isRaced) return refused("not stored: somebody has just written to the store; look, and try again");
  const { email } = offered.idClaims;
  const [home = ""] = settings.codexHomes;
  return {
    text: `stored ${email ?? "the login"} as ${credentialId}, version ${version}\n`,
    notes: [
      `${home}/auth.json still holds the refresh token; from now on only the store's owners may use it: run codex-auth-watchdog follow --take-over for that home, and no watchdog without --store`,
    ],
    exitCode: 0,
  };
}

/** The login of the home that was named, when it may be given away. */
async function readOwnLogin({ codexHomes }: Settings): Promise<Credential | StoreAnswer> {
  const [codexHome = "", ...more] = codexHomes;
  if (more.length > 0) return refused("--codex-home: give the one whose login is to be stored", 64);
  const store = fileCredentialStore(codexHome);
  const reading = await readSettled({ store, clock: systemClock });
  if (reading.kind !== "login") {
    const { line } = reportOutcome(outcomeWithoutLogin(reading), store.location);
    return refused(`not stored: ${line.replace(/^[a-z-]+: /, "")}`);
  }
  const { credential } = reading;
  const listing = fileTicketBook(store.location, systemClock).list();
  if (listing.kind === "failed") return failed(listing.fault);
  const mark = fingerprint(credential.refreshToken);
  const own = listing.tickets.filter((ticket) => ticket.fingerprint === mark);
  const plan = planGiveAway(own, systemClock.nowMs());
  if (plan.kind === "refused") return refused(`not stored: ${plan.why}`);
  if (plan.kind === "wait") {
    const advice = "run codex-auth-watchdog --once, then try again";
    return refused(`not stored: a refresh of this login is not finished; ${advice}`, 2);
  }
  return credential;
}

/** Prints a login as a follower gets it, or whole. */
export async function getLogin(fleet: FleetSettings, db: Postgres): Promise<StoreAnswer> {
  const { credentialId, isWithRefreshToken } = fleet;
  // A follower's role reads no more than this.
  const column = isWithRefreshToken || fleet.followerKey === null ? "owner" : "follower";
  const keys = readKeySource(fleet[`${column}Key`], column);
  if (keys.kind !== "keys") return refused(keys.message, 64);
  const text = `select version, sealed_${column} as sealed from codex_auth.credential where id = $1`;
  const result = await db.query({ step: "read", text, values: [credentialId], isRepeatable: true });
  if (result.kind === "failed") return failed(result.fault);
  const [row] = result.rows;
  const name = nameOf(db, credentialId);
  if (row === undefined) return refused(`${name} holds no login; store put puts one there`);
  const place = { credentialId, version: Number(row["version"]), column } as const;
  const opened = await joseSealer(keys.keys).open(String(row["sealed"]), place);
  if (opened.kind !== "opened") return refused(`${name} ${describeUnopened(opened, column)}`);
  if (column === "follower" || isWithRefreshToken) {
    const warning = "this refresh token works once: whoever uses it takes the login away from the store";
    return { text: `${opened.text.reveal()}\n`, notes: isWithRefreshToken ? [warning] : [], exitCode: 0 };
  }
  const { toFollowerText } = await import("../core/follower-text.js");
  const copy = toFollowerText(opened.text.reveal());
  return copy === null ? refused(`${name} holds no login`) : { text: `${copy}\n`, notes: [], exitCode: 0 };
}

/** How often a row is tried again that an owner has written meanwhile. */
const ROTATE_TRIES = 5;

/** Seals every login of the store with the first key of each column. */
export async function rotateKey(fleet: FleetSettings, db: Postgres): Promise<StoreAnswer> {
  const sealers = openSealers(fleet);
  if ("message" in sealers) return refused(sealers.message, 64);
  const ids = await db.query({
    step: "read",
    text: "select id from codex_auth.credential order by id",
    isRepeatable: true,
  });
  if (ids.kind === "failed") return failed(ids.fault);
  if (ids.rows.length === 0) return refused(`${db.shownAddress} holds no login; store put puts one there`);
  const lines: string[] = [];
  const notes: string[] = [];
  let fault: Fault | null = null;
  for (const { id } of ids.rows) {
    const said = await rotateRow(db, sealers, String(id));
    if (said === null) continue;
    if ("fault" in said) fault = said.fault;
    else if ("line" in said) lines.push(said.line);
    else notes.push(said.note);
  }
  if (fault !== null) return { ...failed(fault), text: lines.map((line) => `${line}\n`).join("") };
  if (notes.length > 0) return { text: lines.map((line) => `${line}\n`).join(""), notes, exitCode: 1 };
  if (lines.length === 0)
    return { text: "every login is sealed with the first keys already\n", notes: [], exitCode: 1 };
  lines.push("when every owner and follower has the new keys, the old ones can be taken out of their files");
  return { text: lines.map((line) => `${line}\n`).join(""), notes: [], exitCode: 0 };
}

/** What became of one row: sealed anew, or why not. */
type Rotated = { readonly line: string } | { readonly note: string } | { readonly fault: Fault };

/** Null when the row is sealed with the first keys already. */
async function rotateRow(db: Postgres, sealers: KeyedSealers, credentialId: string): Promise<Rotated | null> {
  for (let tries = 0; tries < ROTATE_TRIES; tries += 1) {
    const result = await db.query({ step: "read", text: SELECT, values: [credentialId, ""], isRepeatable: true });
    if (result.kind === "failed") return result;
    const stored = rowOf(result.rows[0]);
    if (stored === null) return { note: `${credentialId}: was taken away meanwhile` };
    const used = keyIdsOf(stored);
    if (used.owner === sealers.firstIds.owner && used.follower === sealers.firstIds.follower) return null;
    const opened = await openLogin(sealers.owner, stored);
    if ("problem" in opened) return { note: `${credentialId}: ${opened.problem}` };
    const text = opened.credential.text.reveal();
    const version = nextVersion(stored.version, Number(result.rows[0]?.["now_ms"]));
    const write = { credentialId, from: stored.version, version, text, updatedBy: `rotate-key on ${hostname()}` };
    const written = await writeRow(db, sealers, write);
    if (written.kind === "failed") return written;
    if (written.rows.length > 0) return { line: `${credentialId}: sealed anew, version ${version}` };
  }
  return { note: `${credentialId}: was written by somebody else again and again; try again` };
}

function keyIdsOf({ sealed }: StoredRow): { readonly owner: string | null; readonly follower: string | null } {
  return { owner: readKeyId(sealed.owner), follower: readKeyId(sealed.follower) };
}

/** A row's login, or why it can't be had, in words that follow the store's name. */
type OpenedRow = { readonly credential: Credential } | { readonly problem: string; readonly isKeyMissing: boolean };

function toStoredLogin(opened: OpenedRow, { refresh_fp, account_ids, aged_ms }: Row): StoredLogin {
  if ("credential" in opened) return storedLoginOf(opened.credential);
  return damagedLoginOf({
    fingerprint: String(refresh_fp),
    accountIds: String(account_ids),
    agedMs: Number(aged_ms),
  });
}

async function openLogin(sealer: Sealer, { id, version, sealed }: StoredRow): Promise<OpenedRow> {
  const opened = await sealer.open(sealed.owner, { credentialId: id, version, column: "owner" });
  if (opened.kind !== "opened") {
    return { problem: describeUnopened(opened, "owner"), isKeyMissing: opened.kind === "unknown-key" };
  }
  const reading = readCredential(opened.text.reveal());
  if (reading.kind !== "login") return { problem: "holds no login", isKeyMissing: false };
  return { credential: reading.credential };
}

interface KeyedSealers extends Sealers {
  /** The ids of the keys that seal. */
  readonly firstIds: { readonly owner: string | null; readonly follower: string | null };
}

function openSealers(fleet: FleetSettings): KeyedSealers | { readonly message: string } {
  const keys = readKeyPair(fleet.ownerKey, fleet.followerKey);
  if (keys.kind !== "keys") return keys;
  const firstIds = { owner: firstIdOf(keys.owner), follower: firstIdOf(keys.follower) };
  return { owner: joseSealer(keys.owner), follower: joseSealer(keys.follower), firstIds };
}

function firstIdOf([key]: readonly SealKey[]): string | null {
  return key === undefined ? null : keyIdOf(key);
}

function rowOf(row: Row | undefined): StoredRow | null {
  if (row === undefined || row["version"] === null) return null;
  const { id, version, sealed_owner, sealed_follower } = row;
  return {
    id: String(id),
    version: Number(version),
    sealed: { owner: String(sealed_owner), follower: String(sealed_follower) },
  };
}

function nameOf(db: Postgres, credentialId: string): string {
  return `${db.shownAddress} (credential ${credentialId})`;
}
