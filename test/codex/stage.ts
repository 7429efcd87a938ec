import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { openRpc, type Rpc, type RpcReply } from "../../src/adapters/codex-app-server.js";
import { Home } from "../support/home.js";
import { type LoginOptions, makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import { type RunResult, runProgram, start, waitUntil } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

/** One release of Codex, and the command that starts it. */
export interface Release {
  readonly version: string;
  readonly program: string;
}

/** Far beyond what a quiet machine needs for an answer, or for an end: a busy one turns no row red, milliseconds. */
const ANSWER_LIMIT_MS = 30_000;

/** A home with a login, a token endpoint and a Codex; each row has its own. */
export class Stage {
  readonly home = new Home();
  readonly server: TokenServer;
  readonly release: Release;
  readonly #backend: Server;
  readonly #sessions: AppServer[] = [];

  private constructor(release: Release, server: TokenServer, backend: Server) {
    this.release = release;
    this.server = server;
    this.#backend = backend;
    // What Codex asks of its backend, it asks of us; a 404 is an answer.
    const { port } = backend.address() as AddressInfo;
    this.#write("config.toml", `chatgpt_base_url = "http://127.0.0.1:${port}/backend-api"\n`);
  }

  static async open(release: Release): Promise<Stage> {
    const backend = createServer((request, response) => {
      request.resume();
      response.writeHead(404).end("{}");
    });
    await new Promise<void>((resolve) => backend.listen(0, "127.0.0.1", resolve));
    return new Stage(release, await TokenServer.start(), backend);
  }

  /** Ends every Codex of this row. @throws when a process of this home is left */
  async close(): Promise<void> {
    try {
      for (const session of this.#sessions) session.kill();
      await waitUntil("no process is left on this home", () => this.processCount() === 0, ANSWER_LIMIT_MS);
    } finally {
      this.#backend.closeAllConnections();
      this.#backend.close();
      await this.server.stop();
      this.home.remove();
    }
  }

  get environment(): Record<string, string> {
    return { HOME: this.home.path, CODEX_HOME: this.home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: this.server.url };
  }

  get postCount(): number {
    return this.server.posts.length;
  }

  /** Writes a login that the endpoint knows; without options its access token is good for a day. */
  logIn(options: LoginOptions = {}, edit: (document: AuthDocument) => void = () => undefined): Tokens {
    const tokens = this.server.admit(makeTokens({ expiresInSec: 86_400, ...options }));
    const document = JSON.parse(makeAuthJson(tokens, options)) as AuthDocument;
    edit(document);
    this.home.writeAuth(JSON.stringify(document, null, 2));
    return tokens;
  }

  /** Whether the file holds the last token that the endpoint granted. */
  get isNewestSaved(): boolean {
    return this.server.newestToken !== null && this.home.readRefreshToken() === this.server.newestToken;
  }

  async startCodex(environment: Readonly<Record<string, string>> = {}): Promise<AppServer> {
    const session = new AppServer(this.release.program, this.home.path, { ...this.environment, ...environment });
    this.#sessions.push(session);
    await session.initialize();
    return session;
  }

  async runCodex(...args: string[]): Promise<RunResult> {
    return await start(this.release.program, args, { env: this.environment, cwd: this.home.path }).ended;
  }

  /** Runs the built program on this home. */
  async runWatchdog(...args: string[]): Promise<RunResult> {
    return await runProgram({ args, env: this.environment });
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.home.path, name), text);
  }

  /** Of everything that was started for this home. */
  processCount(): number {
    const mark = `CODEX_HOME=${this.home.path}`;
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && environmentOf(name).includes(mark)).length;
  }
}

export interface AuthDocument {
  [field: string]: unknown;
  tokens: Record<string, unknown>;
}

function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    return []; // It has just ended.
  }
}

/** A `codex app-server` over its standard streams. */
export class AppServer {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #rpc: Rpc;
  readonly #ended: Promise<unknown>;

  constructor(program: string, home: string, environment: Readonly<Record<string, string>>) {
    // A group of its own: npm's command is a script that starts the binary.
    this.#child = spawn(program, ["app-server"], {
      cwd: home,
      env: { PATH: process.env["PATH"], ...environment },
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
    });
    this.#ended = once(this.#child, "close");
    this.#rpc = openRpc(this.#child);
  }

  async initialize(): Promise<void> {
    await this.request("initialize", { clientInfo: { name: "codex-auth-watchdog-test", title: null, version: "0" } });
    this.#rpc.notify("initialized");
  }

  async request(method: string, params: object): Promise<RpcReply> {
    return await this.#rpc.request(method, params, AbortSignal.timeout(ANSWER_LIMIT_MS));
  }

  /** A forced refresh. */
  async refresh(): Promise<RpcReply> {
    return await this.request("account/read", { refreshToken: true });
  }

  /** The access token that Codex would use; null when it shows none. */
  async token(): Promise<string | null> {
    const reply = await this.request("getAuthStatus", { includeToken: true, refreshToken: false });
    if (reply.kind !== "result") throw new Error(`getAuthStatus: ${JSON.stringify(reply)}`);
    const token = reply.result["authToken"];
    return typeof token === "string" ? token : null;
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    const killer = setTimeout(() => this.kill(), ANSWER_LIMIT_MS);
    await this.#ended;
    clearTimeout(killer);
  }

  kill(): void {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
}
