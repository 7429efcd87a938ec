import { writeSync } from "node:fs";
import { toRfc3339 } from "../core/rfc3339.js";
import type { Clock, Log, LogLevel } from "../ports.js";

export interface LogSettings {
  readonly format: "text" | "json";
  /** Lines that matter less are not written. */
  readonly level: LogLevel;
  /** The home that the lines are about, where one process looks after several; else null. */
  readonly codexHome: string | null;
}

/** What Unicode calls \p{Cc}; written out, because V8 takes longer over that name than over all the rest of a line. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is there to find control characters, which may not get into a log line
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/g;

const LEVELS: readonly LogLevel[] = ["error", "warn", "info", "debug"];

/**
 * Lines on stderr. As text they have the shell script's format, which its users grep for:
 * `[codex_auth_refresh 2026-11-21T20:54:21Z] …`; as JSON each is an object with time, level, event and message.
 */
export function stderrLog(clock: Clock, { format, level: least, codexHome }: LogSettings): Log {
  return {
    write: (level, event, message) => {
      if (LEVELS.indexOf(level) > LEVELS.indexOf(least)) return;
      const time = toRfc3339(clock.nowMs()).replace(/\.\d+Z$/, "Z");
      // File names and host names may hold line breaks; a log line may not.
      const text = message.replace(CONTROLS, " ");
      const home = codexHome === null ? {} : { codex_home: codexHome };
      const prefix = codexHome === null ? "" : `${codexHome.replace(CONTROLS, " ")}: `;
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
