import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, constants, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunResult, waitUntil } from "../support/program.js";
import type { Scene } from "./scene.js";

/** One system call of one thread, between the moment before the lock is taken and the moment after it is released. */
export interface Point {
  readonly thread: Thread;
  readonly call: string;
  /** Counted from 1, for this call in this thread. */
  readonly count: number;
  /** Whether it goes to a file or a directory: pipes, sockets and memory have no disk to be full. */
  readonly isOnFile: boolean;
}

export interface Injected {
  readonly result: RunResult;
  /** False when the call that was hit went to a pipe or a socket after all: two runs differ by a few calls. */
  readonly isOnFile: boolean;
}

type Thread = "main" | "pool";

/** Starts the pool's one thread early, so that it is there to be attached to. */
const WARM_UP = 'require("node:fs").stat(".", () => undefined);';

/** Every run gets the same threads, and so the same calls in each. */
const ENV = { UV_THREADPOOL_SIZE: "1" };

/** The calls between lock and unlock, as an undisturbed run makes them. */
export async function listPoints(scene: Scene): Promise<readonly Point[]> {
  const log = newLogPath();
  try {
    const threads = await runTraced(scene, () => ["-f", "-y", "-o", log]);
    const counts = new Map<string, number>();
    const points: Point[] = [];
    for (const line of readFileSync(log, "utf8").split("\n")) {
      const [, tid, call = "", first = ""] = /^(\d+) +([a-z_0-9]+)\(([^ ]*)/.exec(line) ?? [];
      const thread = tid === String(threads.main) ? "main" : tid === String(threads.pool) ? "pool" : null;
      if (thread === null) continue;
      const count = (counts.get(`${thread} ${call}`) ?? 0) + 1;
      counts.set(`${thread} ${call}`, count);
      points.push({ thread, call, count, isOnFile: isOnFile(first) });
      if (call === "rmdir") break;
    }
    return points;
  } finally {
    rmSync(log, { force: true });
  }
}

/** One run in which something happens at one call: `signal=KILL`, or `error=ENOSPC`. */
export async function runInjected(scene: Scene, { thread, call, count }: Point, what: string): Promise<Injected> {
  const log = newLogPath();
  try {
    const { result } = await runTraced(scene, (threads) => [
      ...["-p", String(threads[thread]), "-y", "-o", log, "-e", `trace=${call}`],
      ...["-e", `inject=${call}:${what}:when=${count}`],
    ]);
    const line = readFileSync(log, "utf8")
      .split("\n")
      .find((each) => each.includes("(INJECTED)"));
    return { result, isOnFile: line === undefined || isOnFile(line.slice(line.indexOf("(") + 1)) };
  } finally {
    rmSync(log, { force: true });
  }
}

function newLogPath(): string {
  return join(tmpdir(), `watchdog-strace-${process.pid}-${Math.random().toString(36).slice(2)}`);
}

/** The first argument is a path, or a descriptor with the path that it was opened by. */
function isOnFile(args: string): boolean {
  return /^(AT_FDCWD|"|\d+<\/)/.test(args);
}

/**
 * Runs the program under strace from the moment at which everything is loaded and nothing is locked yet.
 *
 * The sync point is Codex's config.toml, read just before the lock: as a FIFO it holds the reader until somebody
 * writes.
 */
async function runTraced(
  scene: Scene,
  argumentsFor: (threads: Record<Thread, number>) => readonly string[],
): Promise<Record<Thread, number> & { result: RunResult }> {
  const fifo = join(scene.home.path, "config.toml");
  const warmUp = join(scene.home.path, "warm-up.cjs");
  execFileSync("mkfifo", [fifo]);
  writeFileSync(warmUp, WARM_UP);
  const program = scene.start({ env: { ...ENV, NODE_OPTIONS: `--require=${warmUp}` } });
  const pid = program.child.pid ?? 0;
  const writer = await openWhenRead(fifo);
  const threads = { main: pid, pool: Math.max(...readdirSync(`/proc/${pid}/task`).map(Number)) };
  rmSync(fifo);
  rmSync(warmUp);
  const chosen = argumentsFor(threads);
  const strace = await attach(chosen.includes("-p") ? chosen : [...chosen, "-p", String(pid)]);
  closeSync(writer);
  const result = await program.ended;
  await new Promise((resolve) => (strace.exitCode === null ? strace.on("close", resolve) : resolve(null)));
  return { ...threads, result };
}

async function openWhenRead(fifo: string): Promise<number> {
  let descriptor: number | null = null;
  await waitUntil("the program to read its config", () => {
    try {
      descriptor = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch {
      return false; // ENXIO: nobody reads yet.
    }
    return true;
  });
  return descriptor ?? -1;
}

/** How often strace is begun anew when it ends before it has attached: seen once, on a busy machine. */
const ATTACH_TRIES = 3;

/** The program waits meanwhile for its config. */
async function attach(args: readonly string[]): Promise<ChildProcess> {
  let said = "";
  for (let tries = 0; tries < ATTACH_TRIES; tries += 1) {
    const strace = spawn("strace", args, { stdio: ["ignore", "ignore", "pipe"] });
    let isClosed = false;
    strace.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
    });
    strace.on("close", () => {
      isClosed = true;
    });
    await waitUntil("strace to attach", () => said.includes("attached") || isClosed);
    if (said.includes("attached")) return strace;
  }
  throw new Error(`strace: ${said}`);
}
