import type { Clock } from "../ports.js";

/** A clock that goes by the database's, because those of the hosts may be hours apart. */
export interface DatabaseClock extends Clock {
  /**
   * @param databaseMs what the database's clock said, milliseconds since 1970
   * @param askedAtMs when it was asked, by this clock's own system
   */
  set(databaseMs: number, askedAtMs: number): void;
  /** This machine's own time, milliseconds since 1970. */
  systemNowMs(): number;
}

/** Shows the system's time until the database has told its own. */
export function databaseClock(system: Clock): DatabaseClock {
  let offsetMs = 0;
  return {
    nowMs: () => system.nowMs() + offsetMs,
    sleep: (durationMs, wake) => system.sleep(durationMs, wake),
    // In the middle between question and answer the database has looked at its clock.
    set: (databaseMs, askedAtMs) => {
      offsetMs = databaseMs - (askedAtMs + system.nowMs()) / 2;
    },
    systemNowMs: () => system.nowMs(),
  };
}
