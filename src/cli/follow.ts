import type { Settings } from "./options.js";

/** Keeps a read-only copy of a login that another process refreshes. */
export function follow(_settings: Settings): Promise<void> {
  return Promise.reject(new Error("not built yet"));
}
