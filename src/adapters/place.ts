import { existsSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Owner } from "./whole-file.js";

/** Where a credential file really lies, and where the watchdog's own files lie beside it. */
export interface Place {
  /** The real path of auth.json, symbolic links resolved; the path as given while there is no such file. */
  readonly file: string;
  readonly directory: string;
  /** A path beside the file for something of ours: `.auth.json.watchdog.SUFFIX`. */
  readonly own: (suffix: string) => string;
  /** The start of every name that `own` makes. */
  readonly ownPrefix: string;
}

/**
 * Resolves a place anew, because a symbolic link may point elsewhere than it did in the last cycle.
 *
 * Nothing of ours is ever called `auth.json.lock`: that is Codex's own lock file (0.166 and newer), and a
 * directory of that name makes Codex lose its login.
 */
export function findPlace(authJsonPath: string): Place {
  const file = realPath(authJsonPath);
  const directory = dirname(file);
  const ownPrefix = `.${basename(file)}.watchdog.`;
  return { file, directory, ownPrefix, own: (suffix) => join(directory, `${ownPrefix}${suffix}`) };
}

/**
 * Who the files that we create belong to: as root the owner of the credential (or of its directory), so that
 * the agent's own processes can handle them; null for everybody else, who can only create their own.
 */
export function ownerFor(place: Pick<Place, "file" | "directory">): Owner | null {
  if (process.geteuid?.() !== 0) return null;
  const { uid, gid } = statSync(existsSync(place.file) ? place.file : place.directory);
  return { uid, gid };
}

function realPath(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return path; // Absent, dangling or unreadable: the read that follows says which.
  }
}
