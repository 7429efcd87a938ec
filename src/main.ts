import { setMaxListeners } from "node:events";
import { missingBundle } from "./adapters/errno.js";
import { findSameHomes } from "./adapters/place.js";
import { describeSelf } from "./adapters/process-identity.js";
import { stderrLog } from "./adapters/stderr-log.js";
import { systemClock } from "./adapters/system-clock.js";
import type { Question } from "./cli/ask.js";
import { runLoop, type Told } from "./cli/loop.js";
import { parseArguments, type Settings } from "./cli/options.js";
import { Pacer } from "./cli/pacer.js";
import { guardProcess, type Signals, takeSignals } from "./cli/signals.js";
import { worstExitCode } from "./core/outcome.js";
import { fleetPorts } from "./doors.js";
import type { Fleet } from "./fleet.js";
import { type Company, Home } from "./home.js";
import type { Clock, Log } from "./ports.js";

/** Runs the program; the only place that reads the arguments and the environment. */
async function main(): Promise<void> {
  // What homedir() itself looks at first; Node loads that module for whoever has no HOME.
  const home = process.env["HOME"] || process.getBuiltinModule("node:os").homedir();
  const parsed = await parseArguments(process.argv.slice(2), process.env, home);
  // The settings hold them by now, and what is started from here on (event hooks, Codex, flock) inherits the environment.
  for (const name of SECRET_VARIABLES) delete process.env[name];
  switch (parsed.kind) {
    case "show":
      process.stdout.write(parsed.text);
      return;
    case "usage-error":
      return end({ exitCode: 64, message: parsed.message }); // EX_USAGE of sysexits(3)
    case "run":
      return await obey(parsed.command, parsed.settings);
  }
}

function end({ exitCode, message }: { readonly exitCode: number; readonly message?: string }): void {
  if (message !== undefined) process.stderr.write(usageLine(message));
  process.exitCode = exitCode;
}

function usageLine(message: string): string {
  return `codex-auth-watchdog: ${message}\nTry codex-auth-watchdog --help\n`;
}

/** Where a secret of ours may stand. */
const SECRET_VARIABLES = [
  "CODEX_AUTH_JSON",
  "CODEX_AUTH_OWNER_KEY",
  "CODEX_AUTH_FOLLOWER_KEY",
  "CODEX_AUTH_FOLLOW_BEARER",
  "CODEX_AUTH_STORE",
  "PGPASSWORD",
];

async function obey(command: Parsed["command"], settings: Settings): Promise<void> {
  switch (command) {
    case "run":
      return await run(settings);
    case "status":
    case "check":
    case "wait":
    case "doctor":
      return await ask(command, settings);
    case "follow":
      return end(await (await import("./cli/follow.js")).follow(settings));
    default:
      return await (await import("./cli/store.js")).keepStore(command, settings, isTerminal());
  }
}

/** Looks after the homes: once, or until told to stop. */
async function run(settings: Settings): Promise<void> {
  const signals = takeSignals();
  const clock = systemClock;
  const { homes: codexHomes, doubles } = findSameHomes(settings.codexHomes);
  const logFor = (codexHome: string | null): Log =>
    stderrLog(clock, {
      format: settings.logFormat,
      level: settings.logLevel,
      codexHome: codexHomes.length > 1 ? codexHome : null,
    });
  const log = logFor(null);
  for (const [double, first] of doubles) {
    log.write("warn", "same_home", `${double} is the same login as ${first}; it is looked after once`);
  }
  const telemetry = isObserved(settings)
    ? (await import("./cli/telemetry.js")).openTelemetry(settings, clock, log)
    : null;
  const company: Company = {
    settings,
    clock,
    logFor,
    pacer: new Pacer(clock),
    signals,
    daemon: settings.isOnce ? null : describeSelf(),
    observe: telemetry?.observe ?? null,
  };
  await bootstrapHome(settings, clock, log);
  const fleet = await openFleet(settings, clock);
  if (fleet !== null && "message" in fleet) return end({ exitCode: 64, message: fleet.message });
  const homes = codexHomes.map(
    (codexHome) => new Home(codexHome, company, fleet === null ? undefined : fleetPorts(fleet, codexHome, company)),
  );
  if (settings.isOnce) {
    const told = await Promise.all(homes.map((home) => contained(home, homes.length > 1)()));
    process.exitCode = worstExitCode(told.map(({ exitCode }) => exitCode));
  } else {
    await guardProcess();
    const { intervalSec, safetyMarginSec, staleAfterSec } = settings;
    log.write(
      "info",
      "starting",
      `watchdog: starting (interval=${intervalSec}s safety_margin=${safetyMarginSec}s stale_after=${staleAfterSec}s codex_home=${codexHomes.join(",")})`,
    );
    await telemetry?.listen();
    const tick = telemetry?.tick ?? null;
    setMaxListeners(0, signals.stop);
    const tidyUp = (await import("./adapters/heap.js")).keepSmall();
    await Promise.all(
      homes.map((home) => {
        const cycle = contained(home, homes.length > 1);
        return loop(home, async () => await cycle().finally(tidyUp), signals, tick);
      }),
    );
    for (const home of homes) home.leave();
    log.write("info", "stopped", "watchdog: stopped");
  }
  await telemetry?.close();
  await fleet?.close();
}

/** Makes auth.json from the environment, where that is asked for and there is none. */
async function bootstrapHome(settings: Settings, clock: Clock, log: Log): Promise<void> {
  const { bootstrapText, fleet, isOwner, codexHomes } = settings;
  const [codexHome = ""] = codexHomes;
  if (bootstrapText === null) return;
  if (fleet !== null || !isOwner) {
    // A host that only watches gets no refresh token: its Codex would use it.
    const why = fleet !== null ? "the login is in the store" : "this process only watches (CODEX_AUTH_REFRESH_OWNER=0)";
    log.write("info", "bootstrap_unused", `bootstrap: CODEX_AUTH_JSON is not used: ${why}`);
    return;
  }
  await (await import("./bootstrap.js")).bootstrap(codexHome, bootstrapText, clock, log);
}

/** The login in PostgreSQL, where it is to be looked after; null for one in a file. */
async function openFleet(settings: Settings, clock: Clock): Promise<Fleet | { readonly message: string } | null> {
  const [codexHome = ""] = settings.codexHomes;
  if (settings.fleet === null) return null;
  const opened = await (await import("./fleet.js")).openFleet(settings.fleet, codexHome, clock);
  if (opened.kind !== "opened") return opened;
  // Or the first cycle's own look would count as news.
  if (!settings.isOnce) await opened.fleet.store.read();
  return opened.fleet;
}

function isObserved({ http, metricsFile }: Settings): boolean {
  return http !== null || metricsFile !== null;
}

async function loop(
  home: Home,
  cycle: () => Promise<Told>,
  signals: Signals,
  tick: ((codexHome: string) => void) | null,
): Promise<void> {
  const onTick = (): void => tick?.(home.codexHome);
  const { clock, watch, store } = home;
  await runLoop({ clock, changeMark: store.changeMark, watch, cycle, onTick }, signals);
}

/** After a bug in one of several homes the others go on, and this one is looked at again, milliseconds. */
const AFTER_BUG_MS = 3_600_000;

/** A cycle whose bug stays its own where other homes may be in the middle of a refresh. */
function contained(home: Home, hasOthers: boolean): () => Promise<Told> {
  return async () => {
    try {
      return await home.cycle();
    } catch (error) {
      if (!hasOthers) throw error;
      process.stderr.write(describeBug(error));
      return { exitCode: 70, nextCheckAtMs: systemClock.nowMs() + AFTER_BUG_MS };
    }
  };
}

/** Answers a question about the homes; nothing is sent or written. */
async function ask(command: Question, settings: Settings): Promise<void> {
  const { answer } = await import("./cli/ask.js");
  const circumstances = { clock: systemClock, env: process.env, isTerminal: isTerminal() };
  const { text, exitCode } = await answer(command, settings, circumstances);
  process.stdout.write(text);
  process.exitCode = exitCode;
}

/** Whether a person reads standard output on a terminal that shows colours. */
function isTerminal(): boolean {
  return process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "";
}

type Parsed = Extract<Awaited<ReturnType<typeof parseArguments>>, { kind: "run" }>;

/**
 * The last word on an error that nobody expected. Its message may quote a file or an answer, and so a token:
 * only its name, its code and the places in our own code are printed.
 */
function describeBug(error: unknown): string {
  const bundle = missingBundle(error);
  if (bundle !== null) {
    return `codex-auth-watchdog: cannot load ${bundle} (ENOENT): build it, or install it again\n`;
  }
  const { name, code, stack } = Object(error) as { name?: unknown; code?: unknown; stack?: unknown };
  // Only what looks like a frame, a name, a code: any of them could hold text that came from elsewhere.
  const frames = String(stack)
    .split("\n")
    .filter((line) =>
      /^ {4}at (?:[\w.<># [\]]{1,80} \()?(?:codex-auth-watchdog\/|node:)[^\s?#]+:\d+:\d+\)?$/.test(line),
    );
  const words = [name, code].filter((word) => typeof word === "string" && /^[A-Z][A-Za-z0-9_]{0,40}$/.test(word));
  const what = `codex-auth-watchdog: a bug: ${words.join(" ")}; please report it with these lines`;
  return [what, ...frames.slice(0, 8), ""].join("\n");
}

function reportBug(error: unknown): never {
  process.stderr.write(describeBug(error));
  process.exit(70); // EX_SOFTWARE of sysexits(3)
}

process.on("uncaughtException", reportBug);
main().catch(reportBug);
