import { spawn } from "node:child_process";
import { closeSync, constants } from "node:fs";
import { join } from "node:path";
import { type Owner, openAs } from "./place.js";

/** A Codex holds its locks for the few milliseconds of a save: one that takes longer is not saving, milliseconds. */
export const MAX_WAIT_MS = 10_000;

/** The lock is ours once `flock` has ended: it belongs to the open file, which we have open as well. */
const INHERITED_FD = 3;

/**
 * Runs `body` while this process holds Codex's own locks, so that no Codex (0.166 and newer) saves at the same time.
 *
 * `body` must be synchronous and short: a Codex that can't get the second lock for five seconds loses the tokens
 * that it wants to save. Node has no `flock`; `flock(1)` locks a descriptor that it inherits. Where there is none, or
 * a lock file that can't be opened, `body` runs without: it compares before it writes.
 *
 * The two files are `auth.lock` in CODEX_HOME and one beside the real file, behind all symbolic links, with `.lock`
 * behind that one's name; in this order. They are created as Codex creates them, and left behind as Codex leaves them
 * (names, order, flags and modes: strace on Codex 0.169 with a linked auth.json).
 *
 * @param file the real file
 */
export async function withCodexLocks<T>(
  { codexHome, file, owner }: { readonly codexHome: string; readonly file: string; readonly owner: Owner | null },
  body: () => T,
): Promise<T> {
  const descriptors: number[] = [];
  try {
    for (const [path, mode] of [
      [join(codexHome, "auth.lock"), 0o666],
      [`${file}.lock`, 0o600],
    ] as const) {
      const descriptor = openLock(path, mode, owner);
      if (descriptor === null) continue;
      descriptors.push(descriptor);
      await flock(descriptor);
    }
    return body();
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor);
  }
}

function openLock(path: string, mode: number, owner: Owner | null): number | null {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK;
  try {
    return openAs(owner, path, flags, mode);
  } catch {
    return null; // A directory in its place, another user's file, a full disk: the commit must not fail for that.
  }
}

/**
 * Resolves when the lock is held, can't be had, or there is no `flock(1)`.
 *
 * The limit is ours: busybox (1.37) knows no `-w`, and that of `spawn` keeps a program alive for its whole length where
 * there is nothing to start (Node 20 and 22).
 */
async function flock(descriptor: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const stdio = ["ignore", "ignore", "ignore", descriptor] as const;
    const child = spawn("flock", ["-x", String(INHERITED_FD)], { stdio: [...stdio] });
    const limit = setTimeout(() => child.kill(), MAX_WAIT_MS);
    const end = (): void => {
      clearTimeout(limit);
      resolve();
    };
    child.on("error", end);
    child.on("close", end);
  });
}
