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

const QUIET_MS = 1_000;

/** One release of Codex, and the command that starts it. */
export interface Release {
  readonly version: string;
  readonly program: string;
}

/** Far beyond what a quiet machine needs for an answer: a busy one turns no row red, milliseconds. */
const ANSWER_LIMIT_MS = 30_000;

/** The same for an end: a child of Codex's own may outlive it by a moment, milliseconds. */
const END_LIMIT_MS = 10_000;

export const REVOKE_PATH = "/oauth/revoke";

/** A home with a login, a token endpoint and a Codex; each row has its own. */
export class Stage {
  readonly home = new Home();
  readonly server: TokenServer;
  readonly release: Release;
  /** What Codex has asked of its backend, as METHOD and path. */
  readonly backendRequests: string[] = [];
  readonly #backend: Server;
  readonly #backendUrl: string;
  readonly #sessions: AppServer[] = [];

  private constructor(release: Release, server: TokenServer, backend: Server) {
    this.release = release;
    this.server = server;
    this.#backend = backend;
    backend.on("request", (request, response) => {
      request.resume();
      this.backendRequests.push(`${request.method} ${request.url}`);
      response.writeHead(404).end("{}");
    });
    // What Codex would ask of others, it asks of us.
    const { port } = backend.address() as AddressInfo;
    this.#backendUrl = `http://127.0.0.1:${port}`;
    this.#write("config.toml", `chatgpt_base_url = "${this.#backendUrl}/backend-api"\n`);
  }

  static async open(release: Release): Promise<Stage> {
    const backend = createServer();
    await new Promise<void>((resolve) => backend.listen(0, "127.0.0.1", resolve));
    return new Stage(release, await TokenServer.start(), backend);
  }

  /** Ends every Codex of this row. @throws when a process of this home is left */
  async close(): Promise<void> {
    try {
      for (const session of this.#sessions) session.kill();
      const remaining = await this.remainingProcesses();
      if (remaining.length > 0) throw new Error(`left behind: ${remaining.join()}`);
    } finally {
      this.#backend.closeAllConnections();
      this.#backend.close();
      await this.server.stop();
      this.home.remove();
    }
  }

  get environment(): Record<string, string> {
    return {
      HOME: this.home.path,
      CODEX_HOME: this.home.path,
      CODEX_REFRESH_TOKEN_URL_OVERRIDE: this.server.url,
      CODEX_REVOKE_TOKEN_URL_OVERRIDE: `${this.#backendUrl}${REVOKE_PATH}`,
    };
  }

  /** Waits until no request has come for a while: what Codex does in the background over an expired token is over. */
  async quiet(): Promise<void> {
    let [seen, sinceMs] = [this.postCount, Date.now()];
    await waitUntil("the endpoint to be quiet", () => {
      if (this.postCount !== seen) [seen, sinceMs] = [this.postCount, Date.now()];
      return Date.now() - sinceMs >= QUIET_MS;
    });
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

  /** The names of everything that still runs for this home, once it has had time to end. */
  async remainingProcesses(): Promise<string[]> {
    const untilMs = Date.now() + END_LIMIT_MS;
    while (this.#processes().length > 0 && Date.now() < untilMs)
      await new Promise((resolve) => setTimeout(resolve, 10));
    return this.#processes().map((pid) => `${nameOf(pid)} (${pid})`);
  }

  #processes(): string[] {
    const mark = `CODEX_HOME=${this.home.path}`;
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && environmentOf(name).includes(mark));
  }
}

export interface AuthDocument {
  [field: string]: unknown;
  tokens: Record<string, unknown>;
}

function environmentOf(pid: string): string[] {
  return readProcess(pid, "environ").split("\0");
}

function nameOf(pid: string): string {
  return readProcess(pid, "comm").trim();
}

/** Empty for a process that has just ended. */
function readProcess(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
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
