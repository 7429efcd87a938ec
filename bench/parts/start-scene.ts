import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ARTEFACT, makeArtefact } from "../../test/support/artefact.js";
import { baselineEnv } from "../../test/support/baseline.js";
import { Home } from "../../test/support/home.js";
import { makeAuthJson, makeTokens } from "../../test/support/login.js";
import { PROGRAM_PATH } from "../../test/support/program.js";
import { TokenServer } from "../../test/support/token-server.js";
import type { Command, Spent } from "../stopwatch.js";

/** How long the endpoint thinks before it answers: not at all, and as long as over a network. */
export const DELAYS_MS = [0, 100] as const;

export interface Row {
  readonly name: string;
  readonly command: Command;
  /** The exit code of a run that did what the row is about. */
  readonly code: number;
  readonly prepare?: () => void;
  readonly spent: Spent[];
}

export const BARE = "node -e 0";
export const FRESH = "--once, fresh login";
export const SCRIPT = { fresh: "shell script, fresh login", due: "shell script, due login" } as const;

export function dueName(delayMs: number): string {
  return delayMs === 0 ? "--once, due login" : `--once, due login, answer after ${delayMs} ms`;
}

/** Homes for each kind of login, and an endpoint for each delay, which this process plays while it waits. */
export class StartScene {
  readonly #homes = { fresh: new Home(), due: new Home(), absent: new Home() };
  readonly #servers: ReadonlyMap<number, TokenServer>;
  readonly #folder = mkdtempSync(join(tmpdir(), "watchdog-artefact-"));
  readonly #artefact = join(this.#folder, ARTEFACT);

  private constructor(servers: ReadonlyMap<number, TokenServer>) {
    this.#servers = servers;
    this.#homes.fresh.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 864_000 })));
  }

  static async open(): Promise<StartScene> {
    const servers = new Map<number, TokenServer>();
    for (const delayMs of DELAYS_MS) {
      const server = await TokenServer.start();
      if (delayMs > 0) server.always({ delayMs });
      servers.set(delayMs, server);
    }
    const scene = new StartScene(servers);
    await makeArtefact(scene.#folder);
    return scene;
  }

  async close(): Promise<void> {
    for (const home of Object.values(this.#homes)) home.remove();
    rmSync(this.#folder, { recursive: true });
    for (const server of this.#servers.values()) await server.stop();
  }

  rows(node: string): Row[] {
    const { fresh, absent } = this.#homes;
    const ours = (home: Home, ...args: string[]): Command => ({
      argv: [node, PROGRAM_PATH, ...args],
      env: { CODEX_HOME: home.path },
    });
    return [
      { name: BARE, command: { argv: [node, "-e", "0"] }, code: 0, spent: [] },
      { name: "--help", command: ours(absent, "--help"), code: 0, spent: [] },
      { name: "--once, no login", command: ours(absent, "--once"), code: 1, spent: [] },
      { name: FRESH, command: ours(fresh, "--once"), code: 1, spent: [] },
      {
        name: `${FRESH}, one file`,
        command: { ...ours(fresh), argv: [node, this.#artefact, "--once"] },
        code: 1,
        spent: [],
      },
      { name: "status", command: ours(fresh, "status"), code: 0, spent: [] },
      ...DELAYS_MS.map((delayMs) => this.#dueRow(dueName(delayMs), [node, PROGRAM_PATH, "--once"], delayMs)),
    ];
  }

  scriptRows(path: string): Row[] {
    const argv: Command["argv"] = ["bash", path, "--once"];
    const env = { ...baselineEnv(), CODEX_HOME: this.#homes.fresh.path };
    return [
      { name: SCRIPT.fresh, command: { argv, env }, code: 1, spent: [] },
      this.#dueRow(SCRIPT.due, argv, 0, baselineEnv()),
    ];
  }

  #dueRow(name: string, argv: Command["argv"], delayMs: number, more: Command["env"] = {}): Row {
    const home = this.#homes.due;
    const server = this.#server(delayMs);
    const env = { ...more, CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
    const prepare = (): void => home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 3_600 }))));
    return { name, command: { argv, env }, code: 0, prepare, spent: [] };
  }

  /** What a client that is warm waits for the same answer, on a new connection. */
  async roundTripMs(delayMs: number): Promise<number> {
    const server = this.#server(delayMs);
    const body = JSON.stringify({ refresh_token: server.admit(makeTokens()).refresh_token });
    const startedMs = performance.now();
    await new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json" };
      const sent = request(server.url, { method: "POST", agent: false, headers }, (answer) => {
        answer.resume().on("end", resolve);
      });
      sent.on("error", reject).end(body);
    });
    return performance.now() - startedMs;
  }

  #server(delayMs: number): TokenServer {
    const server = this.#servers.get(delayMs);
    if (server === undefined) throw new Error(`no endpoint answers after ${delayMs} ms`);
    return server;
  }
}
