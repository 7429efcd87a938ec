import type { CommandName } from "./option-table.js";
import type { Settings } from "./options.js";

export type StoreCommand = Extract<CommandName, `store ${string}`>;

/** Carries out one of the commands on the store in PostgreSQL. */
export function keepStore(_command: StoreCommand, _settings: Settings): Promise<void> {
  return Promise.reject(new Error("not built yet"));
}
