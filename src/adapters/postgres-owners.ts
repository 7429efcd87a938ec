import type { DatabaseClock } from "./database-clock.js";
import type { Postgres } from "./postgres.js";
import type { PostgresStore } from "./postgres-credential-store.js";

/** How often an owner shows that it lives, and looks whether the row was changed, milliseconds. */
const BEAT_MS = 30_000;

const BEAT = `with seen as (insert into codex_auth.owner as o (credential, name, host, seen_at)
    values ($1, $2, $3, clock_timestamp())
    on conflict (credential, name) do update set host = excluded.host, seen_at = excluded.seen_at),
  forgotten as (delete from codex_auth.owner where seen_at < now() - interval '30 days'),
  old as (delete from codex_auth.spend where ended_at < now() - interval '400 days')
  select version, extract(epoch from clock_timestamp()) * 1000 as now_ms
  from (select 1) as one left join codex_auth.credential on id = $1`;

export interface OwnerParts {
  readonly db: Postgres;
  readonly credentialId: string;
  readonly store: PostgresStore;
  readonly clock: DatabaseClock;
  readonly ownerName: string;
  readonly host: string;
}

/**
 * Shows the others that this owner lives, and calls back when the row may have changed: at once by the database's
 * notice, and by a look of its own where no notice comes through.
 *
 * @returns what ends it
 */
export function keepOwnerSeen(parts: OwnerParts, onEvent: () => void): () => void {
  const { db, credentialId, store, clock, ownerName, host } = parts;
  let isBeating = false;
  const beat = async (): Promise<void> => {
    if (isBeating) return;
    isBeating = true;
    try {
      const askedAtMs = clock.systemNowMs();
      const values = [credentialId, ownerName, host];
      const result = await db.query({ step: "show a sign of life in", text: BEAT, values, isRepeatable: true });
      const row = result.kind === "rows" ? result.rows[0] : undefined;
      if (row === undefined) return; // The next cycle says what is wrong.
      clock.set(Number(row["now_ms"]), askedAtMs);
      const mark = store.changeMark();
      store.noteVersion(row["version"] === null ? null : Number(row["version"]));
      if (store.changeMark() !== mark) onEvent();
    } finally {
      isBeating = false;
    }
  };
  db.listen((payload) => {
    const [id, version] = payload.split(" ");
    if (id !== credentialId) return;
    store.noteVersion(Number(version));
    onEvent();
  });
  void beat();
  const timer = setInterval(() => void beat(), BEAT_MS);
  return () => clearInterval(timer);
}
