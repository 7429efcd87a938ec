import { chownSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { Owner } from "./place.js";

/**
 * Replaces a small file that others read, so that they see the old text or the new one, whole. Throws system errors.
 *
 * Not synced, unlike a credential: after a power cut the next run tells the same anew. By hand, because write-file-atomic
 * loads crypto and workers, a fifth of a bare Node's start.
 *
 * @param owner given to the new file; null leaves it this process's
 */
export function replaceSmallFile(path: string, text: string, mode: number, owner: Owner | null): void {
  const temporary = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  try {
    writeFileSync(temporary, text, { flag: "wx", mode });
    if (owner !== null) chownSync(temporary, owner.uid, owner.gid);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
