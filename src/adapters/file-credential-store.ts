import { isUtf8 } from "node:buffer";
import { accessSync, closeSync, constants, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Reading, readCredential } from "../core/credential.js";
import { describeUnreadable, type Fault } from "../core/fault.js";
import type { CredentialStore } from "../ports.js";
import { errnoOf, toFault } from "./errno.js";
import { findPlace } from "./place.js";

/** More than any auth.json can sensibly hold, bytes; the largest that was tried is 5 MB. */
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * The login as a file: `auth.json` in a Codex home.
 *
 * Reading is synchronous on purpose: one small file, and a run that finds nothing to do starts no threads.
 */
export function fileCredentialStore(codexHome: string): CredentialStore {
  const location = join(codexHome, "auth.json");
  return {
    location,
    read: () => readFile(location),
    changeMark: () => {
      try {
        const { dev, ino, size, mtimeNs } = statSync(location, { bigint: true });
        return `${dev}:${ino}:${size}:${mtimeNs}`;
      } catch (error) {
        return toFault(error, "look at", location).code;
      }
    },
    readCredentialsStoreSetting: () => readConfigString(join(codexHome, "config.toml"), "cli_auth_credentials_store"),
    preflight: () => {
      const { file, directory } = findPlace(location);
      if (isMountPoint(file)) return { kind: "busy-mount", step: "replace", path: file, code: "EBUSY" };
      try {
        accessSync(directory, constants.W_OK);
        return null;
      } catch (error) {
        return toFault(error, "write in", directory);
      }
    },
    update: async (decide) => {
      const { replaceFile } = await import("./whole-file.js");
      const { file } = findPlace(location);
      const plan = decide(readFile(location));
      if (plan.kind !== "write") return plan;
      try {
        const { uid, gid } = statSync(file);
        await replaceFile(file, plan.text, { uid, gid });
        return plan;
      } catch (error) {
        return { kind: "failed", fault: toFault(error, "replace", file) };
      }
    },
  };
}

function readFile(path: string): Reading {
  const unreadable = (fault: Fault): Reading => ({ kind: "unreadable", problem: describeUnreadable(fault) });
  let descriptor: number | null = null;
  try {
    // O_NONBLOCK: a FIFO in the file's place must not hold us up.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(descriptor);
    const code = stats.isDirectory() ? "EISDIR" : "not a file";
    if (!stats.isFile()) return unreadable({ kind: "wrong-file-type", step: "read", path, code });
    if (stats.size > MAX_BYTES) return unreadable({ kind: "too-large", step: "read", path, code: "EFBIG" });
    const bytes = readFileSync(descriptor);
    return isUtf8(bytes) ? readCredential(bytes.toString("utf8")) : { kind: "torn", problem: "is not UTF-8 text" };
  } catch (error) {
    return errnoOf(error) === "ENOENT" ? { kind: "absent" } : unreadable(toFault(error, "read", path));
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}

/** A string at the top of Codex's config; `file`, Codex's own default, when there is none that can be read. */
async function readConfigString(path: string, key: string): Promise<string> {
  try {
    const text = readFileSync(path, "utf8");
    if (!text.includes(key)) return "file";
    const { parse } = await import("smol-toml");
    const value = parse(text)[key];
    return typeof value === "string" ? value : "file";
  } catch {
    return "file"; // No config, or one that Codex itself refuses to start with.
  }
}

/** Whether something is mounted on this very path: a rename over it fails with EBUSY. Linux only. */
function isMountPoint(path: string): boolean {
  let table: string;
  try {
    table = readFileSync("/proc/self/mountinfo", "utf8");
  } catch {
    return false; // No such table on this system; the rename itself will tell.
  }
  // proc(5): the fifth field, with space, tab, newline and backslash as octal escapes.
  const escaped = path.replace(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);
  return table.split("\n").some((line) => line.split(" ")[4] === escaped);
}
