import { writeSync } from "node:fs";
import type { Clock, Log } from "../ports.js";

/** The shell script's format, which its users grep for: `[codex_auth_refresh 2026-11-21T20:54:21Z] …`. */
export function stderrLog(clock: Clock): Log {
  return {
    line: (message) => {
      const time = new Date(clock.nowMs()).toISOString().replace(/\.\d+Z$/, "Z");
      // File names and host names may hold line breaks; a log line may not.
      const line = `[codex_auth_refresh ${time}] ${message.replace(/\p{Cc}/gu, " ")}\n`;
      try {
        writeSync(2, line); // process.stderr on a pipe would load Node's whole network stack for it.
      } catch {
        // A closed pipe at the other end (a log collector that died) must not end the watchdog.
      }
    },
  };
}
