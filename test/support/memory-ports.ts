import { type Reading, readCredential } from "../../src/core/credential.js";
import type { Fault } from "../../src/core/fault.js";
import type { CommitPlan } from "../../src/core/reconcile.js";
import { isMixOf } from "../../src/core/rewrite.js";
import { Secret } from "../../src/core/secret.js";
import { readStatus, type Status } from "../../src/core/status.js";
import {
  concludeText,
  encodeEvent,
  type HolderLife,
  type Presented,
  readTicketText,
  type Ticket,
  type TicketEvent,
  type TicketName,
} from "../../src/core/ticket.js";
import { type CycleResult, type CycleSettings, runCycle } from "../../src/cycle.js";
import type {
  Clock,
  CredentialStore,
  Delegate,
  EndpointReply,
  HeldLock,
  LockAttempt,
  OpenTicket,
  RefreshPorts,
  StatusSink,
  TicketCreation,
  TicketListing,
  TokenEndpoint,
  TokenRequest,
} from "../../src/ports.js";
// Loaded now, so that the cycle's own lazy import costs no real time in the middle of a test.
import "../../src/refresh.js";

/** The process died at a port call. Nothing in the program catches this on purpose. */
class Crash extends Error {}

/** Lets other processes run between two steps of one: a scheduler may decide which is next. */
export type Turn = (label: string) => Promise<void>;

const START_MS = Date.parse("2026-11-21T12:00:00.000Z");
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** A lock is taken over when its holder has been dead for this long, as `file-lock.ts` has it. */
const LOCK_STALE_MS = 15_000;

/** A clock whose time passes as a test says. */
export interface VirtualClock extends Clock {
  set(ms: number): void;
  advance(ms: number): void;
}

/**
 * A clock that tests set. Sleepers wake in the order of their times, and only when nobody else has anything
 * to do: so time passes once for all processes, however many of them sleep.
 */
class MemoryClock implements VirtualClock {
  #nowMs = START_MS;
  readonly #sleepers = new Set<{ readonly wakeAtMs: number; readonly wakeUp: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  set(ms: number): void {
    this.#nowMs = ms;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
  }

  async sleep(durationMs: number, wake?: AbortSignal): Promise<void> {
    if (durationMs <= 0 || wake?.aborted === true) return;
    await new Promise<void>((resolve) => {
      const sleeper = {
        wakeAtMs: this.#nowMs + durationMs,
        wakeUp: () => {
          this.#sleepers.delete(sleeper);
          wake?.removeEventListener("abort", sleeper.wakeUp);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      wake?.addEventListener("abort", sleeper.wakeUp, { once: true });
      setImmediate(() => this.#wakeNext());
    });
  }

  /** One call for each sleeper that was added, so nobody sleeps for ever. */
  #wakeNext(): void {
    const [first] = [...this.#sleepers].sort((a, b) => a.wakeAtMs - b.wakeAtMs);
    if (first === undefined) return;
    this.#nowMs = Math.max(this.#nowMs, first.wakeAtMs);
    first.wakeUp();
  }
}

/** What the authorization server does with one request instead of rotating the token. */
export interface ServerReply {
  /** No connection: the cause. */
  readonly unsent?: string;
  /** The request arrives, the answer does not: the cause. */
  readonly unanswered?: string;
  readonly httpStatus?: number;
  /** A string goes out as it is, anything else as JSON. */
  readonly body?: unknown;
  readonly retryAfter?: string;
  /** In how many pieces the body arrives; one by default. */
  readonly pieces?: number;
  /** The connection breaks behind this many bytes of the body. */
  readonly breaksAfter?: number;
  /** Whether the server spends the token though it answers something else. */
  readonly rotates?: boolean;
  /** Leaves the named tokens out of the grant. */
  readonly omits?: readonly string[];
  /** The account that the granted tokens name. */
  readonly accountId?: string;
  /** What other people do while the request is on its way. */
  readonly meanwhile?: () => void | Promise<void>;
}

export interface MemoryTokens {
  readonly id_token: string;
  readonly access_token: string;
  readonly refresh_token: string;
}

/** An authorization server whose refresh tokens work once; reuse revokes the family (RFC 9700 §4.14.2). */
class MemoryAuthorizationServer {
  /** Every refresh token that arrived, in order. */
  readonly posts: string[] = [];
  /** How often a retired token was presented. */
  reuseCount = 0;
  /** How long the access tokens live that it grants, seconds. */
  livesForSec = 864_000;
  /** What a request is answered with that no script is left for. */
  otherwise: () => ServerReply = () => ({});
  readonly #clock: Clock;
  readonly #families = new Map<string, number>();
  readonly #retired = new Set<string>();
  readonly #revoked = new Set<number>();
  readonly #script: ServerReply[] = [];
  #issued = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The next requests are answered with these, in turn. */
  script(...replies: ServerReply[]): void {
    this.#script.push(...replies);
  }

  nextReply(): ServerReply {
    return this.#script.shift() ?? this.otherwise();
  }

  /** Tokens of a new login. */
  login(options: { accountId?: string; expiresInSec?: number } = {}): MemoryTokens {
    return this.#issue(this.#issued + 1, options.accountId ?? "acct-test", options.expiresInSec ?? this.livesForSec);
  }

  /** Whether a refresh token would be accepted. */
  isActive(refreshToken: string): boolean {
    const family = this.#families.get(refreshToken);
    return family !== undefined && !this.#retired.has(refreshToken) && !this.#revoked.has(family);
  }

  answer(refreshToken: string, reply: ServerReply): { httpStatus: number; body: string } {
    this.posts.push(refreshToken);
    const isOverridden = reply.httpStatus !== undefined || reply.body !== undefined;
    const own = !isOverridden || reply.rotates === true ? this.#present(refreshToken, reply) : null;
    if (own !== null && !isOverridden) return own;
    const body = reply.body ?? "";
    return { httpStatus: reply.httpStatus ?? 200, body: typeof body === "string" ? body : JSON.stringify(body) };
  }

  #present(refreshToken: string, reply: ServerReply): { httpStatus: number; body: string } {
    const family = this.#families.get(refreshToken);
    if (family !== undefined && this.#retired.has(refreshToken)) {
      this.reuseCount += 1;
      this.#revoked.add(family);
    }
    if (family === undefined || !this.isActive(refreshToken)) {
      const code = this.#retired.has(refreshToken) ? "refresh_token_reused" : "refresh_token_invalidated";
      return { httpStatus: 401, body: JSON.stringify({ error: { code } }) };
    }
    this.#retired.add(refreshToken);
    const tokens = this.#issue(family, reply.accountId ?? "acct-test", this.livesForSec);
    const granted = Object.entries(tokens).filter(([name]) => reply.omits?.includes(name) !== true);
    return { httpStatus: 200, body: JSON.stringify(Object.fromEntries(granted)) };
  }

  #issue(family: number, accountId: string, expiresInSec: number): MemoryTokens {
    this.#issued += 1;
    const exp = Math.floor(this.#clock.nowMs() / 1000) + expiresInSec;
    const iat = exp - this.livesForSec;
    const jti = this.#issued;
    const claims = { iat, exp, jti, "https://api.openai.com/auth": { chatgpt_account_id: accountId } };
    const refresh_token = `rt_memory_family_${family}_number_${this.#issued}`;
    this.#families.set(refresh_token, family);
    return { id_token: makeJwt(claims), access_token: makeJwt(claims), refresh_token };
  }
}

function makeJwt(claims: Record<string, unknown>): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "RS256", typ: "JWT" })}.${part(claims)}.${part("a made-up signature")}`;
}

interface TicketFile {
  text: string;
  isOpen: boolean;
  readonly createdAtMs: number;
}

export interface ProcessOptions {
  /** Dies at this port call, counted from 1. */
  readonly crashAtCall?: number;
  /** What it was writing when it died is left behind half written. */
  readonly tears?: boolean;
  /** Sees every port call: a fault that it returns makes the call fail, where the port knows failures. */
  readonly onCall?: (call: string) => Fault | null | undefined;
  /** Lives on another host: nobody can tell whether it is there, nor can it tell of others. */
  readonly isElsewhere?: boolean;
}

/** One machine: a credential, its tickets and its lock, shared by any number of processes, and a server. */
export class MemoryMachine {
  readonly clock: VirtualClock;
  readonly server: MemoryAuthorizationServer;
  /** The text of auth.json; null when there is no such file. */
  text: string | null = null;
  /** The value of Codex's own `cli_auth_credentials_store`. */
  storeSetting = "file";
  /** auth.json can't be replaced, only overwritten where it stands. */
  isInPlace = false;
  /** A Codex that does the refresh; null for a request of our own. */
  delegate: Delegate | null = null;
  isCodexRunning = false;
  /** A lock that lies lets everybody in. */
  doesLockLie = false;
  /** What the store held, at every change by a commit. */
  readonly commits: string[] = [];
  readonly processes: MemoryProcess[] = [];
  readonly #turn: Turn;
  readonly #tickets = new Map<string, TicketFile>();
  readonly #setAside = new Map<string, TicketFile>();
  #lock: { readonly owner: MemoryProcess; isCompromised: boolean } | null = null;

  constructor(turn: Turn = () => Promise.resolve(), clock: VirtualClock = new MemoryClock()) {
    this.#turn = turn;
    this.clock = clock;
    this.server = new MemoryAuthorizationServer(clock);
  }

  /** Puts a login in place as Codex would, and returns its tokens. By default its access token expires in a minute. */
  logIn(options: { accountId?: string; expiresInSec?: number; lastRefreshAgoMs?: number } = {}): MemoryTokens {
    const tokens = this.server.login({ expiresInSec: 60, ...options });
    this.text = this.authJson(tokens, options);
    return tokens;
  }

  authJson(tokens: MemoryTokens, options: { accountId?: string; lastRefreshAgoMs?: number } = {}): string {
    const lastRefreshMs = this.clock.nowMs() - (options.lastRefreshAgoMs ?? HOUR_MS);
    const document = {
      auth_mode: "chatgpt",
      OPENAI_API_KEY: null,
      tokens: { ...tokens, account_id: options.accountId ?? "acct-test" },
      last_refresh: new Date(lastRefreshMs).toISOString(),
      kept: { by: "somebody else" },
    };
    return JSON.stringify(document, null, 2);
  }

  read(): Reading {
    return this.text === null ? { kind: "absent" } : readCredential(this.text);
  }

  /** The refresh token in the store; null when there is none. */
  storedToken(): string | null {
    const reading = this.read();
    return reading.kind === "login" ? reading.credential.refreshToken.reveal() : null;
  }

  start(options: ProcessOptions = {}): MemoryProcess {
    const process = new MemoryProcess(this, this.processes.length + 1, options);
    this.processes.push(process);
    return process;
  }

  /** The texts of all tickets, without padding. */
  ticketTexts(): string[] {
    return [...this.#tickets.values()].map(({ text }) => text);
  }

  /** Takes every ticket away behind the processes' backs. */
  dropTickets(): void {
    this.#tickets.clear();
  }

  /** Somebody takes the lock over while it is held. */
  compromiseLock(): void {
    if (this.#lock !== null) this.#lock.isCompromised = true;
    this.#lock = null;
  }

  turn(label: string): Promise<void> {
    return this.#turn(label);
  }

  isLocked(): boolean {
    return this.#lock !== null;
  }

  isHolderAlive(): boolean {
    return this.#lock !== null && this.#lock.owner.deadForMs() === null && !this.doesLockLie;
  }

  tryLock(owner: MemoryProcess): LockAttempt {
    const current = this.#lock;
    const isStale = current !== null && (current.owner.deadForMs() ?? 0) >= LOCK_STALE_MS;
    if (current !== null && !isStale && !this.doesLockLie) {
      return { kind: "taken", holder: current.owner.shownAs };
    }
    const mine = { owner, isCompromised: false };
    this.#lock = mine;
    const lock: HeldLock = {
      isCompromised: () => mine.isCompromised,
      release: async () => {
        await owner.asyncCall("lock.release");
        if (this.#lock === mine) this.#lock = null;
      },
    };
    return { kind: "held", lock };
  }

  listTickets(observer: MemoryProcess): Ticket[] {
    return [...this.#tickets].map(([name, file]) => {
      const [fingerprint = "", attempt] = name.split(".");
      const read = readTicketText(file.text);
      const createdAtMs = read.prepared?.atMs ?? file.createdAtMs;
      const life = read.prepared === null ? "unknown" : this.#lifeOf(read.prepared.holder.pid, observer, file.isOpen);
      return { ...read, fingerprint, attempt: Number(attempt), createdAtMs, life };
    });
  }

  /** `O_EXCL`: null when the ticket exists. */
  createTicket(name: TicketName): TicketFile | null {
    const key = nameOf(name);
    if (this.#tickets.has(key)) return null;
    const file = { text: "", isOpen: true, createdAtMs: this.clock.nowMs() };
    this.#tickets.set(key, file);
    return file;
  }

  ticketAt(name: TicketName): TicketFile | null {
    return this.#tickets.get(nameOf(name)) ?? null;
  }

  replaceTicket(name: TicketName, text: string): void {
    this.#tickets.set(nameOf(name), { text, isOpen: false, createdAtMs: this.clock.nowMs() });
  }

  setAsideTicket(name: TicketName): void {
    const file = this.ticketAt(name);
    if (file !== null) this.#setAside.set(nameOf(name), file);
    this.removeTicket(name);
  }

  /** The names of what was set aside. */
  setAside(): string[] {
    return [...this.#setAside.keys()];
  }

  sweep(): void {
    this.#setAside.clear();
  }

  removeTicket(name: TicketName): void {
    this.#tickets.delete(nameOf(name));
  }

  #lifeOf(pid: number, observer: MemoryProcess, isOpen: boolean): HolderLife {
    if (pid === observer.pid) return isOpen ? "alive" : "self";
    const holder = this.processes.find((process) => process.pid === pid);
    if (holder === undefined || holder.isElsewhere || observer.isElsewhere) return "unknown";
    return holder.deadForMs() === null ? "alive" : "gone";
  }
}

function nameOf({ fingerprint, attempt }: TicketName): string {
  return `${fingerprint}.${attempt}`;
}

export type RunSettings = Partial<Omit<CycleSettings, "stop">>;

/** One process with the ports of one watchdog. It dies once, and then does nothing any more. */
export class MemoryProcess implements RefreshPorts {
  readonly pid: number;
  readonly isElsewhere: boolean;
  readonly stop = new AbortController();
  /** Every port call so far, except for looks at the clock. */
  readonly calls: string[] = [];
  readonly lines: string[] = [];
  readonly statuses: Status[] = [];
  readonly #machine: MemoryMachine;
  readonly #options: ProcessOptions;
  #diedAtMs: number | null = null;

  constructor(machine: MemoryMachine, pid: number, options: ProcessOptions) {
    this.#machine = machine;
    this.#options = options;
    this.pid = pid;
    this.isElsewhere = options.isElsewhere === true;
  }

  get shownAs(): string {
    return `process ${this.pid} on memory`;
  }

  /** Null while it lives. */
  deadForMs(): number | null {
    return this.#diedAtMs === null ? null : this.#machine.clock.nowMs() - this.#diedAtMs;
  }

  /** Drops what it remembers for tests to look at: a year of it is too much. */
  forget(): void {
    this.lines.length = 0;
    if (this.#options.crashAtCall === undefined) this.calls.length = 0;
  }

  die(): void {
    this.#diedAtMs ??= this.#machine.clock.nowMs();
  }

  /** One cycle of the real program. */
  async run(settings: RunSettings = {}): Promise<CycleResult> {
    const policy = { safetyMarginSec: 14_400, staleAfterSec: 604_800 };
    const defaults = {
      policy,
      isOwner: true,
      isForced: false,
      lockWaitMs: 75_000,
      stop: this.stop.signal,
      minRefreshIntervalMs: 60_000,
      readHistory: () => null,
    };
    return await runCycle(this, () => Promise.resolve(this), { ...defaults, ...settings });
  }

  /** One cycle; null when the process died in it. */
  async runOrDie(settings: RunSettings = {}): Promise<CycleResult | null> {
    try {
      return await this.run(settings);
    } catch (error) {
      if (error instanceof Crash) return null;
      throw error;
    }
  }

  /** Counts a port call; throws when the process is dead, or dies here. */
  call(name: string): Fault | null {
    if (this.#diedAtMs !== null) throw new Crash(name);
    this.calls.push(name);
    if (this.calls.length === this.#options.crashAtCall) {
      this.die();
      throw new Crash(name);
    }
    return this.#options.onCall?.(name) ?? null;
  }

  async asyncCall(name: string): Promise<Fault | null> {
    await this.#machine.turn(`${this.pid}: ${name}`);
    return this.call(name);
  }

  /** Writes to a ticket; a torn write leaves a part of the text behind. */
  async #write(name: string, file: TicketFile, text: string): Promise<Fault | null> {
    try {
      const fault = await this.asyncCall(name);
      if (fault === null) file.text += text;
      return fault;
    } catch (error) {
      if (this.#options.tears === true && this.calls.length === this.#options.crashAtCall) {
        if (this.calls.at(-1) === name) file.text += text.slice(0, Math.floor(text.length / 2));
      }
      throw error;
    }
  }

  get clock(): Clock {
    const { clock } = this.#machine;
    return {
      nowMs: () => clock.nowMs(),
      sleep: async (durationMs, wake) => {
        await this.asyncCall("clock.sleep");
        await clock.sleep(durationMs, wake);
      },
    };
  }

  get store(): CredentialStore {
    const machine = this.#machine;
    return {
      location: "/memory/auth.json",
      read: () => {
        this.call("store.read");
        return machine.read();
      },
      changeMark: () => `${machine.text}`,
      readCredentialsStoreSetting: async () => {
        await this.asyncCall("store.readCredentialsStoreSetting");
        return machine.storeSetting;
      },
      preflight: () => this.call("store.preflight"),
      update: async (decide: (reading: Reading) => CommitPlan, keepRedo) => {
        const fault = await this.asyncCall("store.update");
        for (;;) {
          const from = machine.text;
          const plan = decide(machine.read());
          if (plan.kind !== "write" || from === null) return plan;
          if (fault !== null) return { kind: "failed", fault };
          if (!machine.isInPlace) return await this.#commit(plan);
          const kept = await keepRedo({ from: new Secret(from), to: new Secret(plan.text) });
          if (kept !== null) return { kind: "failed", fault: kept };
          if (machine.text !== from) continue;
          const torn = this.#overwrite(from, plan.text);
          if (torn !== null) return { kind: "failed", fault: torn };
          return await this.#commit(plan);
        }
      },
      sync: async () => await this.asyncCall("store.sync"),
      redo: async (rewrite) => {
        const fault = await this.asyncCall("store.redo");
        const isTorn = machine.text !== null && isMixOf(Buffer.from(machine.text), rewrite);
        if (fault === null && isTorn) machine.text = rewrite.to.reveal();
        return isTorn ? fault : null;
      },
    };
  }

  async #commit(plan: Extract<CommitPlan, { kind: "write" }>): Promise<CommitPlan> {
    const machine = this.#machine;
    machine.text = plan.text;
    machine.commits.push(plan.text);
    await machine.turn(`${this.pid}: store.update ends`);
    return plan;
  }

  /** A write in place: a crash leaves one half new and the other half old. */
  #overwrite(from: string, to: string): Fault | null {
    const half = Math.floor(to.length / 2);
    try {
      const fault = this.call("store.overwrite");
      if (fault !== null) this.#machine.text = to.slice(0, half) + from.padEnd(to.length).slice(half);
      return fault;
    } catch (error) {
      const isHere = this.calls.at(-1) === "store.overwrite" && this.calls.length === this.#options.crashAtCall;
      if (isHere) this.#machine.text = to.slice(0, half) + from.padEnd(to.length).slice(half);
      throw error;
    }
  }

  isLocked(): boolean {
    return this.#machine.isLocked();
  }

  isHolderAlive(): boolean {
    return this.#machine.isHolderAlive();
  }

  get lock(): RefreshPorts["lock"] {
    return {
      tryAcquire: async () => {
        const fault = await this.asyncCall("lock.tryAcquire");
        return fault === null ? this.#machine.tryLock(this) : { kind: "failed", fault };
      },
    };
  }

  get tickets(): RefreshPorts["tickets"] {
    const machine = this.#machine;
    return {
      list: (): TicketListing => {
        const fault = this.call("tickets.list");
        if (fault !== null) return { kind: "failed", fault };
        return { kind: "tickets", tickets: machine.listTickets(this), setAside: machine.setAside() };
      },
      create: (presented, attempt) => this.#create(presented, attempt),
      remove: async (tickets) => {
        for (const ticket of tickets) {
          const fault = await this.asyncCall("tickets.remove");
          if (fault === null) machine.removeTicket(ticket);
        }
      },
      append: async (ticket, event) => {
        const file = machine.ticketAt(ticket);
        if (file === null) return makeFault("missing", "write the ticket");
        return await this.#write(`tickets.append ${event.event}`, file, `\n${encodeEvent(event)}`);
      },
      trim: async () => {
        await this.asyncCall("tickets.trim");
      },
      setAside: async (ticket) => {
        const fault = await this.asyncCall("tickets.setAside");
        if (fault === null) machine.setAsideTicket(ticket);
      },
      sweep: async () => {
        const fault = await this.asyncCall("tickets.sweep");
        if (fault === null) machine.sweep();
      },
      conclude: async (ticket: TicketName, verdict: TicketEvent) => {
        const fault = await this.asyncCall("tickets.conclude");
        if (fault !== null) return fault;
        const text = machine.ticketAt(ticket)?.text;
        if (text === undefined) return makeFault("missing", "conclude the ticket");
        machine.replaceTicket(ticket, concludeText(text, verdict));
        return null;
      },
    };
  }

  async #create(presented: Presented, attempt: number): Promise<TicketCreation> {
    const machine = this.#machine;
    const name = { fingerprint: presented.fingerprint, attempt };
    const fault = await this.asyncCall("tickets.create");
    if (fault !== null) return { kind: "failed", fault };
    const file = machine.createTicket(name);
    if (file === null) return { kind: "exists" };
    const holder = { pid: this.pid, host: "memory", bootId: "boot", pidNamespace: "pid", startTicks: `${this.pid}` };
    const first = encodeEvent({ event: "prepared", atMs: machine.clock.nowMs(), holder, presented });
    const writeFault = await this.#write("ticket.record prepared", file, first);
    if (writeFault !== null) {
      machine.removeTicket(name);
      return { kind: "failed", fault: writeFault };
    }
    const ticket: OpenTicket = {
      isInPlace: () => {
        this.call("ticket.isInPlace");
        return machine.ticketAt(name) === file;
      },
      record: async (event: TicketEvent) => await this.#write(`ticket.record ${event.event}`, file, encodeEvent(event)),
      close: async () => {
        file.isOpen = false;
        await this.asyncCall("ticket.close");
      },
    };
    return { kind: "created", ticket };
  }

  get delegate(): Delegate | null {
    return this.#machine.delegate;
  }

  isCodexRunning(): boolean {
    return this.#machine.isCodexRunning;
  }

  get endpoint(): TokenEndpoint {
    return { shownUrl: "https://memory.test/oauth/token", present: (request) => this.#present(request) };
  }

  async #present(request: TokenRequest): Promise<EndpointReply> {
    const { server } = this.#machine;
    await this.asyncCall("endpoint.connect");
    const reply = server.nextReply();
    if (reply.unsent !== undefined) return { kind: "unsent", cause: reply.unsent };
    if (!(await request.beforeFirstByte())) return { kind: "held-back" };

    await this.asyncCall("endpoint.send");
    const { httpStatus, body } = server.answer(request.refreshToken.reveal(), reply);
    await reply.meanwhile?.();
    await this.asyncCall("endpoint.receive");
    if (reply.unanswered !== undefined) return { kind: "unanswered", cause: reply.unanswered };
    const bytes = Buffer.from(body).subarray(0, reply.breaksAfter);
    const size = Math.max(1, Math.ceil(bytes.length / (reply.pieces ?? 1)));
    for (let at = 0; at === 0 || at < bytes.length; at += size)
      await request.onBody(httpStatus, bytes.subarray(at, at + size));
    const isComplete = reply.breaksAfter === undefined;
    return { kind: "answered", httpStatus, retryAfter: reply.retryAfter ?? null, body: bytes.toString(), isComplete };
  }

  get log(): RefreshPorts["log"] {
    return { write: (_level, _event, message) => this.lines.push(message) };
  }

  get statusSink(): StatusSink {
    return {
      read: () => {
        const last = this.statuses.at(-1);
        return last === undefined ? null : readStatus(JSON.stringify(last));
      },
      write: (status) => {
        const fault = this.call("status.write");
        if (fault === null) this.statuses.push(status);
        return fault;
      },
    };
  }
}

export function makeFault(kind: Fault["kind"], step = "write", code = "ENOSPC"): Fault {
  return { kind, step, path: "/memory", code };
}
