import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { type PostgresMajor, preparePostgres, run } from "./postgres-package.js";
import { makeCertificate } from "./self-signed.js";
import { giveToServer, guessPort, ServerFolder, sleep, spawnServer } from "./server-folder.js";

export interface PostgresOptions {
  /** Whether a commit waits for the disk, as in production. By default it does not: survives kill -9, not a power cut. */
  readonly fsync?: boolean;
  /** Whether the server speaks TLS, with a certificate of its own; it still takes connections without. */
  readonly ssl?: boolean;
  /** 50 by default; three of them are kept for the superuser. */
  readonly maxConnections?: number;
  /** More settings of postgresql.conf, or others than ours. */
  readonly settings?: Readonly<Record<string, string | number>>;
}

type Row = Record<string, unknown>;

const SUPERUSER = "postgres";
const START_TIMEOUT_MS = 30_000;

/** The first line of pg_hba.conf counts; roles without a password can't log in. */
const ACCESS = "host all all 127.0.0.1/32 scram-sha-256\n";

/**
 * A PostgreSQL of one's own, on 127.0.0.1 only, gone with this process at the latest. Call `stop` at the end.
 *
 * @param major its version; of the minor ones, what the package has
 */
export async function startPostgres(major: PostgresMajor, options: PostgresOptions = {}): Promise<PostgresServer> {
  const template = await preparePostgres(major);
  const folder = new ServerFolder(`watchdog-postgres-${major}`);
  try {
    await run("cp", "-a", template.data, folder.data);
    writeFileSync(join(folder.data, "pg_hba.conf"), ACCESS);
    const server = new PostgresServer(folder, join(template.bin, "postgres"), template.password, options);
    await server.start();
    return server;
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

class PostgresServer {
  port = guessPort();
  /** The password of `postgres`, the superuser. */
  readonly adminPassword: string;
  /** The server's own certificate, PEM: what a client trusts to know it, as 127.0.0.1 or localhost. Null without TLS. */
  readonly certificate: string | null;
  readonly #folder: ServerFolder;
  readonly #program: string;
  readonly #options: PostgresOptions;
  #postmaster: ChildProcess | null = null;

  constructor(folder: ServerFolder, program: string, adminPassword: string, options: PostgresOptions) {
    this.#folder = folder;
    this.#program = program;
    this.#options = options;
    this.adminPassword = adminPassword;
    this.certificate = options.ssl === true ? this.#makeCertificate() : null;
  }

  /** An address without a password, as `--store` takes it. */
  url(user: string = SUPERUSER, database = "postgres"): string {
    return `postgres://${user}@127.0.0.1:${this.port}/${database}`;
  }

  /** The superuser's address, with the password. */
  get adminUrl(): string {
    return this.url().replace("@", `:${this.adminPassword}@`);
  }

  /** What the server has written since its first start: with `log_statement=all` in the settings, every statement too. */
  get log(): string {
    return readFileSync(this.#folder.log, "utf8");
  }

  /** Pids of the server's processes. */
  pids(): number[] {
    return this.#folder.pids();
  }

  /** An empty database that no other test has. Returns its name. */
  async createDatabase(): Promise<string> {
    const name = `test_${randomBytes(6).toString("hex")}`;
    await this.query(`create database ${name}`);
    return name;
  }

  /**
   * Runs statements as the superuser on a connection of their own; without parameters there may be several.
   *
   * @returns the rows of the last statement
   */
  async query(sql: string, database = "postgres", parameters: readonly unknown[] = []): Promise<Row[]> {
    const client = new pg.Client({
      host: "127.0.0.1",
      port: this.port,
      user: SUPERUSER,
      password: this.adminPassword,
      database,
      ssl: false,
    });
    // Without a listener, a server that is killed would end this process.
    client.on("error", () => undefined);
    await client.connect();
    try {
      // An array of results where there are several statements.
      const results = [await client.query<Row>(sql, [...parameters])].flat();
      return results.at(-1)?.rows ?? [];
    } finally {
      await client.end();
    }
  }

  /**
   * SIGKILL ends all processes at one moment, as the end of a container does; any other signal goes to the postmaster
   * only (SIGTERM waits for clients, SIGINT throws them out, SIGQUIT skips the last checkpoint). Waits for the end.
   */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (signal === "SIGKILL") await this.#folder.kill();
    else this.#postmaster?.kill(signal);
    while (!hasEnded(this.#postmaster) || this.pids().length > 0) await sleep(5);
  }

  /** On the same port and data; throws clients out first when it runs. After `kill` it recovers as after a crash. */
  async restart(): Promise<void> {
    this.resume();
    await this.kill("SIGINT");
    await this.start();
  }

  /** Stops all processes where they stand (SIGSTOP): connections stay, new ones are taken by the kernel, nothing answers. */
  pause(): void {
    // The postmaster may have had a child under way when they were listed: the second round finds that.
    this.#folder.signal("SIGSTOP");
    this.#folder.signal("SIGSTOP");
  }

  resume(): void {
    this.#folder.signal("SIGCONT");
  }

  /** Ends the server, also a paused one, and removes its data. May be called twice. */
  async stop(): Promise<void> {
    this.resume();
    this.#postmaster?.kill("SIGQUIT");
    for (let waited = 0; !hasEnded(this.#postmaster) && waited < 2_000; waited += 5) await sleep(5);
    await this.#folder.remove();
  }

  /** Called by `startPostgres` and `restart`; the first start looks for a free port. */
  async start(): Promise<void> {
    const isFirst = this.#postmaster === null;
    for (let attempt = 1; !(await this.#tryStart()); attempt += 1) {
      const isTaken = /could not bind .*Address already in use/.test(this.log);
      if (!isTaken || attempt === 5) throw new Error(`PostgreSQL did not start:\n${this.log}`);
      if (isFirst) this.port = guessPort();
      else await sleep(200);
    }
  }

  /** Whether it takes connections. False when it has ended instead. */
  async #tryStart(): Promise<boolean> {
    const settings = Object.entries(this.#settings()).map(([name, value]) => `--${name}=${value}`);
    const child = spawnServer(this.#folder, this.#program, ["-D", this.#folder.data, ...settings]);
    let fault: Error | null = null;
    child.on("error", (error) => {
      fault = error;
    });
    this.#postmaster = child;
    for (let waited = 0; waited < START_TIMEOUT_MS; waited += 5) {
      if (fault !== null) throw fault;
      if (hasEnded(child)) return false;
      if (this.#isReady(child.pid)) return true;
      await sleep(5);
    }
    throw new Error(`PostgreSQL was not ready in time:\n${this.log}`);
  }

  /** Line 1 of postmaster.pid is the pid, line 8 the state, as pg_ctl reads it. */
  #isReady(pid: number | undefined): boolean {
    try {
      const lines = readFileSync(join(this.#folder.data, "postmaster.pid"), "utf8").split("\n");
      return Number(lines[0]) === pid && lines[7]?.trim() === "ready";
    } catch {
      return false; // Not there yet.
    }
  }

  #settings(): Record<string, string | number> {
    const isDurable = this.#options.fsync === true;
    return {
      listen_addresses: "127.0.0.1",
      port: this.port,
      unix_socket_directories: "",
      // Files in the data directory: nothing stays in /dev/shm when the server is killed.
      dynamic_shared_memory_type: "mmap",
      shared_buffers: "16MB",
      max_connections: this.#options.maxConnections ?? 50,
      max_wal_senders: 0,
      fsync: isDurable ? "on" : "off",
      full_page_writes: isDurable ? "on" : "off",
      ssl: this.certificate === null ? "off" : "on",
      log_timezone: "UTC",
      TimeZone: "UTC",
      ...this.#options.settings,
    };
  }

  #makeCertificate(): string {
    const { certificate, privateKey } = makeCertificate();
    writeFileSync(join(this.#folder.data, "server.crt"), certificate);
    const keyPath = join(this.#folder.data, "server.key");
    writeFileSync(keyPath, privateKey, { mode: 0o600 });
    giveToServer(keyPath);
    giveToServer(join(this.#folder.data, "server.crt"));
    return certificate;
  }
}

export type { PostgresServer };

function hasEnded(child: ChildProcess | null): boolean {
  return child === null || child.exitCode !== null || child.signalCode !== null;
}
