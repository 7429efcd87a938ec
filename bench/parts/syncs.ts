import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { makeAuthJson, makeTokens } from "../../test/support/login.js";
import { PROGRAM_PATH } from "../../test/support/program.js";
import { Stage } from "../daemon/stage.js";

/** How often a run waited for the disk, by what it waited for. */
export interface SyncCount {
  readonly what: string;
  readonly fsync: number;
  readonly fdatasync: number;
}

/** Has strace count the syncs of one refresh by the built program. Null without strace. */
export async function countSyncs(parent: string): Promise<SyncCount[] | null> {
  if (spawnSync("strace", ["-V"]).status !== 0) return null;
  const stage = await Stage.open();
  const [home] = stage.makeHomes(1, parent);
  try {
    if (home === undefined) throw new Error("no home");
    home.writeAuth(makeAuthJson(stage.server.admit(makeTokens({ expiresInSec: 60 }))));
    const log = join(stage.folder, "strace.log");
    const traced = ["-f", "-y", "-e", "trace=fsync,fdatasync", "-o", log, process.execPath, PROGRAM_PATH, "--once"];
    const env = { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: stage.server.url };
    const { code, stderr } = await stage.start("strace", traced, { env }).ended;
    if (code !== 0) throw new Error(`exit ${code}: ${stderr}`);
    return readSyncs(readFileSync(log, "utf8"), home.path);
  } finally {
    home?.remove();
    await stage.close();
  }
}

/**
 * Counts the syncs in what `strace -f -y` has written.
 *
 * @param codexHome as the paths in the text begin
 * @returns one entry for each kind of file, in the order in which they were synced first, and their sum
 */
export function readSyncs(text: string, codexHome: string): SyncCount[] {
  const counts = new Map<string, { fsync: number; fdatasync: number }>();
  // A call that another thread interrupts takes two lines; only the first of them names the file.
  for (const [, call, path = ""] of text.matchAll(/ (fsync|fdatasync)\(\d+<([^>]*)>/g)) {
    const what = nameOf(path, codexHome);
    const count = counts.get(what) ?? { fsync: 0, fdatasync: 0 };
    count[call === "fsync" ? "fsync" : "fdatasync"] += 1;
    counts.set(what, count);
  }
  const rows = [...counts].map(([what, count]) => ({ what, ...count }));
  const sum = (call: "fsync" | "fdatasync"): number => rows.reduce((total, row) => total + row[call], 0);
  return [...rows, { what: "all", fsync: sum("fsync"), fdatasync: sum("fdatasync") }];
}

function nameOf(path: string, codexHome: string): string {
  if (path === codexHome) return "the folder";
  if (path.endsWith(".ticket")) return "the ticket";
  // Staged names carry a part of chance.
  return basename(path).includes("auth.json") ? "auth.json, staged" : basename(path);
}
