import { homedir } from "node:os";
import { fileCredentialStore } from "./adapters/file-credential-store.js";
import { fileStatusSink } from "./adapters/file-status-sink.js";
import { fileTicketBook } from "./adapters/file-ticket-book.js";
import { stderrLog } from "./adapters/stderr-log.js";
import { systemClock } from "./adapters/system-clock.js";
import { runLoop, type Told } from "./cli/loop.js";
import { parseArguments, type Settings, VERSION } from "./cli/options.js";
import { takeSignals } from "./cli/signals.js";
import { decide } from "./core/decide.js";
import { describeFault } from "./core/fault.js";
import { reportOutcome } from "./core/outcome.js";
import { nextCheckMs } from "./core/schedule.js";
import { buildStatus } from "./core/status.js";
import { type CycleResult, runCycle } from "./cycle.js";
import type { LookPorts, RefreshPorts, StatusSink } from "./ports.js";

/** A whole request, and its connection, fits into this: a waiting process sees the outcome, milliseconds. */
const LOCK_WAIT_MS = 75_000;

/** Runs the program; the only place that reads the arguments and the environment. */
async function main(): Promise<void> {
  const parsed = await parseArguments(process.argv.slice(2), process.env, homedir());
  if (parsed.kind === "run") return await run(parsed.settings);
  if (parsed.kind === "show") return void process.stdout.write(parsed.text);
  process.stderr.write(`codex-auth-watchdog: ${parsed.message}\nTry codex-auth-watchdog --help\n`);
  process.exitCode = 64; // EX_USAGE of sysexits(3)
}

async function run(settings: Settings): Promise<void> {
  const signals = takeSignals();
  const store = fileCredentialStore(settings.codexHome);
  const clock = systemClock;
  const tickets = fileTicketBook(store.location, clock);
  const ports: LookPorts = { clock, store, tickets, log: stderrLog(clock) };
  const sink = fileStatusSink(settings.codexHome);
  let isForced = settings.isForced; // For the first cycle only: a loop that always forced would spend a token each time.
  const cycle = async (): Promise<Told> => {
    const cycleSettings = { policy: settings, isForced, lockWaitMs: LOCK_WAIT_MS, stop: signals.stop };
    isForced = false;
    const result = await runCycle(ports, () => openRefreshPorts(ports, settings), cycleSettings);
    return tell(ports, sink, result, settings);
  };
  if (settings.isOnce) {
    process.exitCode = (await cycle()).exitCode;
    return;
  }
  ports.log.line(
    `watchdog: starting (interval=${settings.intervalSec}s safety_margin=${settings.safetyMarginSec}s stale_after=${settings.staleAfterSec}s codex_home=${settings.codexHome})`,
  );
  await runLoop({ clock, changeMark: store.changeMark, cycle }, signals);
  ports.log.line("watchdog: stopped");
}

/** Loads what only a refresh needs: the lock library and the HTTP client. */
async function openRefreshPorts(ports: LookPorts, settings: Settings): Promise<RefreshPorts> {
  const [{ fileLock }, { httpTokenEndpoint }] = await Promise.all([
    import("./adapters/file-lock.js"),
    import("./adapters/http-token-endpoint.js"),
  ]);
  return {
    ...ports,
    lock: fileLock(ports.store.location, ports.clock, () =>
      ports.log.line("refresh: the lock was taken over by another process; the ticket still guards the token"),
    ),
    endpoint: httpTokenEndpoint(settings.endpoint),
  };
}

/** Tells an outcome to the log and to the status. */
function tell(ports: LookPorts, sink: StatusSink, result: CycleResult, settings: Settings): Told {
  const { outcome, reading } = result;
  const nowMs = ports.clock.nowMs();
  const report = reportOutcome(outcome, ports.store.location);
  const failureCount = report.exitCode >= 2 ? sink.readFailureCount() + 1 : 0;
  const dueAtMs = reading.kind === "login" ? decide(reading.credential, nowMs, settings).dueAtMs : null;
  const { intervalSec } = settings;
  const nextMs = nextCheckMs({ outcome, dueAtMs, failureCount, intervalSec, nowMs, jitter: Math.random() });
  ports.log.line(report.line);
  const nextCheckAtMs = settings.isOnce ? null : nextMs;
  const status = buildStatus({ report, reading, dueAtMs, nextCheckAtMs, failureCount, nowMs, version: VERSION });
  const fault = sink.write(status);
  const isToldAlready = outcome.kind === "blocked" && outcome.fault.kind === fault?.kind;
  if (fault !== null && !isToldAlready) ports.log.line(`status: ${describeFault(fault)}`);
  return { exitCode: report.exitCode, nextCheckAtMs: nextMs };
}

/**
 * The last word on an error that nobody expected. Its message may quote a file or an answer, and so a token:
 * only its name, its code and the places in our own code are printed.
 */
function reportBug(error: unknown): never {
  const { name, code, stack } = Object(error) as { name?: unknown; code?: unknown; stack?: unknown };
  // Only what looks like a frame, a name, a code: any of them could hold text that came from elsewhere.
  const frames = String(stack)
    .split("\n")
    .filter((line) => /^ {4}at (?:[\w.<># [\]]{1,80} \()?(?:file:|node:)[^\s?#]+:\d+:\d+\)?$/.test(line));
  const words = [name, code].filter((word) => typeof word === "string" && /^[A-Z][A-Za-z0-9_]{0,40}$/.test(word));
  const what = `codex-auth-watchdog: a bug: ${words.join(" ")}; please report it with these lines`;
  process.stderr.write([what, ...frames.slice(0, 8), ""].join("\n"));
  process.exit(70); // EX_SOFTWARE of sysexits(3)
}

process.on("uncaughtException", reportBug);
main().catch(reportBug);
