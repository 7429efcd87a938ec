import { homedir } from "node:os";
import { FileCredentialStore } from "./adapters/file-credential-store.js";
import { FileStatusSink } from "./adapters/file-status-sink.js";
import { FileTicketBook } from "./adapters/file-ticket-book.js";
import { stderrLog } from "./adapters/stderr-log.js";
import { systemClock } from "./adapters/system-clock.js";
import { runLoop } from "./cli/loop.js";
import { parseArguments, type Settings, VERSION } from "./cli/options.js";
import { type Signals, takeSignals } from "./cli/signals.js";
import { describeFault } from "./core/fault.js";
import { reportOutcome } from "./core/outcome.js";
import { nextCheckMs } from "./core/schedule.js";
import { buildStatus } from "./core/status.js";
import { type CycleResult, runCycle } from "./cycle.js";
import type { LookPorts, RefreshPorts, StatusSink } from "./ports.js";

/** A whole request, and its connection, fits into this: a waiting process sees the outcome, milliseconds. */
const LOCK_WAIT_MS = 75_000;

const EXIT_USAGE = 64;
const EXIT_BUG = 70;

/** Runs the program; the only place that reads the arguments and the environment. */
async function main(): Promise<void> {
  const parsed = parseArguments(process.argv.slice(2), process.env, homedir());
  switch (parsed.kind) {
    case "show":
      process.stdout.write(parsed.text);
      return;
    case "usage-error":
      process.stderr.write(`codex-auth-watchdog: ${parsed.message}\nTry codex-auth-watchdog --help\n`);
      process.exitCode = EXIT_USAGE;
      return;
    case "run":
      await run(parsed.settings);
  }
}

async function run(settings: Settings): Promise<void> {
  const signals = takeSignals();
  const store = new FileCredentialStore(settings.codexHome);
  const ports: LookPorts = {
    clock: systemClock,
    store,
    tickets: new FileTicketBook(store.location, systemClock),
    log: stderrLog(systemClock),
  };
  const sink = new FileStatusSink(settings.codexHome);
  if (settings.isOnce) {
    const result = await cycle(ports, settings, signals, settings.isForced);
    await publish(ports, sink, result, () => null);
    process.exitCode = reportOutcome(result.outcome, store.location).exitCode;
    return;
  }
  const { intervalSec, safetyMarginSec, staleAfterSec } = settings;
  ports.log.line(
    `watchdog: starting (interval=${intervalSec}s safety_margin=${safetyMarginSec}s stale_after=${staleAfterSec}s codex_home=${settings.codexHome})`,
  );
  let isForced = settings.isForced; // For the first cycle only: a loop that always forced would spend a token each time.
  await runLoop(
    {
      clock: ports.clock,
      changeMark: () => store.changeMark(),
      cycle: async () => {
        const result = await cycle(ports, settings, signals, isForced);
        isForced = false;
        return await publish(ports, sink, result, (failureCount) =>
          nextCheckMs({
            outcome: result.outcome,
            dueAtMs: result.view.dueAtMs,
            failureCount,
            intervalSec,
            nowMs: ports.clock.nowMs(),
            jitter: Math.random(),
          }),
        );
      },
    },
    signals,
  );
  ports.log.line("watchdog: stopped");
}

async function cycle(ports: LookPorts, settings: Settings, signals: Signals, isForced: boolean): Promise<CycleResult> {
  const { safetyMarginSec, staleAfterSec } = settings;
  return await runCycle(
    ports,
    () => openRefreshPorts(ports, settings),
    { policy: { safetyMarginSec, staleAfterSec }, isForced, lockWaitMs: LOCK_WAIT_MS },
    signals.stop,
  );
}

/** Loads what only a refresh needs: the lock library and the HTTP client. */
async function openRefreshPorts(ports: LookPorts, settings: Settings): Promise<RefreshPorts> {
  const [{ FileLock }, { HttpTokenEndpoint }] = await Promise.all([
    import("./adapters/file-lock.js"),
    import("./adapters/http-token-endpoint.js"),
  ]);
  return {
    ...ports,
    lock: new FileLock(ports.store.location, ports.clock, () =>
      ports.log.line("refresh: the lock was taken over by another process; the ticket still guards the token"),
    ),
    endpoint: new HttpTokenEndpoint(settings.endpoint),
  };
}

/** Tells an outcome to the log and to the status. Returns what `schedule` says for the next look. */
async function publish<Next extends number | null>(
  ports: LookPorts,
  sink: StatusSink,
  { outcome, view }: CycleResult,
  schedule: (failureCount: number) => Next,
): Promise<Next> {
  const report = reportOutcome(outcome, ports.store.location);
  const failureCount = report.exitCode >= 2 ? sink.readFailureCount() + 1 : 0;
  const nextCheckAtMs = schedule(failureCount);
  ports.log.line(report.line);
  const nowMs = ports.clock.nowMs();
  const fault = await sink.write(buildStatus({ report, view, failureCount, nextCheckAtMs, nowMs, version: VERSION }));
  if (fault !== null) ports.log.line(`status: ${describeFault(fault)}`);
  return nextCheckAtMs;
}

/**
 * The last word on an error that nobody expected. Its message may quote a file or an answer, and so a token:
 * only its name, its code and the places in our own code are printed.
 */
function reportBug(error: unknown): void {
  const name = error instanceof Error ? error.name : typeof error;
  const code = error instanceof Error && "code" in error ? ` ${String(error.code).slice(0, 40)}` : "";
  const frames = error instanceof Error ? (error.stack ?? "").split("\n").filter((line) => /^ {4}at /.test(line)) : [];
  process.stderr.write(
    [`codex-auth-watchdog: a bug: ${name}${code}; please report it with these lines`, ...frames.slice(0, 8), ""].join(
      "\n",
    ),
  );
  process.exitCode = EXIT_BUG;
}

process.on("uncaughtException", (error) => {
  reportBug(error);
  process.exit(EXIT_BUG);
});
process.on("unhandledRejection", (error) => {
  reportBug(error);
  process.exit(EXIT_BUG);
});

main().catch(reportBug);
