import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { LocalStore } from "../ports.js";
import { readContent } from "./credential-file.js";
import { toFault } from "./errno.js";
import { findPlace } from "./place.js";

/**
 * The login as a file: `auth.json` in a Codex home.
 *
 * Reading is synchronous on purpose: one small file, and a run that finds nothing to do starts no threads.
 *
 * @param realFile the file itself, for the time of a refresh: a symbolic link that is swapped meanwhile must not
 *   part an answer from the file that its token came from
 */
export function fileCredentialStore(codexHome: string, realFile?: string): LocalStore {
  const location = join(codexHome, "auth.json");
  const path = realFile ?? location;
  return {
    location,
    read: () => readContent(path).reading,
    changeMark: () => {
      try {
        const { dev, ino, size, mtimeNs } = statSync(location, { bigint: true });
        return `${dev}:${ino}:${size}:${mtimeNs}`;
      } catch (error) {
        return toFault(error, "look at", location).code;
      }
    },
    readCredentialsStoreSetting: () => readConfigString(join(codexHome, "config.toml"), "cli_auth_credentials_store"),
    preflight: async () => (await import("./file-commit.js")).preflightCommit(path),
    update: async (decide, keepRedo) => {
      const { commitFile } = await import("./file-commit.js");
      const plan = await commitFile(codexHome, findPlace(path).file, decide, keepRedo);
      // A link that points elsewhere by now, at a copy of the same login: that one holds a spent token as well.
      const { file } = findPlace(location);
      const isSwapped = plan.kind === "write" && realFile !== undefined && file !== realFile;
      return isSwapped ? await commitFile(codexHome, file, decide, keepRedo) : plan;
    },
    sync: async () => {
      const { syncPath } = await import("./whole-file.js");
      const { file, directory } = findPlace(path);
      try {
        await syncPath(file);
        await syncPath(directory);
        return null;
      } catch (error) {
        return toFault(error, "sync", file);
      }
    },
    redo: async (rewrite) => (await import("./file-commit.js")).redoCommit(path, rewrite),
  };
}

/** A string at the top of Codex's config; `file`, Codex's own default, when there is none that can be read. */
async function readConfigString(path: string, key: string): Promise<string> {
  try {
    if (!readFileSync(path, "utf8").includes(key)) return "file";
  } catch {
    return "file"; // No config.
  }
  // What keeps this from being loaded says nothing of the config, and is thrown.
  const { parse } = await import("smol-toml");
  try {
    const value = parse(readFileSync(path, "utf8"))[key];
    return typeof value === "string" ? value : "file";
  } catch {
    return "file"; // One that Codex itself refuses to start with.
  }
}
