import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LoginOptions, makeAuthJson, makeTokens, type Tokens } from "./login.js";
import type { PostgresServer } from "./postgres.js";
import { type Running, type RunResult, runProgram, startProgram } from "./program.js";
import type { TokenServer } from "./token-server.js";

/** Keys as files, made once for all: what they are does not matter. */
const OWNER_KEY = "b3duZXIta2V5LW93bmVyLWtleS1vd25lci1rZXktb3c";
const FOLLOWER_KEY = "Zm9sbG93ZXItZm9sbG93ZXItZm9sbG93ZXItZm9sbG8";

/** A database with a login in it, and hosts around it, each with a folder of its own. */
export class FleetScene {
  readonly folder = mkdtempSync(join(tmpdir(), "watchdog-fleet-"));
  readonly server: PostgresServer;
  readonly database: string;
  /** Where the hosts see the database: a proxy's port, for instance. */
  port: number;
  readonly #tokenServer: TokenServer | null;

  private constructor(server: PostgresServer, database: string, tokenServer: TokenServer | null) {
    this.server = server;
    this.database = database;
    this.port = server.port;
    this.#tokenServer = tokenServer;
    writeFileSync(this.path("owner.key"), `${OWNER_KEY}\n`, { mode: 0o600 });
    writeFileSync(this.path("follower.key"), `${FOLLOWER_KEY}\n`, { mode: 0o600 });
  }

  /** A new database with the tables in it, and roles that may use them. */
  static async open(server: PostgresServer, tokenServer: TokenServer | null = null): Promise<FleetScene> {
    const database = await server.createDatabase();
    const scene = new FleetScene(server, database, tokenServer);
    const roles = ["codex_owner", "codex_follower"];
    for (const role of roles) {
      const exists = `select from pg_roles where rolname = '${role}'`;
      const [found] = await server.query(exists);
      if (found === undefined) await server.query(`create role ${role} login password '${role}'`);
    }
    const args = ["store", "init", "--owner-role", "codex_owner", "--follower-role", "codex_follower"];
    const done = await scene.run("admin", args, "postgres");
    if (done.code !== 0) throw new Error(done.stderr);
    return scene;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** A host's CODEX_HOME, made when it is asked for first. */
  home(host: string): string {
    const path = this.path(host);
    mkdirSync(path, { recursive: true });
    return path;
  }

  url(role: string): string {
    const password = role === "postgres" ? this.server.adminPassword : role;
    return `postgres://${role}:${password}@127.0.0.1:${this.port}/${this.database}`;
  }

  env(host: string, role = "codex_owner"): Record<string, string> {
    return {
      CODEX_HOME: this.home(host),
      CODEX_AUTH_STORE: this.url(role),
      CODEX_AUTH_OWNER_KEY_FILE: this.path("owner.key"),
      CODEX_AUTH_FOLLOWER_KEY_FILE: this.path("follower.key"),
      ...(this.#tokenServer === null ? {} : { CODEX_REFRESH_TOKEN_URL_OVERRIDE: this.#tokenServer.url }),
    };
  }

  async run(
    host: string,
    args: readonly string[],
    role?: string,
    env: Record<string, string> = {},
  ): Promise<RunResult> {
    return await runProgram({ args, env: { ...this.env(host, role), ...env } });
  }

  start(host: string, args: readonly string[], role?: string, env: Record<string, string> = {}): Running {
    return startProgram({ args, env: { ...this.env(host, role), ...env } });
  }

  /** Logs in on a machine, and puts that login into the store. */
  async logIn(options: LoginOptions = {}): Promise<Tokens> {
    const tokens = makeTokens({ expiresInSec: 3_000, ...options });
    this.#tokenServer?.admit(tokens);
    writeFileSync(join(this.home("desk"), "auth.json"), makeAuthJson(tokens, options));
    const put = await this.run("desk", ["store", "put"]);
    if (put.code !== 0) throw new Error(put.stderr);
    return tokens;
  }

  /** The refresh token that the store holds. */
  async storedRefreshToken(): Promise<string> {
    const { stdout, stderr } = await runProgram({
      args: ["store", "get", "--with-refresh-token"],
      env: {
        ...this.env("admin"),
        CODEX_AUTH_STORE: this.url("postgres").replace(`:${this.port}/`, `:${this.server.port}/`),
      },
    });
    if (stdout === "") throw new Error(stderr);
    return String((JSON.parse(stdout) as { tokens: { refresh_token: string } }).tokens.refresh_token);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
