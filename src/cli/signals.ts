/** What signals ask of a running watchdog. */
export interface Signals {
  /** Aborted by TERM and INT: nothing new is sent, what was sent is seen home. */
  readonly stop: AbortSignal;
  /** Calls back on HUP ("look now") and on stop. */
  onWake(listener: () => void): void;
}

/**
 * Node's default for USR1 opens a debugger port, on a process that holds tokens. The others would end it, also XFSZ,
 * which Node ignores: signal-exit, which both lock and file library load, ends a process over every signal that has no
 * other listener (measured with signal-exit 3.0.7 and 4.1.0: a write beyond `ulimit -f` killed a save).
 */
const IGNORED = ["SIGUSR1", "SIGUSR2", "SIGXFSZ", "SIGALRM", "SIGVTALRM", "SIGIO", "SIGSTKFLT"] as const;

/**
 * Takes over the signals for the life of the process, so that no default action ends it in mid-refresh.
 *
 * A second TERM or INT changes nothing: the answer to a token that is spent must be saved first.
 */
export function takeSignals(): Signals {
  // Made when it is asked for: Node loads its part for it, which a look does not need.
  let controller: AbortController | null = null;
  const stop = (): AbortController => {
    controller ??= new AbortController();
    return controller;
  };
  const listeners = new Set<() => void>();
  const wake = (): void => {
    for (const listener of listeners) listener();
  };
  // QUIT's default, like that of XCPU, would leave a core dump, with tokens in it. These come first: the others have
  // time until there is something to lose, see guardProcess, and each costs a look some hundredths of a millisecond.
  for (const name of ["SIGTERM", "SIGINT", "SIGQUIT", "SIGXCPU", "SIGPWR"] as const) {
    process.on(name, () => {
      stop().abort();
      wake();
    });
  }
  process.on("SIGHUP", () => wake());
  return {
    get stop() {
      return stop().signal;
    },
    onWake: (listener) => {
      listeners.add(listener);
    },
  };
}

/** Node hands a USR1 to a thread of its own, which may get its turn this much later on a busy machine, milliseconds. */
const LATE_DEBUGGER_MS = 1_000;
const DEBUGGER_STEP_MS = 5;

let isGuarded = false;

/**
 * Ignores the signals that have no business with a process at work, and closes a debugger port that a USR1 has opened
 * until now: so far the signal was Node's.
 *
 * Called before anything is done with a token that takes its time; a look of a few milliseconds goes without, because
 * this costs a tenth of it. One that was asked for (`node --inspect`) stays.
 */
export async function guardProcess(): Promise<void> {
  if (isGuarded) return;
  isGuarded = true;
  for (const name of IGNORED) process.on(name, () => undefined);
  if (process.execArgv.some((word) => word.startsWith("--inspect"))) return;
  const { close, url } = await import("node:inspector");
  const closeIfOpen = (): void => {
    if (url() !== undefined) close();
  };
  // Node opens it when its loop comes round.
  await new Promise((resolve) => setTimeout(resolve, 1));
  closeIfOpen();
  const timer = setInterval(closeIfOpen, DEBUGGER_STEP_MS).unref();
  setTimeout(() => clearInterval(timer), LATE_DEBUGGER_MS).unref();
}
