import { type Reading, readCredential } from "../core/credential.js";
import { describeUnreadable } from "../core/fault.js";
import { fingerprint } from "../core/fingerprint.js";
import { nextVersion, RESTORED_PROBLEM } from "../core/fleet.js";
import { toFollowerText } from "../core/follower-text.js";
import { describeUnopened } from "../core/seal.js";
import type { CredentialStore } from "../ports.js";
import type { DatabaseClock } from "./database-clock.js";
import type { Postgres, Row } from "./postgres.js";
import { type Sealers, writeRow } from "./postgres-row.js";
import type { VersionMark } from "./version-mark.js";

/** How often a commit starts anew because another owner has just written. */
const MAX_TRIES = 5;

/** What it takes to read and write one credential of the database. */
export interface PostgresStoreParts {
  readonly db: Postgres;
  readonly credentialId: string;
  readonly sealers: Sealers;
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
        const write = { credentialId, from: before.version, version, text: plan.text, updatedBy: parts.ownerName };
        const result = await writeRow(db, parts.sealers, write);
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

async function readRow({ db, credentialId, sealers, clock }: PostgresStoreParts): Promise<Content> {
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
  const opened = await sealers.owner.open(String(row["sealed_owner"]), place);
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
