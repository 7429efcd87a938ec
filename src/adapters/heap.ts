import { Session } from "node:inspector";
import { setFlagsFromString } from "node:v8";

/** For a cycle's last timers and streams to be done with what they hold, milliseconds. */
const QUIET_MS = 2_000;

/**
 * Keeps the memory of a process small that works for a few milliseconds and then sleeps for hours. V8 is made for the
 * opposite: it lets garbage lie until some megabytes have come together, and compiles what it has often seen anew.
 *
 * @returns to be called after each piece of work: a while later, once for all of them, V8 gives back what it can
 */
export function keepSmall(): () => void {
  for (const flag of ["--no-opt", "--no-maglev"]) setFlagsFromString(flag);
  const session = new Session();
  session.connect();
  let isPlanned = false;
  return () => {
    if (isPlanned) return;
    isPlanned = true;
    setTimeout(() => {
      isPlanned = false;
      session.post("HeapProfiler.collectGarbage");
    }, QUIET_MS).unref();
  };
}
