import { readdirSync } from "node:fs";
import type { Clock, TicketBook } from "../ports.js";
import { findPlace } from "./place.js";

/**
 * The tickets as a look needs them: mostly there are none, and the code that reads one is loaded for nobody.
 *
 * What can't be listed is left to that code to describe.
 */
export function ticketLook(authJsonPath: string, clock: Clock): Pick<TicketBook, "list"> {
  return {
    list: async () => {
      if (isEmpty(authJsonPath)) return { kind: "tickets", tickets: [], setAside: [] };
      return (await import("./file-ticket-book.js")).fileTicketBook(authJsonPath, clock).list();
    },
  };
}

function isEmpty(authJsonPath: string): boolean {
  const { directory, ownPrefix } = findPlace(authJsonPath);
  try {
    return !readdirSync(directory).some((name) => name.startsWith(ownPrefix) && /\.(?:ticket|set-aside)$/.test(name));
  } catch {
    return false;
  }
}
