import {
  chownSync,
  closeSync,
  constants,
  fchownSync,
  openSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import lockfile from "proper-lockfile";
import type { Clock, HeldLock, Lock, LockAttempt } from "../ports.js";
import { errnoOf, toFault } from "./errno.js";
import { findPlace, ownerFor, type Place } from "./place.js";
import { describeSelf } from "./process-identity.js";

/**
 * A lock whose holder has not touched it for this long is taken over, milliseconds. It is short, because the
 * lock only makes waiting orderly: what a takeover in error could break is guarded by the tickets.
 */
const STALE_MS = 15_000;
const HEARTBEAT_MS = 3_000;

/**
 * The lock as a directory beside the real auth.json, kept by proper-lockfile. A file beside it says who holds
 * it; that is for people, and nothing is decided by it.
 */
export class FileLock implements Lock {
  readonly #authJsonPath: string;
  readonly #clock: Clock;
  readonly #onCompromised: () => void;

  constructor(authJsonPath: string, clock: Clock, onCompromised: () => void) {
    this.#authJsonPath = authJsonPath;
    this.#clock = clock;
    this.#onCompromised = onCompromised;
  }

  async tryAcquire(): Promise<LockAttempt> {
    const place = findPlace(this.#authJsonPath);
    const lockPath = place.own("lock");
    let isCompromised = false;
    try {
      const release = await lockfile.lock(place.file, {
        lockfilePath: lockPath,
        realpath: false, // Resolved already; and the file may be gone when an unsaved answer is cleared away.
        stale: STALE_MS,
        update: HEARTBEAT_MS,
        retries: 0,
        // The library's own default throws from a timer, which would end the process in mid-refresh.
        onCompromised: () => {
          isCompromised = true;
          this.#onCompromised();
        },
      });
      this.#nameHolder(place, lockPath);
      return { kind: "held", lock: heldLock(place, release, () => isCompromised) };
    } catch (error) {
      if (errnoOf(error) === "ELOCKED") return { kind: "taken", holder: readHolder(place) };
      return { kind: "failed", fault: toFault(error, "take the lock", lockPath) };
    }
  }

  #nameHolder(place: Place, lockPath: string): void {
    const { pid, host } = describeSelf();
    const since = new Date(this.#clock.nowMs()).toISOString();
    const path = place.own("holder");
    try {
      const owner = ownerFor(place);
      if (owner !== null) chownSync(lockPath, owner.uid, owner.gid);
      rmSync(path, { force: true });
      const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
      const descriptor = openSync(path, flags, 0o600);
      try {
        if (owner !== null) fchownSync(descriptor, owner.uid, owner.gid);
        writeSync(descriptor, JSON.stringify({ pid, host, since }));
      } finally {
        closeSync(descriptor);
      }
    } catch (error) {
      toFault(error, "name the holder in", path); // Without it a waiting process cannot say whom it waits for.
    }
  }
}

function heldLock(place: Place, release: () => Promise<void>, isCompromised: () => boolean): HeldLock {
  return {
    isCompromised,
    release: async () => {
      try {
        if (!isCompromised()) unlinkSync(place.own("holder"));
      } catch (error) {
        toFault(error, "remove", place.own("holder"));
      }
      // A lock that somebody took over, or that is gone, needs no release.
      await release().catch(() => undefined);
    },
  };
}

function readHolder(place: Place): string {
  try {
    const holder: unknown = JSON.parse(readFileSync(place.own("holder"), "utf8"));
    const { pid, host, since } = holder as { pid?: unknown; host?: unknown; since?: unknown };
    return `process ${Number(pid)} on ${String(host)} (since ${String(since)})`;
  } catch {
    return "another process";
  }
}
