import {
  accessSync,
  constants,
  lstatSync,
  readFileSync,
  readlinkSync,
  type Stats,
  statfsSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { FileKind, HomeFacts, MachineFacts, OwnLockFacts } from "../core/doctor-facts.js";
import { daemonState } from "../core/health.js";
import { isLoopbackHost } from "../core/loopback.js";
import { readSettled } from "../reading.js";
import { errnoOf } from "./errno.js";
import { fileCredentialStore } from "./file-credential-store.js";
import { fileStatusSink } from "./file-status-sink.js";
import { fileTicketBook } from "./file-ticket-book.js";
import { describeHolder, readHolder, STALE_MS } from "./lock-holder.js";
import { isMountPoint, mountOf, readMounts } from "./mounts.js";
import { findPlace, type Place, realPath } from "./place.js";
import { describeSelf, lifeOf } from "./process-identity.js";
import { flockHolders, idOf, listCodexes, overridesIn, packageVersion, type RunningCodex, seen } from "./processes.js";
import { systemClock } from "./system-clock.js";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Looks at the machine and at every home: writes nothing, locks nothing, sends nothing, and throws for nothing that
 * it finds. What it may not see is missing from the facts.
 *
 * @param env as a watchdog would get it; of the variables that hold credentials only the names are kept
 * @param nowMs milliseconds since 1970
 */
export async function readHostFacts(
  codexHomes: readonly string[],
  env: Environment,
  nowMs: number,
): Promise<{ readonly machine: MachineFacts; readonly homes: readonly HomeFacts[] }> {
  const codexes = listCodexes();
  const homes = await Promise.all(codexHomes.map((codexHome) => readHome(codexHome, codexes, nowMs)));
  return { machine: readMachine(env), homes };
}

function readMachine(env: Environment): MachineFacts {
  const first = (...names: string[]): string | undefined => names.find((name) => (env[name] ?? "").trim() !== "");
  const endpoint = seen(() => new URL(env["CODEX_REFRESH_TOKEN_URL_OVERRIDE"] ?? ""));
  const proxies = [
    first("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    first("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
  ].filter((name) => name !== undefined);
  const caVariable = first("CODEX_CA_CERTIFICATE", "SSL_CERT_FILE");
  const caProblem = caVariable === undefined ? null : findCaProblem(env[caVariable] ?? "");
  const isDirect = endpoint !== null && isLoopbackHost(endpoint.hostname);
  return {
    uid: process.geteuid?.() ?? null,
    hasFlock: findProgram("flock", env) !== null,
    codex: readCodex(env),
    overrides: overridesIn(env),
    caProblem: caVariable === undefined || caProblem === null ? null : { variable: caVariable, problem: caProblem },
    brokenProxies: isDirect ? [] : [...new Set(proxies)].filter((name) => !isProxyUrl(env[name] ?? "")),
    endpointOrigin: endpoint?.origin ?? null,
  };
}

function findProgram(name: string, env: Environment): string | null {
  const paths = (env["PATH"] ?? "").split(":").map((directory) => join(directory, name));
  return paths.find(isProgram) ?? null;
}

function readCodex(env: Environment): MachineFacts["codex"] {
  const path = findProgram("codex", env);
  const version = path === null ? null : packageVersion(realPath(path));
  return path === null || version === null ? null : { path, version };
}

function isProgram(path: string): boolean {
  const isFile = (): boolean => {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  };
  return seen(isFile) === true;
}

/** What undici (7.30) takes for a proxy. */
function isProxyUrl(text: string): boolean {
  return /^(https?|socks5?):$/.test(seen(() => new URL(text))?.protocol ?? "");
}

/** What is wrong with a file of certificate authorities. Node passes over one without a certificate in silence. */
function findCaProblem(path: string): string | null {
  try {
    return readFileSync(path, "utf8").includes("-----BEGIN ") ? null : "a file without a certificate in it";
  } catch (error) {
    return errnoOf(error) === "ENOENT" ? "a file that is missing" : "a file that can't be read";
  }
}

async function readHome(codexHome: string, codexes: readonly RunningCodex[], nowMs: number): Promise<HomeFacts> {
  const store = fileCredentialStore(codexHome);
  const place = findPlace(store.location);
  const [directory, home] = [realPath(place.directory), realPath(codexHome)];
  const mounts = readMounts();
  const reading = await readSettled({ store, clock: systemClock });
  const listing = fileTicketBook(store.location, systemClock).list();
  const stats = seen(() => statSync(place.file));
  // It opens a file for writing, and writes nothing.
  const refusal = stats?.isFile() === true ? await store.preflight() : null;
  const homeId = idOf(codexHome);
  const last = fileStatusSink(codexHome).read();
  const daemonLife = last?.daemon == null ? null : lifeOf(last.daemon, describeSelf());
  return {
    codexHome,
    kind: homeKind(codexHome),
    parentUid: directory === home ? seen(() => statSync(dirname(home)).uid) : null,
    path: place.file,
    reading,
    storeSetting: await store.readCredentialsStoreSetting(),
    linkTarget: seen(() => readlinkSync(store.location)),
    file: stats && {
      ...ownedBy(place.file, stats),
      linkCount: stats.nlink,
      changedAtMs: stats.mtimeMs,
      isMountPoint: isMountPoint(place.file, mounts),
      id: `${idOf(directory)}/${basename(place.file)}`,
    },
    directory: seen(() => {
      const { bavail, bsize } = statfsSync(directory);
      const fileSystem = mountOf(directory, mounts)?.type ?? null;
      return { ...ownedBy(directory, statSync(directory)), fileSystem, freeBytes: bavail * bsize };
    }),
    faults: [refusal, listing.kind === "failed" ? listing.fault : null].filter((fault) => fault !== null),
    tickets: listing.kind === "tickets" ? listing.tickets : [],
    setAside: listing.kind === "tickets" ? listing.setAside : [],
    codexLocks: [...new Set([join(home, "auth.lock"), `${place.file}.lock`])].flatMap((path) => {
      const lock = seen(() => statSync(path));
      const device = mountOf(realPath(path), mounts)?.device ?? null;
      return lock === null ? [] : [{ ...ownedBy(path, lock), holders: flockHolders(path, device) }];
    }),
    ownLock: readOwnLock(place, nowMs),
    codexes: codexes.filter((codex) => homeId !== null && codex.homeId === homeId),
    loop: daemonState({ last, daemonLife }, nowMs),
    lookedAtMs: last?.ranAtMs ?? null,
    followed: last?.follows?.source ?? null,
  };
}

function homeKind(codexHome: string): HomeFacts["kind"] {
  try {
    return statSync(codexHome).isDirectory() ? "directory" : "not-a-directory";
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOTDIR") return "not-a-directory";
    return code === "ENOENT" ? "missing" : "directory"; // Out of reach: what the file's reading says.
  }
}

function readOwnLock(place: Place, nowMs: number): OwnLockFacts | null {
  const stats = seen(() => lstatSync(place.own("lock")));
  if (stats === null) return null;
  const [holder, self] = [readHolder(place), describeSelf()];
  const life = holder === null ? "unknown" : lifeOf(holder, self);
  const untouchedMs = Math.max(0, nowMs - stats.mtimeMs);
  return { holder: describeHolder(holder), life, isStale: untouchedMs > STALE_MS, untouchedMs };
}

function ownedBy(path: string, stats: Stats): { path: string; uid: number; mode: number; kind: FileKind } {
  const kind = stats.isDirectory() ? "directory" : stats.isFile() ? "file" : "other";
  return { path, uid: stats.uid, mode: stats.mode & 0o7777, kind };
}
