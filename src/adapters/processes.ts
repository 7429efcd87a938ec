import { readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";
import type { CodexFacts, ProcessFacts } from "../core/doctor-facts.js";
import { parseObject } from "../core/json.js";
import { startTicks } from "./process-identity.js";

/** A running Codex, and which directory its CODEX_HOME is. */
export interface RunningCodex extends CodexFacts {
  readonly homeId: string;
}

/** Credentials that Codex takes from its environment, past auth.json (public source, autumn 2026). */
export const OVERRIDES: readonly string[] = ["CODEX_API_KEY", "CODEX_ACCESS_TOKEN"];

/** Linux counts in hundredths of a second for programs, on every machine that Node runs on: USER_HZ, proc(5). */
const MS_PER_TICK = 10;

/** The binary, also under the name that its releases have; not this program. */
const CODEX_NAME = /^codex(-(x86_64|aarch64)-[\w-]+)?( \(deleted\))?$/;

/** The names of the variables in `env` that make Codex bypass auth.json. */
export function overridesIn(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  return OVERRIDES.filter((name) => (env[name] ?? "").trim() !== "");
}

/** What tells one file or directory from every other one; null when there is none. */
export function idOf(path: string): string | null {
  const stats = seen(() => statSync(path, { bigint: true }));
  return stats === null ? null : `${stats.dev}:${stats.ino}`;
}

/** Whether a Codex runs on this home, as far as this user may see. */
export function isCodexRunning(codexHome: string): boolean {
  const homeId = idOf(codexHome);
  return homeId !== null && listCodexes().some((codex) => codex.homeId === homeId);
}

/** The Codex processes whose environment this user may see; none where there is no /proc. */
export function listCodexes(): readonly RunningCodex[] {
  const pids = (seen(() => readdirSync("/proc")) ?? []).filter((name) => /^\d+$/.test(name)).map(Number);
  const bootSec = Number(/^btime (\d+)$/m.exec(seen(() => readFileSync("/proc/stat", "utf8")) ?? "")?.[1]);
  return pids.flatMap((pid) => {
    const ticks = startTicks(pid);
    if (ticks === null || !isCodex(pid)) return [];
    const environ = seen(() => readFileSync(`/proc/${pid}/environ`, "utf8")) ?? "";
    const env: Readonly<Record<string, string | undefined>> = Object.fromEntries(
      environ.split("\0").map((pair) => pair.split(/=(.*)/s, 2)),
    );
    const codexHome = env["CODEX_HOME"] || join(env["HOME"] ?? "", ".codex");
    // As the process sees it: it may live in a container.
    const homeId = idOf(join(`/proc/${pid}`, isAbsolute(codexHome) ? "root" : "cwd", codexHome));
    if (homeId === null) return [];
    const startedAtMs = bootSec * 1000 + Number(ticks) * MS_PER_TICK;
    const version = versionOf(pid);
    return [{ ...describeProcess(pid), startedAtMs, version, overrides: overridesIn(env), homeId }];
  });
}

/** From where its program lies, as the process sees it: a binary of a platform's package, or the script of the main one. */
function versionOf(pid: number): string | null {
  const exe = seen(() => readlinkSync(`/proc/${pid}/exe`)) ?? "";
  const [, script = ""] = (seen(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "").split("\0");
  const root = `/proc/${pid}/root`;
  const real = seen(() => realpathSync(join(root, script))) ?? "";
  return packageVersion(exe, root) ?? packageVersion(real.startsWith(root) ? real.slice(root.length) : real, root);
}

/** How far below its package a program may lie: `vendor/TARGET/codex/codex`, in 0.130. */
const MAX_DEPTH = 5;

/**
 * The release of Codex that the program at `path` belongs to; null when it lies in no package of Codex.
 *
 * @param root in front of `path`, for a process that has a root directory of its own
 */
export function packageVersion(path: string, root = ""): string | null {
  let directory = dirname(path);
  for (let depth = 0; depth < MAX_DEPTH; depth += 1, directory = dirname(directory)) {
    const text = seen(() => readFileSync(join(root, directory, "package.json"), "utf8"));
    const { name, version } = parseObject(text ?? "") ?? {};
    // A platform's package has the platform behind the number: 0.130.0-linux-x64.
    if (typeof name === "string" && name.startsWith("@openai/codex") && typeof version === "string") {
      return version.replace(/-(linux|darwin|win32)-.*$/, "");
    }
  }
  return null;
}

function isCodex(pid: number): boolean {
  const exe = seen(() => readlinkSync(`/proc/${pid}/exe`)) ?? "";
  const [program = "", script = ""] = (seen(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "").split("\0");
  const isScript = /^(node|nodejs|bun)$/.test(basename(program)) && /^codex(\.[cm]?js)?$/.test(basename(script));
  return CODEX_NAME.test(basename(exe)) || CODEX_NAME.test(basename(program)) || isScript;
}

/**
 * Who holds a `flock` on a file, found without taking it. Holders in other containers don't show.
 *
 * @param device of the mount that it lies on: what the kernel's table names, also where `stat` names another (btrfs)
 */
export function flockHolders(path: string, device: string | null): readonly ProcessFacts[] {
  const inode = seen(() => statSync(path, { bigint: true }).ino);
  if (inode === null || device === null) return [];
  const [major = "", minor = ""] = device.split(":").map((number) => Number(number).toString(16).padStart(2, "0"));
  // proc(5): `1: FLOCK  ADVISORY  WRITE 2001 08:01:7864554 0 EOF`; who waits has `->` before FLOCK.
  const table = seen(() => readFileSync("/proc/locks", "utf8")) ?? "";
  return table.split("\n").flatMap((line) => {
    const [, type, , , pid, where] = line.split(/\s+/);
    return type === "FLOCK" && where === `${major}:${minor}:${inode}` ? [describeProcess(Number(pid))] : [];
  });
}

function describeProcess(pid: number): ProcessFacts {
  return { pid, command: seen(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim()) };
}

/** What the machine shows, or null: a process may end or a file vanish at any time, and much is for its owner only. */
export function seen<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
