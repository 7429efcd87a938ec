import type { Reading } from "./core/credential.js";
import type { Clock, CredentialStore, TicketBook, TicketListing } from "./ports.js";

/** For how long torn or empty text is read again, milliseconds: Codex up to 0.166 writes in place. */
export const SETTLE_MS = 500;
export const SETTLE_STEP_MS = 25;

/** Reads the store, and again for up to {@link SETTLE_MS} while another program seems to be writing. */
export async function readSettled({ store, clock }: { store: CredentialStore; clock: Clock }): Promise<Reading> {
  const untilMs = clock.nowMs() + SETTLE_MS;
  for (;;) {
    const reading = await store.read();
    const isUnsettled = reading.kind === "torn" || reading.kind === "empty";
    if (!isUnsettled || clock.nowMs() >= untilMs) return reading;
    await clock.sleep(SETTLE_STEP_MS);
  }
}

/** Whether an answer that was received and not brought to its end lies in a ticket. */
export async function isAnswerWaiting(tickets: Pick<TicketBook, "list">): Promise<boolean> {
  return hasAnswer(await tickets.list());
}

/** The same of a list that is at hand. */
export function hasAnswer(listing: TicketListing): boolean {
  return listing.kind === "tickets" && listing.tickets.some(({ state }) => state.kind === "answered");
}
