import { readFileSync } from "node:fs";
import { parseObject } from "../core/json.js";
import type { Place } from "./place.js";

/**
 * A lock whose holder has not touched it for this long is taken over, milliseconds. It is short, because the
 * lock only makes waiting orderly: what a takeover in error could break is guarded by the tickets.
 */
export const STALE_MS = 15_000;

/** Who holds our lock, as the file beside it says. For people: nothing is decided by it. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
  /** RFC 3339. */
  readonly since: string;
}

/** Null when there is no such file, or none that can be read. */
export function readHolder(place: Place): LockHolder | null {
  try {
    const { pid, host, since } = parseObject(readFileSync(place.own("holder"), "utf8")) ?? {};
    const isSound = Number.isSafeInteger(pid) && typeof host === "string" && !Number.isNaN(Date.parse(String(since)));
    return isSound ? { pid: Number(pid), host, since: String(since) } : null;
  } catch {
    return null;
  }
}

export function describeHolder(holder: LockHolder | null): string {
  return holder === null ? "another process" : `process ${holder.pid} on ${holder.host} (since ${holder.since})`;
}
