import { existsSync, readdirSync, readFileSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { BASELINE_PATH } from "../support/baseline.js";
import { Home } from "../support/home.js";
import { type LoginOptions, makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import { NODE_PATH, PROGRAM_PATH, type Running, type RunOptions, type RunResult, start } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";
import type { Fate, Subject, Trial } from "./row.js";

/** After a disturbed run this many further ones may be needed; the first settles nearly everything. */
const MAX_RECOVERIES = 3;

/** No run takes that long, milliseconds: its lock and its request have deadlines. */
const HUNG_MS = 200_000;

export const LOCK_NAME = ".auth.json.watchdog.lock";

/** As src/adapters/file-lock.ts has it. */
export const LOCK_STALE_SEC = 15;

/**
 * Due by the margin of four hours, and not within Codex's own five minutes, in which a run reads a few files of every
 * process of the machine: thousands of system calls before anything is at stake, seconds.
 */
const DUE_SEC = 3_600;

/** How a run is started. */
export interface SceneRunOptions extends RunOptions {
  /** Shell words that come before the program: `umask 077`. */
  readonly prelude?: string;
  /** Started as the head of a process group of its own, so that all of it can be killed. */
  readonly isGroup?: boolean;
}

/** One home with a login that is due, and the server that would refresh it. */
export class Scene {
  readonly home: Home;
  readonly server: TokenServer;
  readonly subject: Subject;
  readonly tokens: Tokens;
  /** What counts as a good end where somebody else has changed the login on purpose, in place of a usable token. */
  goodEnd: (() => boolean) | null = null;

  #isHung = false;

  private constructor(home: Home, server: TokenServer, subject: Subject) {
    this.home = home;
    this.server = server;
    this.subject = subject;
    this.tokens = server.admit(makeTokens({ expiresInSec: DUE_SEC }));
    home.writeAuth(makeAuthJson(this.tokens));
  }

  /** @param parent where the home lies; the system's temporary directory when it is not given */
  static async open(subject: Subject, parent?: string, grants: LoginOptions = {}): Promise<Scene> {
    return new Scene(new Home(parent), await TokenServer.start(grants), subject);
  }

  async close(): Promise<void> {
    await this.server.stop();
    this.home.remove();
  }

  /** Starts one `--once` of the program or of the script. */
  start({ prelude, isGroup = false, env, programPath = PROGRAM_PATH, ...others }: SceneRunOptions = {}): Running {
    const settings = { CODEX_HOME: this.home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: this.server.url, ...env };
    const program = [...(this.subject === "script" ? ["bash", BASELINE_PATH] : [NODE_PATH, programPath]), "--once"];
    const words = prelude === undefined ? program : ["bash", "-c", `${prelude}; exec "$@"`, "-", ...program];
    const [command = "", ...args] = isGroup ? ["setsid", ...words] : words;
    const running = start(command, args, { ...others, env: settings });
    const timer = setTimeout(() => {
      this.#isHung = true;
      running.child.kill("SIGKILL");
    }, HUNG_MS);
    running.child.on("close", () => clearTimeout(timer));
    return running;
  }

  async run(options: SceneRunOptions = {}): Promise<RunResult> {
    return await this.start(options).ended;
  }

  /** Whether the store holds a refresh token that the server still takes, or what `goodEnd` says. */
  isGood(): boolean {
    try {
      if (this.goodEnd !== null) return this.goodEnd();
      return this.server.isActive(this.home.readRefreshToken());
    } catch {
      return false; // No file, or none that can be read: nobody can use such a login.
    }
  }

  /** Whether the newest refresh token lies in any file of the home, in auth.json or in a ticket's pieces. */
  isNewestOnDisk(): boolean {
    const { newestToken } = this.server;
    if (newestToken === null) return true;
    return readdirSync(this.home.path)
      .map((name) => join(this.home.path, name))
      .filter((path) => statSync(path).isFile())
      .some((path) => {
        const text = readFileSync(path, "utf8");
        const pieces = [...text.matchAll(/"base64":"([^"]*)"/g)].map(([, piece = ""]) => Buffer.from(piece, "base64"));
        return text.includes(newestToken) || Buffer.concat(pieces).includes(newestToken);
      });
  }

  /** The lock of a killed run is taken over when it is stale; nobody has to wait for that. */
  ageLock(): void {
    const path = join(this.home.path, LOCK_NAME);
    const thenSec = Date.now() / 1000 - LOCK_STALE_SEC - 1;
    if (existsSync(path)) utimesSync(path, thenSec, thenSec);
  }

  /**
   * Looks at what a disturbed run has left, and lets the next ones recover it.
   *
   * @param defect what was wrong with the disturbed run itself; null when nothing
   */
  async judge(what: string, defect: string | null, recovery: SceneRunOptions = {}): Promise<Trial> {
    const isKept = this.isGood();
    // Whoever finds nothing on the disk now can't be helped: the server had rotated and the answer had not arrived.
    const isWindow = !isKept && !this.isNewestOnDisk();
    const codes: (number | null)[] = [];
    while (!this.isGood() && codes.length < MAX_RECOVERIES) {
      this.ageLock();
      codes.push((await this.run(recovery)).code);
    }
    const fate: Fate = isKept ? "kept" : this.isGood() ? "recovered" : isWindow ? "window" : "lost";
    const isReused = this.server.reuseCount > 0 && !isWindow;
    const note = `${what}: ${fate}${codes.length === 0 ? "" : `, then exit ${codes.join(", ")}`}`;
    const found = this.#isHung
      ? `still running after ${HUNG_MS / 1000} s`
      : (defect ?? (isReused ? "a spent token was presented" : null));
    return { fate, posts: this.server.posts.length, defect: found, note };
  }
}

/** One trial on a scene of its own, which is cleared away afterwards. */
export async function onScene<T extends Trial | null>(
  subject: Subject,
  body: (scene: Scene) => Promise<T>,
  parent?: string,
): Promise<T> {
  const scene = await Scene.open(subject, parent);
  try {
    return await body(scene);
  } finally {
    await scene.close();
  }
}

/** Runs the trials, `workers` at a time: as many as there are processors, or more when they mostly sleep. */
export async function inTurn<T>(trials: readonly (() => Promise<T>)[], workers = 2): Promise<readonly T[]> {
  const results: T[] = [];
  const waiting = [...trials];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) results.push(await next());
  };
  await Promise.all(Array.from({ length: workers }, work));
  return results;
}

/** `count` of the items, evenly spread; all of them when there are fewer. */
export function spread<T>(items: readonly T[], count: number): readonly T[] {
  if (items.length <= count) return items;
  return Array.from({ length: count }, (_none, index) => items[Math.floor((index * items.length) / count)] as T);
}

/** What a run may not do however it is disturbed; null when it did not. */
export function misbehaviour({ code, stderr }: RunResult): string | null {
  if (/^ +at |a bug:|node:internal/m.test(stderr)) return `stack trace: ${stderr.slice(0, 400)}`;
  return code === null || [0, 1, 2, 3, 4].includes(code) ? null : `exit ${code}: ${stderr.slice(0, 400)}`;
}

/** The evenly spread moments of a run, milliseconds after its start, the first and the last included. */
export function moments(count: number, lengthMs: number): number[] {
  return Array.from({ length: count }, (_none, index) => Math.round((index * lengthMs) / Math.max(1, count - 1)));
}

/** How long an undisturbed run takes here and now, milliseconds, when the endpoint thinks for `answerDelayMs`. */
export async function runLengthMs(subject: Subject, answerDelayMs: number): Promise<number> {
  const scene = await Scene.open(subject);
  try {
    scene.server.always({ delayMs: answerDelayMs });
    const startedMs = Date.now();
    await scene.run();
    return Date.now() - startedMs;
  } finally {
    await scene.close();
  }
}

export function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}
