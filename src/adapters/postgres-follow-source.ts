import { describeUnreadable, type FaultKind } from "../core/fault.js";
import { isOwnerAlive } from "../core/fleet.js";
import { describeUnopened } from "../core/seal.js";
import type { Secret } from "../core/secret.js";
import type { Clock, Fetched, FollowSource, Sealer } from "../ports.js";
import type { Postgres } from "./postgres.js";

/** All that a follower's role may see, in one statement; what it knows by its version is not sent again. */
const SELECT = `select c.version, case when c.version <> $2 then c.sealed_follower end as sealed, extract(epoch from clock_timestamp()) * 1000 as now_ms,
    (select extract(epoch from max(o.seen_at)) * 1000 from codex_auth.owner as o where o.credential = $1) as seen_ms
  from (select 1) as one left join codex_auth.credential as c on c.id = $1`;

/** What a person must mend: waiting does not. */
const FINAL: readonly FaultKind[] = ["database-login", "database-missing", "database-role", "database-schema"];

export interface PostgresSourceParts {
  readonly db: Postgres;
  readonly credentialId: string;
  readonly sealer: Sealer;
  readonly clock: Clock;
}

/** A follower's copy from the database, under a role that can read nothing else. */
export function postgresFollowSource({ db, credentialId, sealer, clock }: PostgresSourceParts): FollowSource {
  let last: { readonly version: number; readonly text: Secret } | null = null;
  return {
    location: `${db.shownAddress} (credential ${credentialId})`,
    fetch: async (): Promise<Fetched> => {
      const result = await db.query({
        step: "read",
        text: SELECT,
        values: [credentialId, last?.version ?? 0],
        isRepeatable: true,
      });
      if (result.kind === "failed") {
        const { fault } = result;
        return { kind: "unavailable", problem: describeUnreadable(fault), isFinal: FINAL.includes(fault.kind) };
      }
      const row = result.rows[0] ?? {};
      if (row["version"] == null) {
        const problem = "holds no login; put one there with codex-auth-watchdog store put";
        return { kind: "unavailable", problem, isFinal: false };
      }
      const version = Number(row["version"]);
      if (last?.version !== version) {
        const place = { credentialId, version, column: "follower" } as const;
        const opened = await sealer.open(String(row["sealed"]), place);
        if (opened.kind !== "opened") {
          return { kind: "unavailable", problem: describeUnopened(opened, "follower"), isFinal: true };
        }
        last = { version, text: opened.text };
      }
      const seenMs = row["seen_ms"] == null ? null : Number(row["seen_ms"]);
      const nowMs = Number(row["now_ms"]);
      return {
        kind: "fetched",
        ...last,
        ownerSeenAtMs: seenMs === null ? null : clock.nowMs() - (nowMs - seenMs),
        isOwnerAlive: isOwnerAlive(seenMs, nowMs),
      };
    },
    watch: (onNews) => {
      db.listen((payload) => {
        if (payload.split(" ")[0] === credentialId) onNews();
      });
      return () => undefined;
    },
    close: () => db.close(),
  };
}
