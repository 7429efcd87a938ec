import {
  chownSync,
  closeSync,
  existsSync,
  fchownSync,
  fstatSync,
  mkdirSync,
  openSync,
  realpathSync,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { errnoOf } from "./errno.js";

/** Who a new file belongs to. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

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
 * Nothing of ours is ever called `auth.json.lock`: that is Codex's own lock file (0.169 and newer), and a
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

/**
 * Opens a file that may have to be created, as its owner to be: a process that is killed behind the creation leaves
 * nothing that the owner can't handle. Where the owner may not, root creates it and gives it away.
 */
export function openAs(owner: Owner | null, path: string, flags: string | number, mode = 0o600): number {
  return createAs(
    owner,
    () => openSync(path, flags, mode),
    (descriptor, { uid, gid }) => {
      try {
        if (fstatSync(descriptor).uid === 0) fchownSync(descriptor, uid, gid);
      } catch (error) {
        closeSync(descriptor);
        throw error;
      }
    },
  );
}

/** Makes a directory as its owner to be, like `openAs`. */
export function makeDirectoryAs(owner: Owner | null, path: string, mode = 0o777): void {
  createAs(
    owner,
    () => mkdirSync(path, { mode }),
    (_made, { uid, gid }) => chownSync(path, uid, gid),
  );
}

/** Synchronous, because the effective user is the whole process's. */
function createAs<T>(owner: Owner | null, create: () => T, giveAway: (created: T, owner: Owner) => void): T {
  if (owner === null || owner.uid === 0) return create();
  const ownGid = process.getegid?.() ?? 0;
  process.setegid?.(owner.gid);
  process.seteuid?.(owner.uid);
  try {
    return create();
  } catch (error) {
    if (errnoOf(error) !== "EACCES") throw error;
  } finally {
    process.seteuid?.(0);
    process.setegid?.(ownGid);
  }
  const created = create();
  giveAway(created, owner);
  return created;
}

/**
 * Of several homes those that are different logins, each by its first name: the same file behind a symbolic link, a
 * bind mount or another spelling is looked after once.
 *
 * @returns with `doubles` as pairs of a home that was left out, and the one that stands for it
 */
export function findSameHomes(codexHomes: readonly string[]): {
  readonly homes: readonly string[];
  readonly doubles: readonly (readonly [double: string, first: string])[];
} {
  if (codexHomes.length === 1) return { homes: codexHomes, doubles: [] };
  const firsts = new Map<string, string>();
  const doubles: [string, string][] = [];
  for (const codexHome of codexHomes) {
    const identity = identityOf(join(codexHome, "auth.json")) ?? identityOf(codexHome) ?? resolve(codexHome);
    const first = firsts.get(identity);
    if (first === undefined) firsts.set(identity, codexHome);
    else doubles.push([codexHome, first]);
  }
  return { homes: [...firsts.values()], doubles };
}

/** What makes a file this file, whatever its path; null when there is none. */
function identityOf(path: string): string | null {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return null;
  }
}

/** A path with all symbolic links resolved; as given where that is not possible. */
export function realPath(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return path; // Absent, dangling or unreadable: the read that follows says which.
  }
}
