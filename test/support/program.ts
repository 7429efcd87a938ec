import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The built program, as users run it. */
export const PROGRAM_PATH = fileURLToPath(new URL("../../bin/watchdog.cjs", import.meta.url));

/** The Node that runs it: another than the tests' own when scripts/test-node-versions.mjs says so. */
export const NODE_PATH = process.env["WATCHDOG_TEST_NODE"] ?? process.execPath;

export interface RunResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly cwd?: string;
  /** Another place of the built program. */
  readonly programPath?: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<RunResult>;
  /** What it has printed on stderr so far. */
  stderr(): string;
}

/** Starts the built program with nothing in its environment but PATH, HOME and what is given. */
export function startProgram(options: RunOptions = {}): Running {
  return start(NODE_PATH, [options.programPath ?? PROGRAM_PATH, ...(options.args ?? ["--once"])], options);
}

export async function runProgram(options: RunOptions = {}): Promise<RunResult> {
  return await startProgram(options).ended;
}

export function start(command: string, args: readonly string[], options: RunOptions = {}): Running {
  const child = spawn(command, args, {
    env: { PATH: process.env["PATH"], HOME: "/nonexistent", ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString("utf8");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8");
  });
  const ended = new Promise<RunResult>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, ended, stderr: () => stderr };
}

/** The lines of a log, without the time before each. */
export function messages(stderr: string): string[] {
  return stderr
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.replace(/^\[codex_auth_refresh \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\] /, ""));
}

/**
 * Copies the built program to where every user can read it: a clone may lie where only its owner can.
 *
 * @returns the path of the copy, for `RunOptions.programPath`
 */
export function copyProgram(directory: string): string {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  for (const part of ["bin", "dist"]) cpSync(join(root, part), join(directory, part), { recursive: true });
  chmodSync(directory, 0o755);
  return join(directory, "bin", "watchdog.cjs");
}

/** Waits for a condition with a deadline; the deadline is for a broken program, not for a slow machine. */
export async function waitUntil(what: string, isTrue: () => boolean, timeoutMs = 20_000): Promise<void> {
  const untilMs = Date.now() + timeoutMs;
  while (!isTrue()) {
    if (Date.now() > untilMs) throw new Error(`waited ${timeoutMs} ms in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
