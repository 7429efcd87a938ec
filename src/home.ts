import { toFault } from "./adapters/errno.js";
import { describeSelf, lifeOf } from "./adapters/process-identity.js";
import type { Told } from "./cli/loop.js";
import { type Settings, VERSION } from "./cli/options.js";
import type { Pacer } from "./cli/pacer.js";
import type { Signals } from "./cli/signals.js";
import { decide, type RefreshPolicy } from "./core/decide.js";
import { alarmOf, type EventNotice, eventOf } from "./core/event.js";
import { describeFault } from "./core/fault.js";
import { type CycleOutcome, levelOf, type Report, reportOutcome } from "./core/outcome.js";
import { isWorthSaying, type Said } from "./core/quiet.js";
import { nextCheckMs } from "./core/schedule.js";
import { buildStatus, type LastStatus, readStatus, type Status } from "./core/status.js";
import type { Holder } from "./core/ticket.js";
import { type CycleResult, runCycle, setAsideOf } from "./cycle.js";
import { filePorts, type HomePorts } from "./doors.js";
import type { Clock, CredentialStore, Log, RefreshPorts } from "./ports.js";
import { hasAnswer } from "./reading.js";

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
