import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Home } from "../../test/support/home.js";
import type { LoginOptions } from "../../test/support/login.js";
import { NODE_PATH, PROGRAM_PATH, type Running, type RunOptions, start } from "../../test/support/program.js";
import { TokenServer } from "../../test/support/token-server.js";

/** What a part of the bench has begun and must end, also on Ctrl-C: processes, the token endpoint, a folder. */
export class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), "watchdog-bench-"));
  readonly server: TokenServer;
  readonly #running: Running[] = [];

  private constructor(server: TokenServer) {
    this.server = server;
  }

  static async open(grantOptions: LoginOptions = {}): Promise<Stage> {
    const stage = new Stage(await TokenServer.start(grantOptions));
    open.add(stage);
    return stage;
  }

  makeFolder(name: string): string {
    const path = join(this.folder, name);
    mkdirSync(path);
    return path;
  }

  makeHomes(count: number, parent: string = this.folder): Home[] {
    return Array.from({ length: count }, () => new Home(parent));
  }

  /** Starts a command that ends with the stage at the latest. */
  start(command: string, args: readonly string[], options: RunOptions = {}): Running {
    const running = start(command, args, options);
    this.#running.push(running);
    return running;
  }

  /**
   * Starts the built program's loop.
   *
   * @param how words around the program's own, and another command than Node's
   */
  startLoop(codexHomes: readonly string[], how: Partial<Wrapping> = {}): Running {
    const { command = NODE_PATH, before = [], after = [] } = how;
    const homes = codexHomes.flatMap((path) => ["--codex-home", path]);
    const env = { CODEX_REFRESH_TOKEN_URL_OVERRIDE: this.server.url };
    return this.start(command, [...before, PROGRAM_PATH, ...homes, ...after], { env });
  }

  /** Ends a process as an operator does, and waits for it. */
  async end(running: Running): Promise<void> {
    running.child.kill("SIGTERM");
    await running.ended;
  }

  async close(): Promise<void> {
    open.delete(this);
    for (const { child } of this.#running) child.kill("SIGKILL");
    await Promise.allSettled(this.#running.map(({ ended }) => ended));
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A command that becomes the program: it must not leave a process of its own between. */
export interface Wrapping {
  readonly command: string;
  readonly before: readonly string[];
  /** More words for the program. */
  readonly after?: readonly string[];
}

const open = new Set<Stage>();

/** Takes over Ctrl-C, so that it leaves no process and no folder behind. */
export function endStagesOnSignal(): void {
  for (const [name, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
  ] as const) {
    process.on(name, () => {
      void Promise.allSettled([...open].map((stage) => stage.close())).then(() => process.exit(128 + number));
    });
  }
}

/** The pid of a process that has started. */
export function pidOf({ child }: Running): number {
  if (child.pid === undefined) throw new Error("the process has not started");
  return child.pid;
}
