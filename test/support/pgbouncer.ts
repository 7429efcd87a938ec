import { once } from "node:events";
import { accessSync, constants, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { PostgresServer } from "./postgres.js";
import { giveToServer, guessPort, ServerFolder, sleep, spawnServer } from "./server-folder.js";

/** A running PgBouncer. */
export interface Pgbouncer {
  readonly port: number;
  /** An address without a password. */
  url(user: string, database: string): string;
  /** What it has written. */
  readonly log: string;
  stop(): Promise<void>;
}

export interface PgbouncerOptions {
  /** Passwords of the roles that will log in; the superuser's is known. */
  readonly passwords?: Readonly<Record<string, string>>;
  /** Sessions on the server for each role and database; 2 by default. With 1, all clients share one. */
  readonly poolSize?: number;
  /** Whether every transaction gets a new session: then nothing of an earlier one is left. */
  readonly freshSessions?: boolean;
}

const START_TIMEOUT_MS = 10_000;

/**
 * PgBouncer, pooling transactions: on the loopback, in front of a server of ours. It takes startup parameters as it
 * does without a configuration.
 *
 * @returns null when there is no PgBouncer on the PATH, nor in PGBOUNCER
 */
export async function startPgbouncer(
  postgres: PostgresServer,
  options: PgbouncerOptions = {},
): Promise<Pgbouncer | null> {
  const program = findPgbouncer();
  if (program === null) return null;
  const folder = new ServerFolder("watchdog-pgbouncer");
  folder.makeData();
  try {
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      const port = guessPort();
      configure(folder, port, postgres, options);
      const child = spawnServer(folder, program, [join(folder.data, "pgbouncer.ini")]);
      await once(child, "spawn");
      for (let waited = 0; child.exitCode === null && waited < START_TIMEOUT_MS; waited += 10) {
        if (readLog(folder).includes("process up")) return handle(folder, port);
        await sleep(10);
      }
    }
    throw new Error(`PgBouncer did not start:\n${readLog(folder)}`);
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

/** From PGBOUNCER, or on the PATH. */
function findPgbouncer(): string | null {
  const named = process.env["PGBOUNCER"] ?? "";
  if (named !== "") return named;
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders.map((folder) => join(folder, "pgbouncer")).find(isProgram) ?? null;
}

function configure(folder: ServerFolder, port: number, postgres: PostgresServer, options: PgbouncerOptions): void {
  const users = Object.entries({ ...options.passwords, postgres: postgres.adminPassword });
  const ini = `[databases]
* = host=127.0.0.1 port=${postgres.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${join(folder.data, "users")}
pool_mode = transaction
default_pool_size = ${options.poolSize ?? 2}
server_round_robin = 1
server_lifetime = ${options.freshSessions === true ? 0 : 3600}
`;
  const files = {
    "pgbouncer.ini": ini,
    users: users.map(([name, password]) => `"${name}" "${password.replaceAll('"', '""')}"\n`).join(""),
  };
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder.data, name);
    writeFileSync(path, text, { mode: 0o600 });
    giveToServer(path);
  }
}

function handle(folder: ServerFolder, port: number): Pgbouncer {
  return {
    port,
    url: (user, database) => `postgres://${user}@127.0.0.1:${port}/${database}`,
    get log() {
      return readLog(folder);
    },
    stop: () => folder.remove(),
  };
}

function readLog(folder: ServerFolder): string {
  return readFileSync(folder.log, "utf8");
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
