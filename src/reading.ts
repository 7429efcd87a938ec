import { type CredentialReading, readCredential } from "./core/credential.js";
import { describeFault, type Fault } from "./core/fault.js";
import type { CycleOutcome } from "./core/outcome.js";
import type { Clock, CredentialStore, StoreReading } from "./ports.js";

/** The store's text, understood. */
export type Reading =
  | CredentialReading
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly fault: Fault };

/** For how long torn or empty text is read again, milliseconds: Codex up to 0.165 writes in place. */
export const SETTLE_MS = 500;
export const SETTLE_STEP_MS = 25;

/** Reads the store, and again for up to {@link SETTLE_MS} while another program seems to be writing. */
export async function readSettled(ports: { readonly store: CredentialStore; readonly clock: Clock }): Promise<Reading> {
  const untilMs = ports.clock.nowMs() + SETTLE_MS;
  for (;;) {
    const reading = understand(ports.store.read());
    const isUnsettled = reading.kind === "torn" || reading.kind === "empty";
    if (!isUnsettled || ports.clock.nowMs() >= untilMs) return reading;
    await ports.clock.sleep(SETTLE_STEP_MS);
  }
}

export function understand(reading: StoreReading): Reading {
  if (reading.kind === "garbled") return { kind: "torn", problem: "is not UTF-8 text" };
  return reading.kind === "text" ? readCredential(reading.text) : reading;
}

/** What a cycle makes of a store that holds no login to refresh. */
export function outcomeWithoutLogin(reading: Exclude<Reading, { kind: "login" }>): CycleOutcome {
  switch (reading.kind) {
    case "absent":
    case "empty":
      return { kind: "absent" };
    case "inert":
      return { kind: "inert", reason: reading.reason };
    case "torn":
    case "misshapen":
      return { kind: "unreadable", problem: reading.problem };
    case "unreadable":
      return { kind: "blocked", fault: reading.fault };
  }
}

/** Why nothing can be decided on this reading, in words that follow the store's name; null when it can. */
export function describeUnclear(reading: Reading): string | null {
  switch (reading.kind) {
    case "torn":
    case "misshapen":
      return reading.problem;
    case "empty":
      return "is empty";
    case "unreadable":
      return describeFault(reading.fault);
    default:
      return null;
  }
}
