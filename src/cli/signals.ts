/** What signals ask of a running watchdog. */
export interface Signals {
  /** Aborted by TERM and INT: nothing new is sent, what was sent is seen home. */
  readonly stop: AbortSignal;
  /** Calls back on HUP ("look now") and on stop. */
  onWake(listener: () => void): void;
}

/**
 * Takes over the signals for the life of the process, so that no default action ends it in mid-refresh.
 *
 * A second TERM or INT changes nothing: the answer to a token that is spent must be saved first.
 */
export function takeSignals(): Signals {
  const stop = new AbortController();
  let wake = (): void => undefined;
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      stop.abort();
      wake();
    });
  }
  process.on("SIGHUP", () => wake());
  // Node's default for USR1 opens a debugger port, on a process that holds tokens.
  process.on("SIGUSR1", () => undefined);
  return {
    stop: stop.signal,
    onWake: (listener) => {
      wake = listener;
    },
  };
}
