import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { PROGRAM_PATH } from "../test/support/program.js";

/** A command with the whole of its environment, but for PATH and HOME. */
export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
}

/** What commands that were started at once have cost. */
export interface Spent {
  /** Until the last of them had left. */
  readonly wallMs: number;
  /** User and system time of all of them; null when nothing here can tell it. */
  readonly cpuMs: number | null;
  /** The most memory that one of them held, KiB; null when nothing here can tell it. */
  readonly peakKib: number | null;
  readonly codes: readonly (number | null)[];
}

/** Starts commands, waits for them, and says what they cost. */
export interface Stopwatch {
  readonly tellsUsage: boolean;
  run(...commands: readonly Command[]): Promise<Spent>;
  close(): void;
}

/**
 * One in a process of its own, which leaves this one free to play the token endpoint. Without python3 this process does
 * both: it is idle while it waits, but then only the wall clock can be told.
 */
export function openStopwatch(): Stopwatch {
  const hasPython = spawnSync("python3", ["-c", "import os; os.posix_spawnp; os.waitstatus_to_exitcode"]).status === 0;
  return hasPython ? new PythonStopwatch() : NODE_STOPWATCH;
}

class PythonStopwatch implements Stopwatch {
  readonly tellsUsage = true;
  readonly #python: ChildProcessWithoutNullStreams;
  readonly #answers: Interface;

  constructor() {
    // Without site-packages: they would raise the floor of what a child's peak can be.
    this.#python = spawn("python3", ["-S", join(PROGRAM_PATH, "..", "..", "bench", "stopwatch.py")]);
    this.#python.stderr.pipe(process.stderr);
    this.#answers = createInterface(this.#python.stdout);
  }

  async run(...commands: readonly Command[]): Promise<Spent> {
    const requests = commands.map(({ argv, env }) => ({ argv, env: wholeEnvironment(env) }));
    const left = new AbortController();
    const answered = once(this.#answers, "line", { signal: left.signal });
    const gone = (): void => left.abort(new Error("the stopwatch has left"));
    this.#python.once("exit", gone);
    this.#python.stdin.write(`${JSON.stringify(requests)}\n`);
    const [line] = await answered;
    this.#python.off("exit", gone);
    return JSON.parse(String(line)) as Spent;
  }

  close(): void {
    this.#python.stdin.end();
  }
}

const NODE_STOPWATCH: Stopwatch = {
  tellsUsage: false,
  run: async (...commands) => {
    const startedMs = performance.now();
    const codes = await Promise.all(
      commands.map(async ({ argv: [command, ...args], env }) => {
        const child = spawn(command, args, { env: wholeEnvironment(env), stdio: "ignore" });
        const [code] = (await once(child, "exit")) as [number | null];
        return code;
      }),
    );
    return { wallMs: performance.now() - startedMs, cpuMs: null, peakKib: null, codes };
  },
  close: () => undefined,
};

/** What this process has in its own, certificates to load for instance, must not slow what is measured. */
function wholeEnvironment(env: Command["env"]): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", ...env };
}
