import { fileCredentialStore } from "./adapters/file-credential-store.js";
import { fileTicketBook } from "./adapters/file-ticket-book.js";
import { createAuthFile } from "./adapters/new-auth-file.js";
import { type BootstrapPlan, describeBootstrap, planBootstrap, readBlob } from "./core/bootstrap.js";
import { type Reading, readCredential } from "./core/credential.js";
import { describeFault } from "./core/fault.js";
import { fingerprint } from "./core/fingerprint.js";
import type { CommitPlan } from "./core/reconcile.js";
import type { Secret } from "./core/secret.js";
import type { Ticket } from "./core/ticket.js";
import type { Clock, Log } from "./ports.js";
import { readSettled } from "./reading.js";

/** How often it starts anew because the home has just changed. */
const MAX_TRIES = 3;

/**
 * Makes auth.json from the text that a platform has put into the environment, where there is none or an older one. Once
 * at the start of a process: a logout that comes later stays one.
 */
export async function bootstrap(codexHome: string, blob: Secret, clock: Clock, log: Log): Promise<void> {
  const store = fileCredentialStore(codexHome);
  const text = readBlob(blob);
  const offered = text === null ? null : readCredential(text.reveal());
  const mark = offered?.kind === "login" ? fingerprint(offered.credential.refreshToken) : null;
  const ticketsOfBlob = (): readonly Ticket[] => {
    const listing = fileTicketBook(store.location, clock).list();
    return listing.kind === "tickets" ? listing.tickets.filter((ticket) => ticket.fingerprint === mark) : [];
  };
  const plan = (reading: Reading): BootstrapPlan => planBootstrap(text, reading, ticketsOfBlob(), clock.nowMs());
  for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
    const planned = plan(await readSettled({ store, clock }));
    const written = planned.kind === "write" ? await write(codexHome, planned, plan) : "written";
    if (written === "changed") continue;
    const { level, line } = describeBootstrap(planned, store.location);
    if (written === "written") log.write(level, `bootstrap_${planned.kind}`, line);
    else log.write("error", "bootstrap_failed", `bootstrap: ${written}`);
    return;
  }
}

/** @returns a line when the machine refused */
async function write(
  codexHome: string,
  planned: Extract<BootstrapPlan, { kind: "write" }>,
  plan: (reading: Reading) => BootstrapPlan,
): Promise<"written" | "changed" | string> {
  const store = fileCredentialStore(codexHome);
  if (store.read().kind === "absent") {
    const created = await createAuthFile(codexHome, planned.text.reveal());
    if (typeof created === "object") return describeFault(created);
    return created === "created" ? "written" : "changed";
  }
  const decide = (reading: Reading): CommitPlan => {
    const now = plan(reading);
    if (now.kind === "write") return { kind: "write", text: now.text.reveal() };
    return { kind: "yield", to: "newer-login", isCertain: true };
  };
  // Torn, it leaves a broken file, and the blob is where it was.
  const done = await store.update(decide, () => Promise.resolve(null));
  if (done.kind === "failed") return describeFault(done.fault);
  return done.kind === "write" ? "written" : "changed";
}
