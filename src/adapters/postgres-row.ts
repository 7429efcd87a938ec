import { readCredential } from "../core/credential.js";
import { fingerprint } from "../core/fingerprint.js";
import { toFollowerText } from "../core/follower-text.js";
import { Secret } from "../core/secret.js";
import type { Sealer } from "../ports.js";
import type { Postgres, QueryResult } from "./postgres.js";

/** For what the owner keeps, and for what followers get. */
export interface Sealers {
  readonly owner: Sealer;
  readonly follower: Sealer;
}

const COLUMNS = `version = $3, refresh_fp = $4, account_ids = $5, sealed_owner = $6, sealed_follower = $7,
    expires_at = to_timestamp($8::double precision / 1000), last_refresh = to_timestamp($9::double precision / 1000),
    updated_at = clock_timestamp(), updated_by = $10`;

/** Only over the version that was read: whoever was faster has written another one. */
const UPDATE = `update codex_auth.credential set ${COLUMNS} where id = $1 and version = $2 returning version`;

const INSERT = `insert into codex_auth.credential (id, version, refresh_fp, account_ids, sealed_owner, sealed_follower,
    expires_at, last_refresh, updated_by)
  select $1, $3, $4, $5, $6, $7, to_timestamp($8::double precision / 1000), to_timestamp($9::double precision / 1000), $10
  where $2::bigint = 0
  on conflict (id) do nothing returning version`;

export interface RowWrite {
  readonly credentialId: string;
  /** The version that is replaced; 0 where there is no row yet. */
  readonly from: number;
  readonly version: number;
  /** The text of an auth.json with a login. */
  readonly text: string;
  /** Who writes, for people. */
  readonly updatedBy: string;
}

/** Seals a login and writes it whole. No rows come back when the row is not what it was taken for. */
export async function writeRow(db: Postgres, sealers: Sealers, write: RowWrite): Promise<QueryResult> {
  const { credentialId, from, version, text, updatedBy } = write;
  const reading = readCredential(text);
  const follower = toFollowerText(text);
  if (reading.kind !== "login" || follower === null) throw new Error("a row of what is no login");
  const { refreshToken, accountIds, accessClaims, lastRefreshMs } = reading.credential;
  const place = { credentialId, version };
  const [sealedOwner, sealedFollower] = await Promise.all([
    sealers.owner.seal(new Secret(text), { ...place, column: "owner" }),
    sealers.follower.seal(new Secret(follower), { ...place, column: "follower" }),
  ]);
  const names = [credentialId, from, version, fingerprint(refreshToken), JSON.stringify(accountIds)];
  const values = [...names, sealedOwner, sealedFollower, accessClaims.expiresAtMs, lastRefreshMs, updatedBy];
  return await db.query({ step: "write to", text: from === 0 ? INSERT : UPDATE, values });
}
