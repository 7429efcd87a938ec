import { link, mkdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Reading } from "../core/credential.js";
import { describeFault } from "../core/fault.js";
import type { CommitPlan } from "../core/reconcile.js";
import { errnoOf, toFault } from "./errno.js";
import { fileCredentialStore } from "./file-credential-store.js";
import { findPlace, ownerFor } from "./place.js";
import { syncPath, writeWhole } from "./whole-file.js";

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
  if (kind === "absent") return await createCopy(codexHome, text);
  const decide = (reading: Reading): CommitPlan => {
    return isExpected(reading) ? { kind: "write", text } : { kind: "yield", to: "newer-login", isCertain: true };
  };
  // A write in place that is torn leaves a text that is no login; the next look copies anew.
  const plan = await store.update(decide, () => Promise.resolve(null));
  if (plan.kind === "failed") return { kind: "unwritten", problem: describeFault(plan.fault) };
  return plan.kind === "write" ? { kind: "written" } : { kind: "changed" };
}

/** Creates auth.json where there is none, and not over one that has just come. */
async function createCopy(codexHome: string, text: string): Promise<CopyWritten> {
  const path = join(codexHome, "auth.json");
  const { file, directory, own } = findPlace(path);
  const staged = own(`new.${process.pid}`);
  try {
    // As Codex does it.
    await mkdir(codexHome, { recursive: true, mode: 0o700 });
    await writeWhole(staged, text, ownerFor({ file, directory }));
    // Unlike a rename it fails where a file stands.
    await link(staged, file);
    await syncPath(directory);
    return { kind: "written" };
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return { kind: "changed" };
    return { kind: "unwritten", problem: describeFault(toFault(error, "create", file)) };
  } finally {
    await unlink(staged).catch(() => undefined);
  }
}
