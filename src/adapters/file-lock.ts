import fs, { closeSync, existsSync, rmSync, writeFileSync } from "node:fs";
import lockfile from "proper-lockfile";
import { showHolder } from "../core/status.js";
import type { Clock, Lock } from "../ports.js";
import { errnoOf, toFault } from "./errno.js";
import { describeHolder, expireDeadLock, readHolder, STALE_MS } from "./lock-holder.js";
import { findPlace, makeDirectoryAs, openAs, ownerFor, type Place } from "./place.js";
import { describeSelf } from "./process-identity.js";

const HEARTBEAT_MS = 3_000;

/**
 * The lock as a directory beside the real auth.json, kept by proper-lockfile. A file beside it says who holds
 * it: for people, and for the next one when that process is gone.
 */
export function fileLock(authJsonPath: string, clock: Clock, onCompromised: () => void): Lock {
  return {
    tryAcquire: async () => {
      const place = findPlace(authJsonPath);
      let isCompromised = false;
      try {
        const release = await lockfile.lock(place.file, {
          fs: fsOf(place),
          lockfilePath: place.own("lock"),
          realpath: false, // Resolved already; and the file may be gone when an unsaved answer is cleared away.
          stale: STALE_MS,
          update: HEARTBEAT_MS,
          // The library's own default throws from a timer, which would end the process in mid-refresh.
          onCompromised: () => {
            isCompromised = true;
            onCompromised();
          },
        });
        nameHolder(place, clock);
        return {
          kind: "held",
          lock: {
            isCompromised: () => isCompromised,
            release: async () => {
              if (!isCompromised) rmSync(place.own("holder"), { force: true });
              // A lock that somebody took over, or that is gone, needs no release.
              await release().catch(() => undefined);
            },
          },
        };
      } catch (error) {
        const code = errnoOf(error);
        if (code === "ELOCKED") expireDeadLock(place, clock.nowMs());
        // It vanished between two steps of ours: somebody else is taking the same stale lock over.
        const isRaced = code === "ENOENT" && existsSync(place.directory);
        if (code === "ELOCKED" || isRaced) return { kind: "taken", holder: describeHolder(readHolder(place)) };
        return { kind: "failed", fault: toFault(error, "take the lock", place.own("lock")) };
      }
    },
  };
}

/** What the library makes its directory with: as the credential's owner, so that a kill leaves nothing of root's. */
function fsOf(place: Place): object {
  return {
    ...fs,
    mkdir: (path: string, callback: (error: unknown) => void) => {
      try {
        makeDirectoryAs(ownerFor(place), path);
      } catch (error) {
        callback(error);
        return;
      }
      callback(null);
    },
  };
}

function nameHolder(place: Place, clock: Clock): void {
  const path = place.own("holder");
  try {
    const since = new Date(clock.nowMs()).toISOString();
    rmSync(path, { force: true });
    const descriptor = openAs(ownerFor(place), path, "wx");
    try {
      writeFileSync(descriptor, JSON.stringify({ ...showHolder(describeSelf()), since }));
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // Without it a waiting process cannot say whom it waits for; that is all.
  }
}
