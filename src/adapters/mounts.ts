import { readFileSync } from "node:fs";

/** One line of the mount table. */
export interface Mount {
  readonly path: string;
  /** Major and minor number of the file system, as `254:0`. */
  readonly device: string;
  readonly type: string;
}

/** What is mounted where, as this process sees it, the newest last; empty on systems without such a table. Linux only. */
export function readMounts(): readonly Mount[] {
  let table: string;
  try {
    table = readFileSync("/proc/self/mountinfo", "utf8");
  } catch {
    return [];
  }
  // proc(5): third and fifth field; behind a lone dash the type. Space, tab, newline, backslash are octal escapes.
  return table.split("\n").flatMap((line) => {
    const fields = line.split(" ");
    const [, , device, , escaped] = fields;
    const type = fields[fields.indexOf("-", 6) + 1];
    if (device === undefined || escaped === undefined || type === undefined) return [];
    const path = escaped.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    return [{ path, device, type }];
  });
}

/** Whether something is mounted on this very path: a rename over it fails with EBUSY. */
export function isMountPoint(path: string, mounts = readMounts()): boolean {
  return mounts.some((mount) => mount.path === path); // Where there is no table, the rename itself will tell.
}

/** The mount that a path without symbolic links lies on; null where there is no table. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | null {
  const above = mounts.filter((mount) => `${path}/`.startsWith(mount.path === "/" ? "/" : `${mount.path}/`));
  const longest = Math.max(0, ...above.map((mount) => mount.path.length));
  return above.findLast((mount) => mount.path.length === longest) ?? null;
}
