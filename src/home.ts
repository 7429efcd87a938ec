import { existsSync } from "node:fs";
import { toFault } from "./adapters/errno.js";
import { fileCredentialStore } from "./adapters/file-credential-store.js";
import { fileStatusSink } from "./adapters/file-status-sink.js";
import { watchFile } from "./adapters/file-watch.js";
import { findPlace } from "./adapters/place.js";
import { describeSelf, lifeOf } from "./adapters/process-identity.js";
import { ticketLook } from "./adapters/ticket-look.js";
import type { Told } from "./cli/loop.js";
import { type Settings, VERSION } from "./cli/options.js";
import type { Pacer } from "./cli/pacer.js";
import { guardProcess, type Signals } from "./cli/signals.js";
import { decide, type RefreshPolicy } from "./core/decide.js";
import { alarmOf, type EventNotice, eventOf } from "./core/event.js";
import { describeFault } from "./core/fault.js";
import { type CycleOutcome, levelOf, type Report, reportOutcome } from "./core/outcome.js";
import { isWorthSaying, type Said } from "./core/quiet.js";
import { nextCheckMs } from "./core/schedule.js";
import { shownUrl } from "./core/shown-url.js";
import { buildStatus, type LastStatus, readStatus, type Status } from "./core/status.js";
import type { Holder } from "./core/ticket.js";
import { type CycleResult, runCycle, setAsideOf } from "./cycle.js";
import type { Fleet } from "./fleet.js";
import type { Clock, CredentialStore, Log, LookPorts, RefreshPorts, StatusSink, TokenEndpoint } from "./ports.js";
import { hasAnswer } from "./reading.js";

/** A whole request, and its connection, fits into this: a waiting process sees the outcome, milliseconds. */
const LOCK_WAIT_MS = 75_000;

/** Another host may keep everybody waiting for an hour: look now and then instead, milliseconds. */
const FLEET_WAIT_MS = 20_000;

/** What all homes of one process share. */
export interface Company {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly logFor: (codexHome: string) => Log;
  readonly pacer: Pacer;
  readonly signals: Pick<Signals, "stop">;
  /** This process, where it loops; null for `--once`. */
  readonly daemon: Holder | null;
  /** Told of each status; null when nobody watches. */
  readonly observe: ((codexHome: string, status: Status) => void) | null;
}

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

/** One home, and what this process remembers of it from one cycle to the next. */
export class Home {
  readonly codexHome: string;
  readonly store: CredentialStore;
  /** What this home's times go by. */
  readonly clock: Clock;
  readonly watch: HomePorts["watch"];
  readonly #company: Company;
  readonly #ports: HomePorts;
  readonly #policy: RefreshPolicy;
  /** For the first cycle only: a loop that always forced would spend a token each time. */
  #isForced: boolean;
  #isFirst = true;
  #said: Said | null = null;
  #status: Status | null = null;
  /** The last status, where it could not be written: an alarm must not be raised anew with each cycle. */
  #unwritten: LastStatus | null = null;

  constructor(codexHome: string, company: Company, ports: HomePorts = filePorts(codexHome, company)) {
    const { settings, daemon } = company;
    this.codexHome = codexHome;
    this.store = ports.store;
    this.clock = ports.clock;
    this.watch = ports.watch;
    this.#company = company;
    this.#ports = ports;
    this.#policy = { ...settings, jitter: daemon === null ? 0 : ports.random() };
    this.#isForced = settings.isForced;
  }

  /** Runs one cycle, and tells its outcome to log, status, observer and hook. */
  async cycle(): Promise<Told> {
    const { settings, pacer, signals } = this.#company;
    let leave = (): void => undefined;
    const openPorts = async (): Promise<RefreshPorts> => {
      leave = await pacer.enter(signals.stop);
      return await this.#ports.openRefreshPorts();
    };
    const cycleSettings = {
      policy: this.#policy,
      isOwner: settings.isOwner,
      isForced: this.#isForced,
      minRefreshIntervalMs: settings.minRefreshIntervalSec * 1000,
      readHistory: () => this.#readLast()?.history ?? null,
      lockWaitMs: this.#ports.lockWaitMs,
      get stop() {
        return signals.stop;
      },
    };
    this.#isForced = false;
    const result = await runCycle(this.#ports, openPorts, cycleSettings)
      .catch((error: unknown) => this.#refusedByMachine(error))
      .finally(() => leave());
    return await this.#tell(result);
  }

  /** Says in the status that no loop looks after this home any more. */
  leave(): void {
    if (this.#status !== null) this.#write({ ...this.#status, daemon: null, next_check_at: null });
  }

  /**
   * What a machine refuses where nobody looked for it: too many open files while code is loaded, for instance. The
   * tickets keep what was in work, so that the next cycle goes on; what is no refusal is a bug, and is thrown on.
   */
  async #refusedByMachine(error: unknown): Promise<CycleResult> {
    const fault = toFault(error, "finish the cycle in", this.codexHome);
    const listing = await this.#ports.tickets.list();
    const outcome = hasAnswer(listing)
      ? ({ kind: "unsaved", problem: describeFault(fault) } as const)
      : ({ kind: "blocked", fault } as const);
    return { outcome, history: null, setAside: setAsideOf(listing), reading: await this.store.read() };
  }

  #readLast(): LastStatus | null {
    return this.#unwritten ?? this.#ports.sink.read();
  }

  async #tell({ outcome, history, setAside, reading }: CycleResult): Promise<Told> {
    const { settings } = this.#company;
    const nowMs = this.clock.nowMs();
    const last = this.#readLast();
    const report = reportOutcome(outcome, this.store.location);
    const failureCount = report.exitCode >= 2 ? (last?.failureCount ?? 0) + 1 : 0;
    const credential = reading.kind === "login" ? reading.credential : null;
    const dueAtMs = credential === null ? null : decide(credential, nowMs, this.#policy).dueAtMs;
    const expiresAtMs = credential?.accessClaims.expiresAtMs ?? null;
    const [{ intervalSec }, jitter] = [settings, this.#ports.random()];
    const nextCheckAtMs = nextCheckMs({ outcome, dueAtMs, expiresAtMs, failureCount, intervalSec, nowMs, jitter });
    this.#say(report, nowMs);

    const name = eventOf(report, alarmOf(last?.event ?? null));
    const isDelivered = settings.onEvent === null; // To nobody.
    const news = name === null ? null : { name, atMs: nowMs, isDelivered };
    this.#status = buildStatus({
      report,
      reading,
      dueAtMs,
      failureCount,
      nowMs,
      history: history ?? last?.history ?? null,
      version: VERSION,
      setAside,
      ...loopOf(this.#company, last, nextCheckAtMs),
      event: news ?? last?.event ?? null,
      follows: null,
    });
    this.#write(this.#status, outcome);
    const missed = this.#isFirst && last?.event?.isDelivered === false ? last.event : null;
    this.#isFirst = false;
    for (const event of [missed, news]) {
      if (event !== null && settings.onEvent !== null) await this.#deliver(settings.onEvent, event, report);
    }
    return { exitCode: report.exitCode, nextCheckAtMs };
  }

  /** Puts a report into the log, unless it is what was said last. */
  #say(report: Report, nowMs: number): void {
    const now = { reason: `${report.word} ${report.reason}`, atMs: nowMs };
    const level = levelOf(report);
    const isNews = isWorthSaying(this.#said, now, level !== "info");
    this.#ports.log.write(isNews ? level : "debug", report.reason, report.line);
    if (isNews) this.#said = now;
  }

  #write(status: Status, outcome?: CycleOutcome): void {
    const fault = this.#ports.sink.write(status);
    this.#unwritten = fault === null ? null : readStatus(JSON.stringify(status));
    const isToldAlready = outcome?.kind === "blocked" && outcome.fault.kind === fault?.kind;
    if (fault !== null && !isToldAlready) {
      this.#ports.log.write("warn", "status_not_written", `status: ${describeFault(fault)}`);
    }
    this.#company.observe?.(this.codexHome, status);
  }

  async #deliver(program: string, event: EventNotice, { state, reason, line, action }: Report): Promise<void> {
    const { runHook } = await import("./adapters/event-hook.js");
    const at = new Date(event.atMs).toISOString();
    const [codex_home, operator_action] = [this.codexHome, action];
    const problem = await runHook(program, {
      event: event.name,
      at,
      codex_home,
      state,
      reason,
      message: line,
      operator_action,
    });
    if (problem !== null) {
      const line = `event: ${program} ${event.name} ${problem}; it is sent again at the next start`;
      this.#ports.log.write("warn", "event_not_delivered", line);
      return;
    }
    this.#ports.log.write("debug", "event_delivered", `event: ${program} ${event.name} has ended well`);
    const told = this.#status?.event;
    if (this.#status === null || told?.at !== at) return; // A later one stands in the status by now.
    this.#status = { ...this.#status, event: { ...told, is_delivered: true } };
    this.#write(this.#status);
  }
}

/** What the status says of the loop: this process, or another one that is at it while `--once` runs. */
function loopOf(
  { daemon }: Company,
  last: LastStatus | null,
  nextCheckAtMs: number,
): { readonly daemon: Holder | null; readonly nextCheckAtMs: number | null } {
  if (daemon !== null) return { daemon, nextCheckAtMs };
  const isElsewhere = last?.daemon != null && ["alive", "unknown"].includes(lifeOf(last.daemon, describeSelf()));
  return isElsewhere
    ? { daemon: last.daemon, nextCheckAtMs: last.nextCheckAtMs }
    : { daemon: null, nextCheckAtMs: null };
}

/** The doors of a home that lies in a directory. */
function filePorts(codexHome: string, { clock, settings, logFor }: Company): HomePorts {
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
