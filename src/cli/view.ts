import { fileCredentialStore } from "../adapters/file-credential-store.js";
import { fileStatusSink } from "../adapters/file-status-sink.js";
import { fileTicketBook } from "../adapters/file-ticket-book.js";
import { describeSelf, lifeOf } from "../adapters/process-identity.js";
import type { HomeView } from "../core/health.js";
import type { Clock } from "../ports.js";
import { readSettled } from "../reading.js";

/** Looks at everything of a home, and changes nothing. Never throws for what lies there. */
export async function viewHome(codexHome: string, clock: Clock): Promise<HomeView> {
  const store = fileCredentialStore(codexHome);
  const { location } = store;
  const listing = fileTicketBook(location, clock).list();
  const last = fileStatusSink(codexHome).read();
  return {
    codexHome,
    location,
    reading: await readSettled({ store, clock }),
    tickets: listing.kind === "tickets" ? listing.tickets : [],
    setAside: listing.kind === "tickets" ? listing.setAside : [],
    storeSetting: await store.readCredentialsStoreSetting(),
    last,
    daemonLife: last?.daemon == null ? null : lifeOf(last.daemon, describeSelf()),
  };
}
