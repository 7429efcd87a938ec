import { writeSync } from "node:fs";
import type { Clock, Log, LogLevel } from "../ports.js";

export interface LogSettings {
  readonly format: "text" | "json";
  /** Lines that matter less are not written. */
  readonly level: LogLevel;
  /** The home that the lines are about, where one process looks after several; else null. */
  readonly codexHome: string | null;
}

const LEVELS: readonly LogLevel[] = ["error", "warn", "info", "debug"];

/**
 * Lines on stderr. As text they have the shell script's format, which its users grep for:
 * `[codex_auth_refresh 2026-11-21T20:54:21Z] …`; as JSON each is an object with time, level, event and message.
 */
export function stderrLog(clock: Clock, { format, level: least, codexHome }: LogSettings): Log {
  return {
    write: (level, event, message) => {
      if (LEVELS.indexOf(level) > LEVELS.indexOf(least)) return;
      const time = new Date(clock.nowMs()).toISOString().replace(/\.\d+Z$/, "Z");
      // File names and host names may hold line breaks; a log line may not.
      const text = message.replace(/\p{Cc}/gu, " ");
      const home = codexHome === null ? {} : { codex_home: codexHome };
      const prefix = codexHome === null ? "" : `${codexHome.replace(/\p{Cc}/gu, " ")}: `;
      const line =
        format === "json"
          ? JSON.stringify({ time, level, event, ...home, message: text })
          : `[codex_auth_refresh ${time}] ${prefix}${text}`;
      try {
        writeSync(2, `${line}\n`); // process.stderr on a pipe would load Node's whole network stack for it.
      } catch {
        // A closed pipe at the other end (a log collector that died) must not end the watchdog.
      }
    },
  };
}
