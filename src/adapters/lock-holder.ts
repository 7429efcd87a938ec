import { lstatSync, readFileSync, utimesSync } from "node:fs";
import { parseObject } from "../core/json.js";
import { readShownHolder } from "../core/status.js";
import type { Holder } from "../core/ticket.js";
import type { Place } from "./place.js";
import { describeSelf, lifeOf } from "./process-identity.js";

/**
 * A lock whose holder has not touched it for this long is taken over, milliseconds. It is short, because the
 * lock only makes waiting orderly: what a takeover in error could break is guarded by the tickets.
 */
export const STALE_MS = 15_000;

/**
 * A lock that was not touched for this long is no longer being made, milliseconds: its holder's name stands beside it.
 */
const SETTLED_MS = 2_000;

/** Who holds our lock, as the file beside it says. */
export interface LockHolder extends Holder {
  /** RFC 3339. */
  readonly since: string;
}

/** Null when there is no such file, or none that can be read. */
export function readHolder(place: Place): LockHolder | null {
  try {
    const said = parseObject(readFileSync(place.own("holder"), "utf8"));
    const holder = readShownHolder(said);
    const since = String(said?.["since"]);
    const isSound = holder !== null && holder.host !== "" && !Number.isNaN(Date.parse(since));
    return isSound ? { ...holder, since } : null;
  } catch {
    return null;
  }
}

/**
 * Whether the process that holds the lock may still be at work: also where it is not known who that is, as long as
 * somebody keeps the lock fresh.
 *
 * @param nowMs milliseconds since 1970
 */
export function isHolderAlive(place: Place, nowMs: number): boolean {
  const stats = lstatSync(place.own("lock"), { throwIfNoEntry: false });
  if (stats === undefined || nowMs - stats.mtimeMs >= STALE_MS) return false;
  const holder = readHolder(place);
  return holder === null || lifeOf(holder, describeSelf()) !== "gone";
}

export function describeHolder(holder: LockHolder | null): string {
  return holder === null ? "another process" : `process ${holder.pid} on ${holder.host} (since ${holder.since})`;
}

/**
 * Makes a lock stale at once whose holder is provably gone: the same machine, the same pid namespace, no such process.
 *
 * An answer that a killed process has left in its ticket is so saved within seconds, and not a quarter of a minute
 * later, while the file shows a token that is spent: a Codex that came in between would present it.
 *
 * @param nowMs milliseconds since 1970
 */
export function expireDeadLock(place: Place, nowMs: number): void {
  try {
    const holder = readHolder(place);
    if (holder === null || lifeOf(holder, describeSelf()) !== "gone") return;
    const path = place.own("lock");
    // One that somebody has just made may still have the old name beside it.
    if (Math.abs(nowMs - lstatSync(path).mtimeMs) >= SETTLED_MS) utimesSync(path, 0, 0);
  } catch {
    // It is gone, or not ours to touch: it gets stale by itself.
  }
}
