import { existsSync } from "node:fs";
import { fileCredentialStore } from "./adapters/file-credential-store.js";
import { fileStatusSink } from "./adapters/file-status-sink.js";
import { watchFile } from "./adapters/file-watch.js";
import { findPlace } from "./adapters/place.js";
import { ticketLook } from "./adapters/ticket-look.js";
import type { Settings } from "./cli/options.js";
import { guardProcess } from "./cli/signals.js";
import { shownUrl } from "./core/shown-url.js";
import type { Fleet } from "./fleet.js";
import type { Company } from "./home.js";
import type { Clock, LookPorts, RefreshPorts, StatusSink, TokenEndpoint } from "./ports.js";

/** A whole request, and its connection, fits into this: a waiting process sees the outcome, milliseconds. */
const LOCK_WAIT_MS = 75_000;

/** Another host may keep everybody waiting for an hour: look now and then instead, milliseconds. */
const FLEET_WAIT_MS = 20_000;

/** The doors of one home. */
export interface HomePorts extends LookPorts {
  readonly sink: StatusSink;
  /** Loads what only a refresh needs. */
  readonly openRefreshPorts: () => Promise<RefreshPorts>;
  /** A number from 0 up to 1, another one each time. */
  readonly random: () => number;
  /** Calls back when the login may have changed, as far as anybody tells; the result ends it. */
  readonly watch: (onEvent: () => void) => () => void;
  /** How long to wait for another process that is at work on this login, milliseconds. */
  readonly lockWaitMs: number;
}

/** The doors of a home that lies in a directory. */
export function filePorts(codexHome: string, { clock, settings, logFor }: Company): HomePorts {
  const store = fileCredentialStore(codexHome);
  const tickets = ticketLook(store.location, clock);
  const ports = { clock, store, tickets, ...lockGlance(store.location, clock), log: logFor(codexHome) };
  return {
    ...ports,
    sink: fileStatusSink(codexHome),
    openRefreshPorts: async () => await openRefreshPorts(ports, codexHome, settings),
    random: Math.random,
    watch: (onEvent) => watchFile(store.location, onEvent),
    lockWaitMs: LOCK_WAIT_MS,
  };
}

/** The lock, as it is seen from outside. */
function lockGlance(authJsonPath: string, clock: Clock): Pick<LookPorts, "isLocked" | "isHolderAlive"> {
  return {
    isLocked: () => existsSync(findPlace(authJsonPath).own("lock")),
    isHolderAlive: async () => {
      await guardProcess(); // From here on it waits, with a login in its memory.
      return (await import("./adapters/lock-holder.js")).isHolderAlive(findPlace(authJsonPath), clock.nowMs());
    },
  };
}

/** The doors of a login in PostgreSQL; in `codexHome` lie this host's lock, journal and status. */
export function fleetPorts(fleet: Fleet, codexHome: string, { settings, logFor }: Company): HomePorts {
  const { clock, store, tickets, watch, journalPath } = fleet;
  // Whoever waits for another host asks the database, under the lock.
  const ports = { clock, store, tickets, isLocked: () => false, isHolderAlive: () => false, log: logFor(codexHome) };
  return {
    ...ports,
    sink: fileStatusSink(codexHome),
    openRefreshPorts: async () => {
      const doors = await openDoors(ports, journalPath, settings);
      // No Codex refreshes what lies in a database.
      return { ...ports, ...doors, delegate: null, isCodexRunning: () => false };
    },
    random: Math.random,
    watch,
    lockWaitMs: FLEET_WAIT_MS,
  };
}

/** Loads what only a refresh needs. */
async function openRefreshPorts(ports: LookPorts, codexHome: string, settings: Settings): Promise<RefreshPorts> {
  const [{ isCodexRunning }, { fileTicketBook }, codex] = await Promise.all([
    import("./adapters/processes.js"),
    import("./adapters/file-ticket-book.js"),
    settings.codex === null ? null : import("./adapters/codex-app-server.js"),
  ]);
  // From here on the file itself: a symbolic link that is swapped must not part the tickets from it.
  const { file } = findPlace(ports.store.location);
  return {
    ...ports,
    store: fileCredentialStore(codexHome, file),
    tickets: fileTicketBook(file, ports.clock),
    ...(await openDoors(ports, file, settings)),
    delegate: settings.codex === null || codex === null ? null : codex.codexAppServer(settings.codex, codexHome, file),
    isCodexRunning: () => isCodexRunning(codexHome),
  };
}

/** Lock and endpoint: the same for a file and for a database. */
async function openDoors(
  { clock, log }: LookPorts,
  file: string,
  settings: Settings,
): Promise<Pick<RefreshPorts, "lock" | "endpoint">> {
  const guarded = guardProcess(); // It waits for Node's loop to come round: time in which code can be loaded.
  const { fileLock } = await import("./adapters/file-lock.js");
  await guarded;
  const onCompromised = (): void => {
    const line = "refresh: the lock was taken over by another process; the ticket still guards the token";
    log.write("warn", "lock_compromised", line);
  };
  return { lock: fileLock(file, clock, onCompromised), endpoint: lateEndpoint(settings.endpoint) };
}

/** Loads the HTTP client when a request is certain: of many processes that wait for one lock, one sends it. */
function lateEndpoint(settings: Settings["endpoint"]): TokenEndpoint {
  return {
    shownUrl: shownUrl(settings.url),
    present: async (request) => {
      const { httpTokenEndpoint } = await import("./adapters/http-token-endpoint.js");
      return await httpTokenEndpoint(settings).present(request);
    },
  };
}
