import { writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import writeFileAtomic from "write-file-atomic";
import type { Owner } from "./place.js";

/**
 * Replaces a file by a temporary file and a rename, so that a reader sees the old text or the new one, whole;
 * synced, and its directory after it, so that a power cut changes nothing about that.
 * Mode 0600; throws system errors, and then the old file stands.
 *
 * @param path a path without symbolic links to follow
 * @param owner given to the new file where this process may; null keeps the old file's owner, if there was one
 */
export async function replaceFile(path: string, text: string, owner: Owner | null): Promise<void> {
  await writeWhole(path, text, owner);
  await syncPath(dirname(path));
}

/** The same without the directory's sync, for a file that is renamed before anybody relies on it. */
export async function writeWhole(path: string, text: string, owner: Owner | null): Promise<void> {
  await writeFileAtomic(path, "", {
    mode: 0o600,
    ...(owner === null ? {} : { chown: owner }),
    // write-file-atomic 7.0.1 ignores short writes: on a filling disk it installed 4,096 of 6,000 bytes.
    // So it is given nothing to write, and the text goes in through this hook, which fails with ENOSPC.
    tmpfileCreated: async (temporaryPath) => writeFileSync(temporaryPath, text),
  });
}

/** Makes what was written to a file, or named and renamed in a directory, survive a power cut. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
