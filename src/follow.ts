import type { CopyWritten } from "./adapters/follower-file.js";
import type { Told } from "./cli/loop.js";
import { loginOf, type Reading } from "./core/credential.js";
import { type FollowOutcome, type Offer, planFollow, reportFollow } from "./core/follow.js";
import { levelOf, type Report } from "./core/outcome.js";
import { isWorthSaying, type Said } from "./core/quiet.js";
import { buildStatus, type Follows, type LastStatus, type Status } from "./core/status.js";
import type { Holder } from "./core/ticket.js";
import type { Clock, FollowSource, LocalStore, Log, StatusSink } from "./ports.js";
import { readSettled } from "./reading.js";

export interface FollowPorts {
  readonly clock: Clock;
  readonly source: FollowSource;
  readonly store: LocalStore;
  /** Puts a text into the home, in place of what the question agrees to. */
  readonly write: (text: string, isExpected: (reading: Reading) => boolean) => Promise<CopyWritten>;
  readonly sink: StatusSink;
  readonly log: Log;
  /** A number from 0 up to 1, another one each time. */
  readonly random: () => number;
}

export interface FollowOptions {
  /** Longest time between two looks, milliseconds. */
  readonly pollMs: number;
  /** Whether the first copy may replace a login of the home's own. */
  readonly isTakeOver: boolean;
  /** This process, where it loops; null for one look. */
  readonly daemon: Holder | null;
  readonly version: string;
}

/** How often a look starts anew because the home has just changed. */
const MAX_TRIES = 3;

/** A thousand followers must not ask in one moment: looks come earlier by up to this part of their interval. */
const SPREAD = 0.2;

/** One home that holds a copy, and what this process remembers of it from one look to the next. */
export class Follower {
  readonly #ports: FollowPorts;
  readonly #options: FollowOptions;
  #isTakeOver: boolean;
  #said: Said | null = null;
  #status: Status | null = null;
  #follows: Follows | null = null;

  constructor(ports: FollowPorts, options: FollowOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#isTakeOver = options.isTakeOver;
  }

  /** Looks once, and tells log and status. */
  async cycle(): Promise<Told> {
    const { sink, source, store, clock } = this.#ports;
    const last = sink.read();
    // The numbers of another source mean nothing here.
    const known = this.#follows ?? (last?.follows?.source === source.location ? last.follows : null);
    const { outcome, follows } = await this.#look(known ?? { ...NOTHING_YET, source: source.location });
    this.#follows = follows;
    const reading = store.read();
    const nowMs = clock.nowMs();
    const copy = reading.kind === "inert" ? loginOf(reading) : null;
    const report = reportFollow(outcome, copy, follows, nowMs);
    this.#say(report, outcome, nowMs);
    return this.#tell(report, reading, last, nowMs);
  }

  /** Says in the status that nobody looks any more. */
  leave(): void {
    if (this.#status !== null) this.#ports.sink.write({ ...this.#status, daemon: null, next_check_at: null });
  }

  async #look(known: Follows): Promise<{ readonly outcome: FollowOutcome; readonly follows: Follows }> {
    const { clock, source } = this.#ports;
    const fetched = await source.fetch();
    if (fetched.kind === "unavailable") return { outcome: fetched, follows: known };
    const { version, ownerSeenAtMs, isOwnerAlive } = fetched;
    const outcome = await this.#copy({ text: fetched.text.reveal(), version }, known.version);
    const owner = { ownerSeenAtMs, isOwnerAlive };
    const isHeld = outcome.kind === "copied" || outcome.kind === "current";
    const follows = isHeld ? { ...known, ...owner, version, fetchedAtMs: clock.nowMs() } : { ...known, ...owner };
    return { outcome, follows };
  }

  async #copy(offer: Offer, lastVersion: number | null): Promise<FollowOutcome> {
    const { store, clock, write } = this.#ports;
    const plan = (reading: Reading): ReturnType<typeof planFollow> => {
      return planFollow(reading, offer, lastVersion, this.#isTakeOver);
    };
    for (let tries = 1; ; tries += 1) {
      const planned = plan(await readSettled({ store, clock }));
      if (planned.kind === "refused") return planned;
      if (planned.kind === "same") {
        // There was nothing to take over; what appears after this is somebody's new login.
        this.#isTakeOver = false;
        return { kind: "current" };
      }
      const written = await write(planned.text, (reading) => plan(reading).kind === "write");
      if (written.kind === "unwritten") return written;
      if (written.kind === "written") {
        // The same here.
        this.#isTakeOver = false;
        return { kind: "copied", version: offer.version };
      }
      if (tries === MAX_TRIES) {
        return {
          kind: "refused",
          why: "unreadable",
          problem: "auth.json is written by another program again and again",
        };
      }
    }
  }

  #say(report: Report, outcome: FollowOutcome, nowMs: number): void {
    const now = { reason: report.reason, atMs: nowMs };
    const level = levelOf(report);
    const isNews = outcome.kind === "copied" || isWorthSaying(this.#said, now, level !== "info");
    this.#ports.log.write(isNews ? level : "debug", report.reason, report.line);
    if (isNews) this.#said = now;
  }

  #tell(report: Report, reading: Reading, last: LastStatus | null, nowMs: number): Told {
    const { pollMs, daemon, version } = this.#options;
    const nextCheckAtMs = nowMs + pollMs * (1 - SPREAD * this.#ports.random());
    this.#status = buildStatus({
      report,
      reading,
      dueAtMs: null,
      nextCheckAtMs: daemon === null ? null : nextCheckAtMs,
      failureCount: report.exitCode >= 2 ? (last?.failureCount ?? 0) + 1 : 0,
      nowMs,
      version,
      setAside: [],
      history: null,
      daemon,
      event: null,
      follows: this.#follows,
    });
    const fault = this.#ports.sink.write(this.#status);
    if (fault !== null) {
      const line = `status: cannot ${fault.step} ${fault.path} (${fault.code})`;
      this.#ports.log.write("warn", "status_not_written", line);
    }
    return { exitCode: report.exitCode, nextCheckAtMs };
  }
}

const NOTHING_YET = { version: null, fetchedAtMs: null, ownerSeenAtMs: null, isOwnerAlive: null } as const;
