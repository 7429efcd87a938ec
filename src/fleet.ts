import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { databaseClock } from "./adapters/database-clock.js";
import { fileTicketBook } from "./adapters/file-ticket-book.js";
import { fleetTicketBook } from "./adapters/fleet-ticket-book.js";
import { joseSealer } from "./adapters/jose-sealer.js";
import { readKeyPair } from "./adapters/key-source.js";
import { makeHome } from "./adapters/new-auth-file.js";
import { Postgres } from "./adapters/postgres.js";
import { postgresCredentialStore } from "./adapters/postgres-credential-store.js";
import { keepOwnerSeen } from "./adapters/postgres-owners.js";
import { versionMark } from "./adapters/version-mark.js";
import type { FleetSettings } from "./cli/fleet-options.js";
import type { Clock, CredentialStore, TicketBook } from "./ports.js";

/** The doors of a login in PostgreSQL, for one of its owners. */
export interface Fleet {
  /** The database's. */
  readonly clock: Clock;
  readonly store: CredentialStore;
  readonly tickets: TicketBook;
  /** The file that lock and journal stand beside; there is none of that name. */
  readonly journalPath: string;
  /** Calls back when the login may have changed; the result ends it. */
  readonly watch: (onEvent: () => void) => () => void;
  readonly close: () => Promise<void>;
}

export type OpenedFleet =
  | { readonly kind: "opened"; readonly fleet: Fleet }
  /** One line that says what is wrong with the call. */
  | { readonly kind: "usage-error"; readonly message: string };

/**
 * Opens a login in PostgreSQL. Connects to nothing yet.
 *
 * @param codexHome where lock and journal of this host lie
 */
export async function openFleet(settings: FleetSettings, codexHome: string, system: Clock): Promise<OpenedFleet> {
  const { store: address, credentialId } = settings;
  if (address === null) throw new Error("a fleet without a store");
  const keys = readKeyPair(settings.ownerKey, settings.followerKey);
  if (keys.kind !== "keys") return { kind: "usage-error", message: keys.message };

  // The first preflight says what is wrong with one that can't be made.
  await makeHome(resolve(codexHome)).catch(() => undefined);
  const db = new Postgres(address);
  const clock = databaseClock(system);
  const journalPath = join(codexHome, `fleet.${credentialId}`);
  const host = hostname();
  const ownerName = `${host}:${codexHome}`;
  const parts = { db, credentialId, clock, ownerName };
  const store = postgresCredentialStore({
    ...parts,
    sealers: { owner: joseSealer(keys.owner), follower: joseSealer(keys.follower) },
    versionMark: versionMark(journalPath),
  });
  const fleet: Fleet = {
    clock,
    store,
    tickets: fleetTicketBook({ db, credentialId, local: fileTicketBook(journalPath, clock), clock }),
    journalPath,
    watch: (onEvent) => keepOwnerSeen({ ...parts, store, host }, onEvent),
    close: () => db.close(),
  };
  return { kind: "opened", fleet };
}
