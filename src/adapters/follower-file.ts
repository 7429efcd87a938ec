import type { Reading } from "../core/credential.js";
import { describeFault } from "../core/fault.js";
import type { CommitPlan } from "../core/reconcile.js";
import { fileCredentialStore } from "./file-credential-store.js";
import { createAuthFile } from "./new-auth-file.js";

/** What became of a copy. `problem` is a line of its own. */
export type CopyWritten =
  | { readonly kind: "written" }
  /** The home holds something else by now than what was looked at. */
  | { readonly kind: "changed" }
  | { readonly kind: "unwritten"; readonly problem: string };

/**
 * Writes a copy into a home, whole and durably, in place of what `isExpected` agrees to.
 *
 * @param isExpected asked again at the last moment: a login that appears meanwhile stays
 */
export async function writeCopy(
  codexHome: string,
  text: string,
  isExpected: (reading: Reading) => boolean,
): Promise<CopyWritten> {
  const store = fileCredentialStore(codexHome);
  const { kind } = store.read();
  if (kind === "absent") {
    const created = await createAuthFile(codexHome, text);
    if (typeof created === "object") return { kind: "unwritten", problem: describeFault(created) };
    return created === "created" ? { kind: "written" } : { kind: "changed" };
  }
  const decide = (reading: Reading): CommitPlan => {
    return isExpected(reading) ? { kind: "write", text } : { kind: "yield", to: "newer-login", isCertain: true };
  };
  // A write in place that is torn leaves a text that is no login; the next look copies anew.
  const plan = await store.update(decide, () => Promise.resolve(null));
  if (plan.kind === "failed") return { kind: "unwritten", problem: describeFault(plan.fault) };
  return plan.kind === "write" ? { kind: "written" } : { kind: "changed" };
}
