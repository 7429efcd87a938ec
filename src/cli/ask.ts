import { fileCredentialStore } from "../adapters/file-credential-store.js";
import { fileStatusSink } from "../adapters/file-status-sink.js";
import { fileTicketBook } from "../adapters/file-ticket-book.js";
import { watchFile } from "../adapters/file-watch.js";
import { assessHealth, isReadyForCodex } from "../core/health.js";
import { reportOutcome, worstExitCode } from "../core/outcome.js";
import { forecast } from "../forecast.js";
import type { Clock } from "../ports.js";
import type { CommandName } from "./option-table.js";
import { type Settings, VERSION } from "./options.js";
import { isContent, renderStatus, reportHome, statusJson } from "./show-status.js";
import { viewHome } from "./view.js";

/** The commands that only look. */
export type Question = Extract<CommandName, "status" | "check" | "wait" | "doctor">;

/** What a question is answered with. */
export interface Answer {
  /** For standard output, with its newline. */
  readonly text: string;
  readonly exitCode: number;
}

/** Who asks, and from where. */
interface Circumstances {
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether a person reads the answer on a terminal that shows colours. */
  readonly isTerminal: boolean;
}

/** Answers a command that only looks. Nothing is sent, and nothing is written. */
export async function answer(command: Question, settings: Settings, circumstances: Circumstances): Promise<Answer> {
  switch (command) {
    case "status":
      return await tellStatus(settings, circumstances);
    case "check":
      return await tellForecast(settings, circumstances);
    case "wait":
      return await waitForHealth(settings, circumstances);
    case "doctor":
      return await examine(settings, circumstances);
  }
}

async function tellStatus(settings: Settings, { clock, isTerminal }: Circumstances): Promise<Answer> {
  const views = await Promise.all(settings.codexHomes.map((codexHome) => viewHome(codexHome, clock)));
  const reports = views.map((view) => reportHome(view, settings, clock.nowMs()));
  const exitCode = settings.isExitCode && !reports.every(isContent) ? 1 : 0;
  const text = settings.isJson
    ? toJson({ homes: reports.map(statusJson) })
    : reports.map((report) => renderStatus(report, isTerminal)).join("\n");
  return { text, exitCode };
}

/** Every home as it was named: two names for one login are a finding. */
async function examine({ codexHomes, isJson }: Settings, { clock, env, isTerminal }: Circumstances): Promise<Answer> {
  const { doctor } = await import("./doctor.js");
  return await doctor({ codexHomes, isJson, env, nowMs: clock.nowMs(), isTerminal });
}

/** The exit code is the one that `--once` would end with if the server agreed. */
async function tellForecast(settings: Settings, { clock }: Circumstances): Promise<Answer> {
  const found = await Promise.all(
    settings.codexHomes.map(async (codexHome) => {
      const store = fileCredentialStore(codexHome);
      const tickets = fileTicketBook(store.location, clock);
      const ports = { clock, store, tickets, log: { write: () => undefined } };
      const history = fileStatusSink(codexHome).read()?.history ?? null;
      const minRefreshIntervalMs = settings.minRefreshIntervalSec * 1000;
      const seen = await forecast(ports, { ...settings, policy: settings, minRefreshIntervalMs, history });
      return { codexHome, ...describeForecast(seen, store.location) };
    }),
  );
  const text = settings.isJson
    ? toJson({
        homes: found.map(({ codexHome, decision, reason, line, action, exitCode }) => ({
          codex_home: codexHome,
          decision,
          reason,
          message: line,
          operator_action: action,
          exit_code: exitCode,
        })),
      })
    : found.map(({ line }) => `${line}\n`).join("");
  return { text, exitCode: worstExitCode(found.map(({ exitCode }) => exitCode)) };
}

interface Described {
  readonly decision: "refresh" | "save" | "nothing";
  readonly reason: string;
  readonly line: string;
  readonly action: string | null;
  readonly exitCode: number;
}

function describeForecast(seen: Awaited<ReturnType<typeof forecast>>, location: string): Described {
  switch (seen.kind) {
    case "would-refresh": {
      const line = `would refresh ${location}: it is due, and the new tokens could be saved`;
      return { decision: "refresh", reason: "due", line, action: null, exitCode: 0 };
    }
    case "would-save": {
      const line = `would save an answer that waits in a ticket beside ${location}; nothing would be sent`;
      return { decision: "save", reason: "unsaved", line, action: "run codex-auth-watchdog --once", exitCode: 4 };
    }
    case "would-end": {
      const { reason, line, action, exitCode } = reportOutcome(seen.outcome, location);
      return { decision: "nothing", reason, line, action, exitCode };
    }
  }
}

/** How often `wait` looks, milliseconds, where the file system does not tell of changes. */
const WAIT_STEP_MS = 250;

/** 0 as soon as every login is healthy, 1 when one can't be without a person, 2 when the time is up. */
async function waitForHealth(settings: Settings, { clock }: Circumstances): Promise<Answer> {
  const untilMs = clock.nowMs() + settings.maxWaitSec * 1000;
  const results = await Promise.all(
    settings.codexHomes.map((codexHome) => waitForHome(codexHome, settings, clock, untilMs)),
  );
  const exitCode = [1, 2, 0].find((code) => results.some((result) => result.exitCode === code)) ?? 0;
  return { text: results.map(({ text }) => text).join(""), exitCode };
}

async function waitForHome(codexHome: string, settings: Settings, clock: Clock, untilMs: number): Promise<Answer> {
  let nudge = new AbortController();
  const { location } = fileCredentialStore(codexHome);
  const unwatch = watchFile(location, () => nudge.abort());
  try {
    for (;;) {
      nudge = new AbortController();
      const view = await viewHome(codexHome, clock);
      const nowMs = clock.nowMs();
      const health = assessHealth(view, settings, nowMs);
      if (isReadyForCodex(view, health, nowMs)) return { text: `${location}: healthy\n`, exitCode: 0 };
      const advice = health.action === null ? "" : `; ${health.action}`;
      // An absent file may be on its way; another auth mode or a rejected token stays what it is.
      const isHopeless =
        health.state === "login_required" || (health.state === "idle" && health.reason !== "no_auth_json");
      if (isHopeless) return { text: `${location}: ${health.headline}${advice}\n`, exitCode: 1 };
      if (nowMs >= untilMs) {
        return {
          text: `${location}: not healthy after ${settings.maxWaitSec} s: ${health.headline}${advice}\n`,
          exitCode: 2,
        };
      }
      await clock.sleep(Math.min(WAIT_STEP_MS, untilMs - nowMs), nudge.signal);
    }
  } finally {
    unwatch();
  }
}

function toJson(value: Record<string, unknown>): string {
  return `${JSON.stringify({ schema_version: 1, watchdog_version: VERSION, ...value }, null, 2)}\n`;
}
