import { type Credential, type Reading, readCredential } from "../core/credential.js";
import { describeUnreadable } from "../core/fault.js";
import { fingerprint } from "../core/fingerprint.js";
import { nextVersion, RESTORED_PROBLEM } from "../core/fleet.js";
import { toFollowerText } from "../core/follower-text.js";
import { describeUnopened } from "../core/seal.js";
import { Secret } from "../core/secret.js";
import type { CredentialStore, Sealer } from "../ports.js";
import type { DatabaseClock } from "./database-clock.js";
import type { Postgres, QueryResult, Row } from "./postgres.js";
import type { VersionMark } from "./version-mark.js";

/** How often a commit starts anew because another owner has just written. */
const MAX_TRIES = 5;

/** What it takes to read and write one credential of the database. */
export interface PostgresStoreParts {
  readonly db: Postgres;
  readonly credentialId: string;
  readonly ownerSealer: Sealer;
  readonly followerSealer: Sealer;
  /** Set with each reading. */
  readonly clock: DatabaseClock;
  readonly versionMark: VersionMark;
  /** Who writes, for people. */
  readonly ownerName: string;
}

/** The login as a row of a database. */
export interface PostgresStore extends CredentialStore {
  /** Told by somebody who has looked that the row has this version; null when there is none. */
  noteVersion(version: number | null): void;
}

const SELECT = `select c.version, c.refresh_fp, c.sealed_owner, extract(epoch from clock_timestamp()) * 1000 as now_ms
  from (select 1) as one left join codex_auth.credential as c on c.id = $1`;

const UPDATE = `update codex_auth.credential
  set version = $3, refresh_fp = $4, account_ids = $5, sealed_owner = $6, sealed_follower = $7,
    expires_at = to_timestamp($8::double precision / 1000), last_refresh = to_timestamp($9::double precision / 1000),
    updated_at = clock_timestamp(), updated_by = $10
  where id = $1 and version = $2 returning version`;

/** Whether what a refresh writes can be written, asked before a token is spent. */
const PREFLIGHT = `select has_any_column_privilege('codex_auth.credential', 'update')
    and has_table_privilege('codex_auth.spend', 'insert, update, delete') as may_write,
  current_setting('transaction_read_only') = 'on' as is_read_only`;

/** A row, and what it says. */
interface Content {
  /** Null when there is no row, or it could not be had. */
  readonly version: number | null;
  readonly reading: Reading;
}

/**
 * The login as a sealed row. No transaction is ever open while anything else is waited for: a write names the version
 * that it replaces, and starts anew when another owner was faster.
 */
export function postgresCredentialStore(parts: PostgresStoreParts): PostgresStore {
  const { db, credentialId, versionMark } = parts;
  const location = `${db.shownAddress} (credential ${credentialId})`;
  let seen: number | null = null;
  return {
    location,
    read: async () => {
      const { version, reading } = await readRow(parts);
      if (reading.kind === "unreadable") return reading;
      seen = version;
      if (version !== null && version < versionMark.read()) return { kind: "unreadable", problem: RESTORED_PROBLEM };
      await versionMark.raise(version ?? 0);
      return reading;
    },
    changeMark: () => `${seen}`,
    noteVersion: (version) => {
      seen = version;
    },
    readCredentialsStoreSetting: () => Promise.resolve("file"),
    preflight: async () => {
      const result = await db.query({ step: "write to", text: PREFLIGHT, isRepeatable: true });
      if (result.kind === "failed") return result.fault;
      const [row] = result.rows;
      const path = db.shownAddress;
      if (row?.["is_read_only"] === true) return { kind: "database-read-only", step: "write to", path, code: "25006" };
      if (row?.["may_write"] !== true) return { kind: "database-role", step: "write to", path, code: "42501" };
      return null;
    },
    update: async (decide) => {
      for (let tries = 0; tries < MAX_TRIES; tries += 1) {
        const before = await readRow(parts);
        const plan = decide(before.reading);
        if (plan.kind !== "write" || before.version === null) return plan;
        const version = nextVersion(before.version, parts.clock.nowMs());
        const result = await write(parts, before.version, version, plan.text);
        if ("fault" in result) return result;
        if (result.rows.length === 0) continue; // Another owner, or a new login: its word is heard in the next round.
        seen = version;
        await versionMark.raise(version);
        return plan;
      }
      return { kind: "unclear", problem: "is being written by another program again and again" };
    },
    sync: () => Promise.resolve(null),
    redo: () => Promise.resolve(null),
  };
}

async function readRow({ db, credentialId, ownerSealer, clock }: PostgresStoreParts): Promise<Content> {
  const askedAtMs = clock.systemNowMs();
  const result = await db.query({ step: "read", text: SELECT, values: [credentialId], isRepeatable: true });
  const unreadable = (problem: string): Content => ({ version: null, reading: { kind: "unreadable", problem } });
  if (result.kind === "failed") return unreadable(describeUnreadable(result.fault));
  const [row] = result.rows;
  if (row === undefined) return unreadable("gave no answer; see the database's log");
  clock.set(Number(row["now_ms"]), askedAtMs);
  if (row["version"] === null) return { version: null, reading: { kind: "absent" } };

  const version = Number(row["version"]);
  const place = { credentialId, version, column: "owner" } as const;
  const opened = await ownerSealer.open(String(row["sealed_owner"]), place);
  if (opened.kind !== "opened") return unreadable(describeUnopened(opened, "owner"));
  const text = opened.text.reveal();
  const reading = readCredential(text);
  if (!isOfRow(reading, row)) return unreadable("holds another token than it says; put a new login");
  // What can't be copied for followers can't be saved either: a token must not be spent for it.
  if (reading.kind === "login" && toFollowerText(text) === null) return unreadable("can't be copied for followers");
  return { version, reading };
}

/** The spend rows go by the name of the token that stands in the row: it must be the name of the sealed one. */
function isOfRow(reading: Reading, row: Row): boolean {
  return reading.kind !== "login" || fingerprint(reading.credential.refreshToken) === row["refresh_fp"];
}

async function write(parts: PostgresStoreParts, from: number, version: number, text: string): Promise<QueryResult> {
  const { db, credentialId, ownerSealer, followerSealer, ownerName } = parts;
  const reading = readCredential(text);
  const follower = toFollowerText(text);
  if (reading.kind !== "login" || follower === null) throw new Error("a commit of what is no login");
  const { credential } = reading;
  const place = { credentialId, version };
  const [sealedOwner, sealedFollower] = await Promise.all([
    ownerSealer.seal(new Secret(text), { ...place, column: "owner" }),
    followerSealer.seal(new Secret(follower), { ...place, column: "follower" }),
  ]);
  const values = [credentialId, from, version, ...columnsOf(credential), sealedOwner, sealedFollower];
  const [expiresAtMs, lastRefreshMs] = [credential.accessClaims.expiresAtMs, credential.lastRefreshMs];
  return await db.query({ step: "write to", text: UPDATE, values: [...values, expiresAtMs, lastRefreshMs, ownerName] });
}

function columnsOf(credential: Credential): readonly [refreshFp: string, accountIds: string] {
  return [fingerprint(credential.refreshToken), JSON.stringify(credential.accountIds)];
}
