import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";

/**
 * The user of servers that refuse to be root: `nobody`, whom every Linux has. Null when we are not root: then a server
 * runs as ourselves.
 */
const SERVER_USER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : null;

/** Waits for the end of our life, then ends every process that works in the folder, and removes the folder. */
const GUARD = `
  cat >/dev/null
  find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1/data" | cut -d/ -f3 | xargs -r kill -KILL
  # Where PostgreSQL was killed, it leaves a segment of shared memory behind: line 7 of its file has "KEY ID".
  if [ -f "$1/data/postmaster.pid" ]; then
    read -r _ segment <<END
$(sed -n 7p "$1/data/postmaster.pid")
END
    if [ -n "$segment" ]; then ipcrm -m "$segment"; fi
  fi
  rm -rf -- "$1"
`;

/**
 * A temporary folder of one server, which works in `data` inside. Folder and server never outlive this process: a
 * guard in a session of its own holds a pipe from it. Linux only: a server's processes are known by their working
 * directory.
 */
export class ServerFolder {
  readonly path: string;
  readonly data: string;
  readonly log: string;
  readonly #guard: ChildProcess & { readonly stdin: Writable };

  /** @param name the beginning of its name */
  constructor(name: string) {
    this.path = realpathSync(mkdtempSync(join(tmpdir(), `${name}-`)));
    this.data = join(this.path, "data");
    this.log = join(this.path, "log");
    // The server's user must come through, and sees nothing else.
    chmodSync(this.path, 0o711);
    this.#guard = spawn("sh", ["-c", GUARD, "guard", this.path], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
      cwd: "/",
    });
  }

  /** Makes `data`, for servers that don't bring one. */
  makeData(): void {
    mkdirSync(this.data, { mode: 0o700 });
    giveToServer(this.data);
  }

  /** Pids of the server's living processes. */
  pids(): number[] {
    const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return all.filter((pid) => workingDirectory(pid) === this.data).map(Number);
  }

  /** Sends a signal to every process of the server. Those that end meanwhile are left out. */
  signal(signal: NodeJS.Signals): void {
    for (const pid of this.pids()) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    }
  }

  /** Kills every process of the server, also a paused one, and waits until they are gone. */
  async kill(): Promise<void> {
    // A process that was being forked when they were listed appears in the next list.
    for (; this.pids().length > 0; await sleep(5)) this.signal("SIGKILL");
  }

  /** Ends what is still running, and removes the folder. */
  async remove(): Promise<void> {
    if (this.#guard.exitCode !== null) return;
    const gone = once(this.#guard, "exit");
    this.#guard.stdin.end();
    await gone;
  }
}

/**
 * Starts a program in `data` as the server's user, with nothing of our environment but PATH. Its output is appended to
 * `log` in the folder.
 */
export function spawnServer(folder: ServerFolder, command: string, args: readonly string[]): ChildProcess {
  const log = openSync(folder.log, "a");
  const child = spawn(command, args, {
    ...SERVER_USER,
    cwd: folder.data,
    stdio: ["ignore", log, log],
    env: { PATH: process.env["PATH"], LC_ALL: "C" },
    // A Ctrl-C on the terminal is ours to handle.
    detached: true,
  });
  closeSync(log);
  return child;
}

/** Makes a file or folder the server's own. */
export function giveToServer(path: string): void {
  if (SERVER_USER !== null) chownSync(path, SERVER_USER.uid, SERVER_USER.gid);
}

/**
 * A port to listen on, for programs that can't be told "any". It lies below those that the kernel hands out by itself,
 * so a server that restarts finds it free; another test may have it: try again then.
 */
export function guessPort(): number {
  return 12_000 + Math.floor(Math.random() * 20_000);
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function workingDirectory(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null; // Gone, or somebody else's.
  }
}
