import { readFileSync } from "node:fs";
import { findPlace, ownerFor } from "./place.js";

/** The highest version of a credential that this host has seen, over all its processes and restarts. */
export interface VersionMark {
  read(): number;
  /** Failures are left for the next time: the mark is a second guard. */
  raise(version: number): Promise<void>;
}

/** Kept in a file among the tickets. */
export function versionMark(journalPath: string): VersionMark {
  const place = findPlace(journalPath);
  const path = place.own("version");
  let seen: number | null = null;
  const read = (): number => {
    seen ??= readVersion(path);
    return seen;
  };
  return {
    read,
    raise: async (version) => {
      if (version <= read()) return;
      seen = version;
      const { replaceFile } = await import("./whole-file.js");
      await replaceFile(path, `${version}\n`, ownerFor(place)).catch(() => undefined);
    },
  };
}

function readVersion(path: string): number {
  try {
    const version = Number(readFileSync(path, "utf8"));
    return Number.isSafeInteger(version) ? version : 0;
  } catch {
    return 0;
  }
}
