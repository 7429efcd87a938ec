import { link, mkdir, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Fault } from "../core/fault.js";
import { errnoOf, toFault } from "./errno.js";
import { findPlace, makeDirectoryAs, ownerFor } from "./place.js";
import { syncPath, writeWhole } from "./whole-file.js";

/**
 * Creates auth.json where there is none: whole, durable, mode 0600, and never over one that has just come. A home that is
 * missing is made, as Codex does it, for the owner of the directory that it lies in.
 *
 * @returns `exists` when somebody else was faster
 */
export async function createAuthFile(codexHome: string, text: string): Promise<"created" | "exists" | Fault> {
  const path = join(codexHome, "auth.json");
  try {
    await makeHome(resolve(codexHome));
  } catch (error) {
    return toFault(error, "create", codexHome);
  }
  const { file, directory, own } = findPlace(path);
  const staged = own(`new.${process.pid}`);
  try {
    await writeWhole(staged, text, ownerFor({ file, directory }));
    // Unlike a rename it fails where a file stands.
    await link(staged, file);
    await syncPath(directory);
    return "created";
  } catch (error) {
    return errnoOf(error) === "EEXIST" ? "exists" : toFault(error, "create", file);
  } finally {
    await unlink(staged).catch(() => undefined);
  }
}

/** Makes a home that is missing, and the directories above it. Throws system errors. */
export async function makeHome(codexHome: string): Promise<void> {
  const parent = dirname(codexHome);
  await mkdir(parent, { recursive: true });
  try {
    makeDirectoryAs(ownerFor({ file: codexHome, directory: parent }), codexHome, 0o700);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
  }
}
