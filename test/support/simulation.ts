import { createHash } from "node:crypto";
import { runLoop } from "../../src/cli/loop.js";
import { parseArguments, type Settings } from "../../src/cli/options.js";
import { Pacer } from "../../src/cli/pacer.js";
import type { LastStatus, Status } from "../../src/core/status.js";
import { readStatus } from "../../src/core/status.js";
import { type Company, Home } from "../../src/home.js";
import { MemoryMachine, type MemoryTokens, type ServerReply, type VirtualClock } from "./memory-ports.js";
import { doesScriptPresent, SCRIPT_INTERVAL_SEC, scriptOutcome } from "./script-model.js";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START_MS = Date.parse("2026-11-21T12:00:00.000Z");

/** How long a request is on its way. */
const REQUEST_MS = SECOND_MS;

/** What happens to the machine, or to the endpoint. */
export interface Troubles {
  /** The program is restarted, once a day on average, at any time; never in the middle of a request. */
  readonly restarts?: boolean;
  /** The machine is suspended for eight hours each night. */
  readonly suspends?: boolean;
  /**
   * The endpoint is out of order, once a month on average, for an hour to two days: half of the times nobody is there,
   * and half of the times it answers 503. `500`: it always answers 500, and nobody can know whether the token is spent.
   */
  readonly outages?: boolean | "500";
}

export interface Scenario extends Troubles {
  /** How long the access tokens live. */
  readonly livesForSec: number;
  readonly days: number;
  /** The same seed gives the same troubles, to whichever program. */
  readonly seed: string;
}

export interface Figures {
  /** The share of the time the machine was awake in which the stored access token was valid. */
  readonly validShare: number;
  /** Requests that arrived. */
  readonly posts: number;
  /** Whether the refresh token in the store ended up worthless. */
  readonly isLost: boolean;
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

interface Outage extends Span {
  readonly reply: ServerReply;
}

/** What happens when. Each list is in order. */
interface Timeline {
  readonly endMs: number;
  readonly restartsAtMs: readonly number[];
  readonly suspends: readonly Span[];
  readonly outages: readonly Outage[];
}

/** Chance by name: a number from 0 up to 1, always the same for one seed and one name. */
function chance(seed: string, name: string): number {
  return createHash("sha256").update(`${seed} ${name}`).digest().readUInt32BE() / 2 ** 32;
}

/** Times that follow each other at random, `meanMs` apart on average. */
function randomTimes(seed: string, name: string, meanMs: number, endMs: number): number[] {
  const timesMs: number[] = [];
  for (let atMs = START_MS; ; ) {
    atMs += Math.ceil(-Math.log(1 - chance(seed, `${name} ${timesMs.length}`)) * meanMs);
    if (atMs >= endMs) return timesMs;
    timesMs.push(atMs);
  }
}

function makeTimeline({ days, seed, restarts, suspends, outages }: Scenario): Timeline {
  const endMs = START_MS + days * DAY_MS;
  const nights: Span[] = Array.from({ length: suspends === true ? days : 0 }, (_none, day) => {
    const fromMs = START_MS + day * DAY_MS + Math.floor((10 + 2 * chance(seed, `night ${day}`)) * HOUR_MS);
    return { fromMs, toMs: fromMs + 8 * HOUR_MS };
  });
  const isAsleep = (ms: number): boolean => nights.some(({ fromMs, toMs }) => ms >= fromMs && ms < toMs);
  const restartsAtMs = restarts === true ? randomTimes(seed, "restart", DAY_MS, endMs) : [];
  return {
    endMs,
    suspends: nights,
    restartsAtMs: restartsAtMs.filter((ms) => !isAsleep(ms)),
    outages: outages === undefined || outages === false ? [] : makeOutages(seed, endMs, outages),
  };
}

function makeOutages(seed: string, endMs: number, kind: true | "500"): Outage[] {
  return randomTimes(seed, "outage", 30 * DAY_MS, endMs).map((fromMs, index) => {
    // As many from one to seven hours as from seven hours to two days.
    const lengthMs = HOUR_MS * 48 ** chance(seed, `length ${index}`);
    const refusal = chance(seed, `kind ${index}`) < 0.5 ? { unsent: "ECONNREFUSED" } : { httpStatus: 503 };
    return { fromMs, toMs: fromMs + Math.ceil(lengthMs), reply: kind === "500" ? { httpStatus: 500 } : refusal };
  });
}

/** The share that a program could reach that knows the future: it refreshes right before and after each gap. */
export function bestShare(scenario: Scenario): number {
  const { endMs, suspends, outages } = makeTimeline(scenario);
  const lengthMs = ({ fromMs, toMs }: Span): number => Math.max(0, Math.min(toMs, endMs) - fromMs);
  const sleptMs = (span: Span): number => {
    const overlaps = suspends.map((night) => ({
      fromMs: Math.max(night.fromMs, span.fromMs),
      toMs: Math.min(night.toMs, span.toMs),
    }));
    return overlaps.reduce((sum, overlap) => sum + lengthMs(overlap), 0);
  };
  const awakeMs = endMs - START_MS - sleptMs({ fromMs: START_MS, toMs: endMs });
  let expiredMs = 0;
  for (const gap of joined([...suspends, ...outages])) {
    const expired = { fromMs: gap.fromMs + scenario.livesForSec * SECOND_MS, toMs: Math.min(gap.toMs, endMs) };
    if (expired.fromMs < expired.toMs) expiredMs += lengthMs(expired) - sleptMs(expired);
  }
  return 1 - expiredMs / awakeMs;
}

/** Spans that touch each other made one. */
function joined(spans: readonly Span[]): Span[] {
  const all: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.fromMs - b.fromMs)) {
    const last = all.at(-1);
    if (last === undefined || span.fromMs > last.toMs) all.push(span);
    else all[all.length - 1] = { fromMs: last.fromMs, toMs: Math.max(last.toMs, span.toMs) };
  }
  return all;
}

/** So many sleeps go by before other things in this process have their turn: weak references pile up without. */
const SLEEPS_PER_TURN = 4_096;

/**
 * A clock for one program at a time, in whole milliseconds: whoever sleeps lets the time pass. Timers stand still while
 * the machine is suspended, as those of Linux do, and the wall clock goes on.
 */
class SimulatedClock implements VirtualClock {
  awakeMs = 0;
  validMs = 0;
  /** When the access token in the store expires. */
  expiresAtMs: () => number = () => 0;
  /** Called when a restart, or the end, cuts a sleep short. */
  onInterrupt: () => void = () => undefined;
  #nowMs = START_MS;
  #sleeps = 0;
  #nextSuspend = 0;
  #nextInterrupt = 0;
  readonly #suspends: readonly Span[];
  readonly #interruptsAtMs: readonly number[];

  constructor({ suspends, restartsAtMs, endMs }: Timeline) {
    this.#suspends = suspends;
    this.#interruptsAtMs = [...restartsAtMs, endMs];
  }

  nowMs(): number {
    return this.#nowMs;
  }

  set(ms: number): void {
    this.#nowMs = ms;
  }

  /** Lets awake time pass, and with it the suspends that fall into it. */
  advance(ms: number): void {
    this.#advance(ms, Number.POSITIVE_INFINITY);
  }

  async sleep(durationMs: number, wake?: AbortSignal): Promise<void> {
    if (durationMs <= 0 || wake?.aborted === true) return;
    this.#sleeps += 1;
    if (this.#sleeps % SLEEPS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    // Without a signal nobody wants to be woken: the end of a request that a restart waits for.
    const interruptAtMs = wake === undefined ? undefined : this.#interruptsAtMs[this.#nextInterrupt];
    const limitMs = Math.max(interruptAtMs ?? Number.POSITIVE_INFINITY, this.#nowMs);
    this.#advance(Math.ceil(durationMs), limitMs);
    if (this.#nowMs < limitMs) return;
    this.#nextInterrupt += 1;
    this.onInterrupt();
  }

  #advance(ms: number, limitMs: number): void {
    let leftMs = ms;
    for (;;) {
      const suspend = this.#suspends[this.#nextSuspend];
      const untilMs = Math.min(this.#nowMs + leftMs, limitMs);
      const fromMs = suspend === undefined ? Number.POSITIVE_INFINITY : Math.max(suspend.fromMs, this.#nowMs);
      const awakeUntilMs = Math.min(untilMs, fromMs);
      this.#count(awakeUntilMs);
      leftMs -= awakeUntilMs - this.#nowMs;
      this.#nowMs = awakeUntilMs;
      if (suspend === undefined || fromMs > untilMs) return;
      this.#nowMs = Math.max(suspend.toMs, fromMs);
      this.#nextSuspend += 1;
    }
  }

  #count(untilMs: number): void {
    this.awakeMs += untilMs - this.#nowMs;
    this.validMs += Math.max(0, Math.min(untilMs, this.expiresAtMs()) - this.#nowMs);
  }
}

/** One machine with a login, its troubles, and the clock that measures. */
function setUp(scenario: Scenario): { machine: MemoryMachine; clock: SimulatedClock; timeline: Timeline } {
  const timeline = makeTimeline(scenario);
  const clock = new SimulatedClock(timeline);
  const takeTime = async (label: string): Promise<void> => {
    if (label.endsWith("endpoint.send")) clock.advance(REQUEST_MS);
  };
  const machine = new MemoryMachine(takeTime, clock);
  machine.server.livesForSec = scenario.livesForSec;
  machine.server.otherwise = () => replyAt(timeline, clock.nowMs());
  machine.logIn({ expiresInSec: scenario.livesForSec, lastRefreshAgoMs: 0 });
  let [knownText, expiresAtMs] = ["", 0];
  clock.expiresAtMs = () => {
    if (machine.text === knownText) return expiresAtMs;
    const reading = machine.read();
    knownText = machine.text ?? "";
    expiresAtMs = (reading.kind === "login" ? reading.credential.accessClaims.expiresAtMs : null) ?? 0;
    return expiresAtMs;
  };
  return { machine, clock, timeline };
}

function replyAt({ outages }: Timeline, nowMs: number): ServerReply {
  return outages.find(({ fromMs, toMs }) => nowMs >= fromMs && nowMs < toMs)?.reply ?? {};
}

function figuresOf(machine: MemoryMachine, clock: SimulatedClock): Figures {
  return {
    validShare: clock.validMs / clock.awakeMs,
    posts: machine.server.posts.length,
    isLost: !machine.server.isActive(machine.storedToken() ?? ""),
  };
}

/** The program's own loop and its own cycle, with its own defaults. */
export async function simulateWatchdog(scenario: Scenario): Promise<Figures> {
  const { machine, clock, timeline } = setUp(scenario);
  const settings = await defaultSettings();
  let last: LastStatus | null = null;
  let count = 0;
  const random = (): number => {
    count += 1;
    return chance(scenario.seed, `jitter ${count}`);
  };
  while (clock.nowMs() < timeline.endMs) {
    const stop = new AbortController();
    let wake = (): void => undefined;
    clock.onInterrupt = () => {
      stop.abort();
      wake();
    };
    const ports = machine.start();
    const company: Company = {
      settings,
      clock,
      logFor: () => ports.log,
      pacer: new Pacer(clock),
      signals: { stop: stop.signal },
      daemon: { pid: ports.pid, host: "memory", bootId: null, pidNamespace: null, startTicks: null },
      observe: null,
    };
    const home = new Home("/memory", company, {
      clock,
      store: ports.store,
      tickets: ports.tickets,
      isLocked: () => ports.isLocked(),
      isHolderAlive: () => ports.isHolderAlive(),
      log: { write: () => undefined },
      sink: {
        read: () => last,
        write: (status: Status) => {
          last = readStatus(JSON.stringify(status));
          return null;
        },
      },
      watch: () => () => undefined,
      lockWaitMs: 75_000,
      openRefreshPorts: () => Promise.resolve(ports),
      random,
    });
    await runLoop(
      {
        clock,
        changeMark: () => machine.text ?? "",
        watch: () => () => undefined,
        cycle: async () => {
          const told = await home.cycle();
          ports.forget();
          return told;
        },
        onTick: () => undefined,
      },
      {
        stop: stop.signal,
        onWake: (listener) => {
          wake = listener;
        },
      },
    );
    ports.die();
  }
  return figuresOf(machine, clock);
}

async function defaultSettings(): Promise<Settings> {
  const parsed = await parseArguments([], {}, "/memory");
  if (parsed.kind !== "run") throw new Error(parsed.kind);
  return parsed.settings;
}

/** The shell script's loop, as `script-model.ts` has it, on the same machine with the same troubles. */
export async function simulateScript(scenario: Scenario): Promise<Figures> {
  const { machine, clock, timeline } = setUp(scenario);
  const uninterrupted = new AbortController().signal;
  while (clock.nowMs() < timeline.endMs) {
    attempt(machine);
    // A restart begins with an attempt as well.
    await clock.sleep(SCRIPT_INTERVAL_SEC * SECOND_MS, uninterrupted);
  }
  return figuresOf(machine, clock);
}

function attempt(machine: MemoryMachine): void {
  const { clock, server } = machine;
  const reading = machine.read();
  if (reading.kind !== "login") return;
  const { accessClaims, lastRefreshMs, refreshToken } = reading.credential;
  const toSec = (ms: number | null, sinceMs: number): number | null =>
    ms === null ? null : (ms - sinceMs) / SECOND_MS;
  const ageSec = lastRefreshMs === null ? null : (clock.nowMs() - lastRefreshMs) / SECOND_MS;
  const view = { expiresInSec: toSec(accessClaims.expiresAtMs, clock.nowMs()), lastRefreshAgoSec: ageSec };
  if (!doesScriptPresent(view)) return;
  const reply = server.nextReply();
  if (reply.unsent !== undefined) return;
  clock.advance(REQUEST_MS);
  const { httpStatus, body } = server.answer(refreshToken.reveal(), reply);
  if (scriptOutcome(httpStatus) !== "refreshed") return;
  machine.text = machine.authJson(JSON.parse(body) as MemoryTokens, { lastRefreshAgoMs: 0 });
}
