import { isUtf8 } from "node:buffer";
import { accessSync, closeSync, constants, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Fault } from "../core/fault.js";
import type { CredentialStore, StoreReading, UpdateResult } from "../ports.js";
import { errnoOf, toFault } from "./errno.js";
import { findPlace } from "./place.js";

/** More than any auth.json can sensibly hold, bytes; the largest that was tried is 5 MB. */
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * The login as a file: `auth.json` in a Codex home.
 *
 * Reading is synchronous on purpose: one small file, and a run that finds nothing to do starts no threads.
 */
export class FileCredentialStore implements CredentialStore {
  readonly location: string;
  readonly #codexHome: string;

  constructor(codexHome: string) {
    this.#codexHome = codexHome;
    this.location = join(codexHome, "auth.json");
  }

  read(): StoreReading {
    let descriptor: number;
    try {
      // O_NONBLOCK: a FIFO in the file's place must not hold us up.
      descriptor = openSync(this.location, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return { kind: "absent" };
      return { kind: "unreadable", fault: toFault(error, "read", this.location) };
    }
    try {
      const stats = fstatSync(descriptor);
      if (!stats.isFile()) return this.#refused("wrong-file-type", stats.isDirectory() ? "EISDIR" : "not a file");
      if (stats.size > MAX_BYTES) return this.#refused("too-large", "EFBIG");
      const bytes = readFileSync(descriptor);
      return isUtf8(bytes) ? { kind: "text", text: bytes.toString("utf8") } : { kind: "garbled" };
    } catch (error) {
      return { kind: "unreadable", fault: toFault(error, "read", this.location) };
    } finally {
      closeSync(descriptor);
    }
  }

  changeMark(): string {
    const stats = statSync(this.location, { bigint: true, throwIfNoEntry: false });
    return stats === undefined ? "absent" : `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}`;
  }

  async readCredentialsStoreSetting(): Promise<string> {
    const path = join(this.#codexHome, "config.toml");
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch {
      return "file"; // Codex starts with its defaults when there is no config.
    }
    if (!text.includes("cli_auth_credentials_store")) return "file";
    const { readTopLevelString } = await import("./toml-config.js");
    return readTopLevelString(text, "cli_auth_credentials_store") ?? "file";
  }

  preflight(): Fault | null {
    const { file, directory } = findPlace(this.location);
    try {
      if (isMountPoint(file)) return { kind: "busy-mount", step: "replace", path: file, code: "EBUSY" };
      accessSync(directory, constants.W_OK);
      return null;
    } catch (error) {
      return toFault(error, "write in", directory);
    }
  }

  async update(decide: (reading: StoreReading) => string | null): Promise<UpdateResult> {
    const { replaceFile } = await import("./whole-file.js");
    const { file } = findPlace(this.location);
    const text = decide(this.read());
    if (text === null) return { kind: "declined" };
    try {
      const { uid, gid } = statSync(file);
      await replaceFile(file, text, { uid, gid }, "durable");
      return { kind: "written" };
    } catch (error) {
      return { kind: "failed", fault: toFault(error, "replace", file) };
    }
  }

  #refused(kind: "wrong-file-type" | "too-large", code: string): StoreReading {
    return { kind: "unreadable", fault: { kind, step: "read", path: this.location, code } };
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
