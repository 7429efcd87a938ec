import { readFileSync, readlinkSync } from "node:fs";
import type { Holder, HolderLife } from "../core/ticket.js";
import { errnoOf } from "./errno.js";

/** This process, as a ticket names it: the same for all its life. */
export function describeSelf(): Holder {
  ownIdentity ??= {
    pid: process.pid,
    host: process.getBuiltinModule("node:os").hostname(), // Not by an import: a look needs nothing of it.
    bootId: readOrNull(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8")),
    pidNamespace: readOrNull(() => readlinkSync("/proc/self/ns/pid")),
    startTicks: startTicks(process.pid),
  };
  return ownIdentity;
}

let ownIdentity: Holder | null = null;

/**
 * Whether a process that wrote a ticket still exists.
 *
 * Only a process of the same boot and the same pid namespace can be asked for; of all others the answer is
 * "unknown", and their tickets are judged by age.
 */
export function lifeOf(holder: Holder, self: Holder): HolderLife {
  const isComparable =
    holder.bootId !== null && holder.bootId === self.bootId && holder.pidNamespace === self.pidNamespace;
  if (!isComparable) return "unknown";
  // A pid that lives again belongs to another process when that one started at another time.
  const ticksNow = startTicks(holder.pid);
  const isSame = ticksNow === null || holder.startTicks === null || ticksNow === holder.startTicks;
  if (!isSame) return "gone";
  if (holder.pid === self.pid) return "self";
  return exists(holder.pid) ? "alive" : "gone";
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === "EPERM"; // Somebody else's process; /proc may hide it (hidepid), kill does not.
  }
}

/**
 * When a process started, in clock ticks since boot; null when there is no such process.
 *
 * Field 22 of /proc/PID/stat; the command in field 2 may hold spaces and brackets, so count after the last one.
 */
export function startTicks(pid: number): string | null {
  const stat = readOrNull(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
}

function readOrNull(read: () => string): string | null {
  try {
    return read().trim();
  } catch {
    return null;
  }
}
