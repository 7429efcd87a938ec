import { execFileSync } from "node:child_process";
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Puts a small file system of its own on a directory while `body` runs. Needs root. */
export async function onTmpfs<T>(directory: string, options: string, body: () => Promise<T>): Promise<T> {
  run("mount", "-t", "tmpfs", "-o", options, "tmpfs", directory);
  try {
    return await body();
  } finally {
    run("umount", directory);
  }
}

/** Mounts a file or a directory on another while `body` runs. Needs root. */
export async function onBindMount<T>(
  source: string,
  target: string,
  access: "writable" | "read-only",
  body: () => Promise<T>,
): Promise<T> {
  run("mount", "--bind", source, target);
  try {
    if (access === "read-only") run("mount", "-o", "remount,ro,bind", target);
    return await body();
  } finally {
    run("umount", target);
  }
}

/** Writes a file until the disk takes not one byte more. */
export function fillDisk(directory: string): void {
  const descriptor = openSync(join(directory, "filler"), "w");
  try {
    for (let chunk = Buffer.alloc(65_536); chunk.length > 0; ) {
      try {
        writeSync(descriptor, chunk);
      } catch {
        chunk = chunk.subarray(0, Math.floor(chunk.length / 2));
      }
    }
  } finally {
    closeSync(descriptor);
  }
}

export function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ["ignore", "ignore", "inherit"] });
}
