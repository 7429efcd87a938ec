import type { CredentialReading } from "./credential.js";
import { describeFault, type Fault } from "./fault.js";
import type { CycleOutcome } from "./outcome.js";

/** What a look at the store found. */
export type Reading =
  | CredentialReading
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly fault: Fault };

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

/** Why nothing may be concluded from this reading, in words that follow the store's name; null when it may. */
export function describeUnclear(reading: Reading): string | null {
  switch (reading.kind) {
    case "torn":
    case "misshapen":
      return reading.problem;
    case "empty":
      return "is empty";
    case "unreadable":
      return `is out of reach: ${describeFault(reading.fault)}`;
    default:
      return null;
  }
}
