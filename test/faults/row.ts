/**
 * How one trial ended for the login.
 *
 * - `kept`: good when the disturbed run had ended.
 * - `recovered`: good after the next run.
 * - `window`: lost, and nobody could have prevented it: the server had rotated, and when the process was killed or
 *   the connection broke, the new refresh token had not arrived on the disk.
 * - `lost`: lost for any other reason. A defect.
 */
export type Fate = "kept" | "recovered" | "window" | "lost";

export interface Trial {
  readonly fate: Fate;
  /** Requests that reached the endpoint in the whole trial, recovery included. */
  readonly posts: number;
  /** What else should not have been: a token presented twice, a stack trace, a wrong exit code. Null when nothing. */
  readonly defect: string | null;
  /** Where it was disturbed and what came of it, for whoever has to look into it. */
  readonly note: string;
}

export type Subject = "watchdog" | "script";
export type Depth = "short" | "full";

/** One line of the table. */
export interface Row {
  /** What is done to the program, in a few words. */
  readonly name: string;
  readonly needs: readonly ("root" | "strace")[];
  /** Whether the shell script that the program replaces can be put through it too. */
  readonly isComparable: boolean;
  run(subject: Subject, depth: Depth): Promise<readonly Trial[]>;
}
