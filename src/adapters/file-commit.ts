import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { type Reading, readCredential } from "../core/credential.js";
import type { Fault } from "../core/fault.js";
import type { CommitPlan } from "../core/reconcile.js";
import { isMixOf } from "../core/rewrite.js";
import { Secret } from "../core/secret.js";
import type { Rewrite } from "../core/ticket.js";
import type { Failed } from "../ports.js";
import { withCodexLocks } from "./codex-locks.js";
import { readContent } from "./credential-file.js";
import { errnoOf, toFault } from "./errno.js";
import { isMountPoint } from "./mounts.js";
import { findPlace, ownerFor } from "./place.js";
import { syncPath, writeWhole } from "./whole-file.js";

/** How often a commit starts anew because another program has just written. */
const MAX_TRIES = 5;

/** For how long bytes are awaited that another program writes into the replaced file, milliseconds. */
const LATE_WRITER_MS = 500;
const LATE_WRITER_STEP_MS = 20;

/** Whether a commit would find the rights that it needs; the fault when not. */
export function preflightCommit(path: string): Fault | null {
  const { file, directory } = findPlace(path);
  try {
    if (!isWritable(file) && groundOf(file) === "in-place") accessSync(file, constants.W_OK);
  } catch (error) {
    return toFault(error, "write", file);
  }
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    return toFault(error, "write in", directory);
  }
}

/** Completes a write in place that was broken off; null when there was none, or when that is done. */
export function redoCommit(path: string, rewrite: Rewrite): Fault | null {
  const { file } = findPlace(path);
  const { bytes } = readContent(path);
  if (bytes === null || !isMixOf(bytes, rewrite)) return null;
  try {
    overwrite(file, rewrite);
    return null;
  } catch (error) {
    return toFault(error, "complete the write of", file);
  }
}

/** How a file can be given new content. */
type Ground =
  /** By a rename: readers see the old text or the new one, whole. */
  | "replace"
  /** Where it stands: the file itself is mounted, has several names, or belongs to somebody else. */
  | "in-place";

function groundOf(file: string): Ground {
  const stats = statSync(file, { throwIfNoEntry: false });
  const isShared = stats !== undefined && (stats.nlink > 1 || !canKeepOwner(stats));
  return isShared || isMountPoint(file) ? "in-place" : "replace";
}

function canKeepOwner({ uid }: Stats): boolean {
  const ownUid = process.geteuid?.() ?? uid;
  return ownUid === 0 || ownUid === uid;
}

/**
 * Whether the file itself can be opened for writing.
 *
 * Throws where not even a rename would work: an immutable file (EPERM), or one on a read-only mount of its own. One
 * that its mode protects can be replaced all the same.
 */
function isWritable(file: string): boolean {
  try {
    closeSync(openSync(file, constants.O_WRONLY | constants.O_NONBLOCK));
    return true;
  } catch (error) {
    if (errnoOf(error) === "EACCES") return false;
    throw error;
  }
}

/** One commit: stage the text, take Codex's locks, compare, put it in place. */
export async function commitFile(
  codexHome: string,
  file: string,
  decide: (reading: Reading) => CommitPlan,
  keepRedo: (rewrite: Rewrite) => Promise<Fault | null>,
): Promise<CommitPlan | Failed> {
  const { directory, own } = findPlace(file);
  const locks = { codexHome, file, owner: ownerFor({ file, directory }) };
  const staged = own(`new.${process.pid}`);
  let ground: Ground | null = null;
  try {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const before = readContent(file);
      const plan = decide(before.reading);
      if (plan.kind !== "write" || before.bytes === null) return plan;
      const { uid, gid } = statSync(file);
      const rewrite = { from: new Secret(before.bytes.toString("utf8")), to: new Secret(plan.text) };
      ground ??= groundOf(file);

      // All that takes time comes before the locks: what stands between them is over in less than a millisecond.
      if (ground === "replace") await writeWhole(staged, plan.text, { uid, gid });
      else {
        const fault = await keepRedo(rewrite);
        if (fault !== null) return { kind: "failed", fault };
      }
      const place = (): Placed => (ground === "replace" ? exchange(staged, file, before.bytes) : fill(file, rewrite));
      const placed = await withCodexLocks(locks, place);
      if (placed === "changed") continue;
      if (placed === "busy") {
        ground = "in-place"; // A mount that no table shows.
        continue;
      }
      if (placed === "in-place") {
        await syncPath(file);
        if (readContent(file).bytes?.equals(Buffer.from(plan.text)) === true) return plan;
        continue; // Another program has written over it; its word is heard in the next round.
      }
      await syncPath(directory);
      const late = await readLateBytes(placed);
      if (late === null) return plan;
      const verdict = decide(late.reading);
      if (verdict.kind === "unclear" || verdict.kind === "done") return plan;
      // Put their text where they meant it to be; the next round merges what is to be merged.
      await writeWhole(staged, late.text, { uid, gid });
      const restored = await withCodexLocks(locks, () => exchange(staged, file, Buffer.from(plan.text)));
      if (typeof restored === "object") closeSync(restored.descriptor);
      await syncPath(directory);
      if (verdict.kind === "yield" && restored !== "changed") return verdict;
    }
    return { kind: "unclear", problem: "is being written by another program again and again" };
  } catch (error) {
    return { kind: "failed", fault: toFault(error, "replace", file) };
  } finally {
    rmSync(staged, { force: true });
  }
}

/** The file that was replaced, still open: another program may be writing into it. */
interface Replaced {
  readonly descriptor: number;
  readonly bytes: Buffer;
}

/** `changed`: somebody wrote since the comparison; `busy`: a rename is not possible here. */
type Placed = Replaced | "changed" | "busy" | "in-place";

/** Renames the staged file over the credential, if that still holds what it held. */
function exchange(staged: string, file: string, expected: Buffer | null): Placed {
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const bytes = readFileSync(descriptor);
    if (expected === null || !bytes.equals(expected)) return closed(descriptor, "changed");
    renameSync(staged, file);
    return { descriptor, bytes };
  } catch (error) {
    return closed(descriptor, errnoOf(error) === "EBUSY" ? "busy" : error);
  }
}

function closed(descriptor: number, result: unknown): Placed {
  closeSync(descriptor);
  if (result === "changed" || result === "busy") return result;
  throw result;
}

/** Writes over the credential where it stands, if that still holds what it held. */
function fill(file: string, rewrite: Rewrite): Placed {
  if (!readFileSync(file).equals(Buffer.from(rewrite.from.reveal()))) return "changed";
  overwrite(file, rewrite);
  return "in-place";
}

/**
 * Writes a text over another one. The room is taken first, as blanks behind the old text, which leave it what it was:
 * a full disk is noticed while nothing is lost. A kill in between is what the redo log is for.
 */
function overwrite(file: string, { from, to }: Rewrite): void {
  const [old, next] = [Buffer.from(from.reveal()), Buffer.from(to.reveal())];
  const descriptor = openSync(file, constants.O_RDWR | constants.O_NONBLOCK);
  try {
    try {
      const missing = Buffer.alloc(Math.max(0, next.length - old.length), " ");
      if (fstatSync(descriptor).size < next.length) writeAll(descriptor, missing, old.length);
    } catch (error) {
      ftruncateSync(descriptor, old.length);
      throw error;
    }
    writeAll(descriptor, next, 0);
    ftruncateSync(descriptor, next.length);
  } finally {
    closeSync(descriptor);
  }
}

/** Writes all of it: one write call may take only a part on a filling disk. */
function writeAll(descriptor: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(descriptor, bytes, done, bytes.length - done, position + done);
  }
}

/**
 * What another program has put into the file that we have just replaced: Codex up to 0.166 truncates and writes, and
 * may have opened the old one before the rename. Null when there is nothing.
 */
async function readLateBytes({ descriptor, bytes }: Replaced): Promise<{ reading: Reading; text: string } | null> {
  try {
    const untilMs = performance.now() + LATE_WRITER_MS;
    for (;;) {
      const now = readWhole(descriptor);
      if (now.equals(bytes)) return null;
      const text = now.toString("utf8");
      const reading = readCredential(text);
      if (!["empty", "torn"].includes(reading.kind)) return { reading, text };
      if (performance.now() >= untilMs) return null;
      await new Promise((resolve) => setTimeout(resolve, LATE_WRITER_STEP_MS));
    }
  } finally {
    closeSync(descriptor);
  }
}

/** An open file from its beginning, wherever the descriptor stands. */
function readWhole(descriptor: number): Buffer {
  const bytes = Buffer.alloc(fstatSync(descriptor).size);
  return bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, 0));
}
