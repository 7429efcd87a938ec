import { describe, expect, it } from "vitest";
import type { Fault } from "../../src/core/fault.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import type { Rejection } from "../../src/core/grant.js";
import { Secret } from "../../src/core/secret.js";
import type { Presented, Ticket } from "../../src/core/ticket.js";
import type { Clock, CredentialStore, Lock, OpenTicket, Soon, TicketBook } from "../../src/ports.js";

/** A text of auth.json that is a login. */
export function loginText(refreshToken: string): string {
  return JSON.stringify({ auth_mode: "chatgpt", tokens: { refresh_token: refreshToken } }, null, 2);
}

export interface StoreWorld {
  readonly store: CredentialStore;
  /** Puts a text in the store's place as Codex would; null takes it away. */
  put(text: string | null): Soon<void>;
  text(): Soon<string | null>;
  /** The store's mark, when it can know of all that was put; without this the mark as it is. */
  mark?(): Promise<string>;
}

/** A store that needs no redo log. */
const noRedo = (): Promise<Fault | null> => Promise.reject(new Error("a redo log was asked for"));

async function markOf({ store, mark }: StoreWorld): Promise<string> {
  return mark === undefined ? store.changeMark() : await mark();
}

/** What every credential store keeps to. */
export function describeCredentialStore(name: string, open: () => Soon<StoreWorld>): void {
  describe(`a credential store: ${name}`, () => {
    it.each([
      ["absent", null],
      ["empty", ""],
      ["torn", "{"],
      ["unreadable", "[]"],
      ["inert", '{"auth_mode":"apikey"}'],
      ["login", loginText("rt")],
    ])("reads what is %s", async (kind, text) => {
      const { store, put } = await open();
      await put(text);
      expect((await store.read()).kind).toBe(kind);
    });

    it("reads the text that is there, and tells where", async () => {
      const { store, put } = await open();
      await put(loginText("rt-1"));
      const reading = await store.read();
      expect(reading.kind === "login" && reading.credential.refreshToken.reveal()).toBe("rt-1");
      expect(store.location).toMatch(/^\/|^postgres:/);
    });

    it("shows an update the newest text, and writes the whole of what it asks for", async () => {
      const { store, put, text } = await open();
      await put(loginText("rt-1"));
      await store.read();
      await put(loginText("rt-2"));
      const written = `${" ".repeat(100_000)}${loginText("rt-3-é")}`;

      const plan = await store.update((reading) => {
        expect(reading.kind === "login" && reading.credential.refreshToken.reveal()).toBe("rt-2");
        return { kind: "write", text: written };
      }, noRedo);

      expect(plan).toEqual({ kind: "write", text: written });
      expect(await text()).toBe(written);
    });

    it.each([
      [{ kind: "done" }],
      [{ kind: "yield", to: "logout", isCertain: true }],
      [{ kind: "yield", to: "newer-login", isCertain: false }],
      [{ kind: "unclear", problem: "is torn" }],
    ] as const)("writes nothing when an update declines with %j", async (plan) => {
      const { store, put, text } = await open();
      for (const before of [loginText("rt-1"), "{", null]) {
        await put(before);
        expect(await store.update(() => plan, noRedo)).toEqual(plan);
        expect(await text()).toBe(before);
      }
    });

    it("has another mark after every change", async () => {
      const world = await open();
      const { store, put } = world;
      await put(null);
      const marks = [await markOf(world)];
      await put(loginText("rt-1"));
      marks.push(await markOf(world));
      await put(loginText("rt-1, longer"));
      marks.push(await markOf(world));
      await store.update(() => ({ kind: "write", text: loginText("rt-2, again longer") }), noRedo);
      marks.push(await markOf(world));
      expect(new Set(marks).size).toBe(4);
      expect(await markOf(world)).toBe(marks.at(-1));
    });

    it("has the same mark again when the credential is gone again", async () => {
      const world = await open();
      const { put } = world;
      await put(null);
      const mark = await markOf(world);
      await put(loginText("rt"));
      await put(null);
      expect(await markOf(world)).toBe(mark);
    });

    it("expects a commit to work where nothing stands in its way", async () => {
      const { store, put } = await open();
      await put(loginText("rt"));
      expect(await store.preflight()).toBeNull();
      expect(await store.readCredentialsStoreSetting()).toBe("file");
    });
  });
}

export interface BookWorld {
  readonly book: TicketBook;
  /** The same tickets through the eyes of a second program part. */
  readonly again: TicketBook;
}

const PRESENTED: Presented = {
  fingerprint: fingerprint(new Secret("rt-1")),
  accountIds: ["acct-1", "acct-2"],
  stamps: { issuedAtMs: null, lastRefreshMs: 1_700_000_000_000 },
};
const OTHER: Presented = {
  fingerprint: fingerprint(new Secret("rt-2")),
  accountIds: [],
  stamps: { issuedAtMs: null, lastRefreshMs: null },
};

async function create(book: TicketBook, presented = PRESENTED, attempt = 1): Promise<OpenTicket> {
  const creation = await book.create(presented, attempt);
  if (creation.kind !== "created") throw new Error(creation.kind);
  return creation.ticket;
}

async function list(book: TicketBook): Promise<readonly Ticket[]> {
  const listing = await book.list();
  if (listing.kind !== "tickets") throw new Error(listing.kind);
  return [...listing.tickets].sort((a, b) =>
    `${a.fingerprint}${a.attempt}`.localeCompare(`${b.fingerprint}${b.attempt}`),
  );
}

async function only(book: TicketBook): Promise<Ticket> {
  const [ticket, ...more] = await list(book);
  if (ticket === undefined || more.length > 0) throw new Error("not one ticket");
  return ticket;
}

/** What every ticket book keeps to. */
export function describeTicketBook(name: string, open: () => Soon<BookWorld>): void {
  const name1 = { fingerprint: PRESENTED.fingerprint, attempt: 1 };
  const rejection: Rejection = { cause: "reused", httpStatus: 401 };
  const rejected = { event: "rejected", atMs: 7, rejection } as const;

  describe(`a ticket book: ${name}`, () => {
    it("is empty at first", async () => {
      expect(await list((await open()).book)).toEqual([]);
    });

    it("makes one creator of twenty who try at once", async () => {
      const { book, again } = await open();
      const creations = await Promise.all(
        Array.from({ length: 20 }, async (_none, index) => await (index % 2 === 0 ? book : again).create(PRESENTED, 1)),
      );
      const created = creations.flatMap((creation) => (creation.kind === "created" ? [creation.ticket] : []));
      expect(created).toHaveLength(1);
      expect(creations.filter(({ kind }) => kind === "exists")).toHaveLength(19);
      expect(created[0]?.isInPlace()).toBe(true);
      await created[0]?.close();
    });

    it("tells tickets apart by token and number", async () => {
      const { book, again } = await open();
      for (const [presented, attempt] of [
        [PRESENTED, 1],
        [PRESENTED, 2],
        [PRESENTED, 12],
        [OTHER, 1],
      ] as const) {
        await (await create(book, presented, attempt)).close();
      }
      expect((await book.create(PRESENTED, 2)).kind).toBe("exists");
      const names = (await list(again)).map(
        ({ fingerprint: token, attempt }) => `${token === OTHER.fingerprint ? 2 : 1}:${attempt}`,
      );
      expect(names.sort()).toEqual(["1:1", "1:12", "1:2", "2:1"]);
    });

    it("shows at once what is recorded, to everybody", async () => {
      const { book, again } = await open();
      const ticket = await create(book);
      expect(await only(again)).toMatchObject({ ...name1, state: { kind: "prepared" }, life: "alive" });
      expect((await only(again)).prepared?.presented).toEqual(PRESENTED);

      expect(await ticket.record({ event: "dispatched", atMs: 5 })).toBeNull();
      expect((await only(again)).state).toEqual({ kind: "dispatched", atMs: 5, cause: null });

      const body = Buffer.from('{"refresh_token":"rt-new-é"}');
      await ticket.record({ event: "answer", httpStatus: 200, base64: body.subarray(0, 25).toString("base64") });
      expect((await only(again)).state.kind).toBe("dispatched");
      await ticket.record({ event: "answer", httpStatus: 200, base64: body.subarray(25).toString("base64") });
      const { state } = await only(again);
      const granted = state.kind === "answered" && state.result.kind === "granted" ? state.result : null;
      expect(granted?.tokens.refresh_token?.reveal()).toBe("rt-new-é");
      await ticket.close();
      // An earlier cycle's of this very process: nobody is at work with it any more.
      expect((await only(again)).life).toBe("self");
    });

    it("takes an answer larger than the space that it reserved", async () => {
      const { book, again } = await open();
      const ticket = await create(book);
      await ticket.record({ event: "dispatched", atMs: 5 });
      const large = `{"refresh_token":"${"r".repeat(300_000)}"}`;
      for (let at = 0; at < large.length; at += 16_384) {
        const piece = Buffer.from(large.slice(at, at + 16_384));
        expect(await ticket.record({ event: "answer", httpStatus: 200, base64: piece.toString("base64") })).toBeNull();
      }
      await ticket.close();
      expect((await only(again)).state.kind).toBe("answered");
    });

    it("remembers an attempt without an answer", async () => {
      const { book, again } = await open();
      const ticket = await create(book);
      await ticket.record({ event: "dispatched", atMs: 5 });
      await ticket.record({ event: "unanswered", atMs: 6, cause: "deadline" });
      await ticket.close();
      expect((await only(again)).state).toMatchObject({ kind: "unanswered", atMs: 5, cause: expect.any(String) });
    });

    /** A ticket whose journal holds a whole grant. */
    const createAnswered = async (book: TicketBook): Promise<OpenTicket> => {
      const ticket = await create(book);
      const base64 = Buffer.from('{"refresh_token":"rt-new"}').toString("base64");
      await ticket.record({ event: "dispatched", atMs: 5 });
      await ticket.record({ event: "answer", httpStatus: 200, base64 });
      return ticket;
    };

    it("turns a ticket into a latch, and drops its journal", async () => {
      const { book, again } = await open();
      const ticket = await createAnswered(book);

      expect(await book.conclude(name1, rejected)).toBeNull();

      expect(await only(again)).toMatchObject({ ...name1, state: { kind: "rejected", rejection } });
      expect((await only(again)).prepared?.presented).toEqual(PRESENTED);
      expect((await book.create(PRESENTED, 1)).kind).toBe("exists");
      await ticket.close();
      expect(await again.conclude(name1, rejected)).toBeNull();
      expect((await only(book)).state.kind).toBe("rejected");
    });

    it("forgets the answer of an attempt that came to nothing, and keeps that it was dispatched", async () => {
      const { book, again } = await open();
      const ticket = await createAnswered(book);
      await ticket.close();

      expect(await book.conclude(name1, { event: "unanswered", atMs: 6, cause: "bad-body" })).toBeNull();

      expect((await only(again)).state).toMatchObject({ kind: "unanswered", atMs: 5, cause: expect.any(String) });
    });

    it("cannot conclude a ticket that is gone, and says so", async () => {
      expect(await (await open()).book.conclude(name1, rejected)).toMatchObject({ kind: "missing" });
    });

    it("removes what it is told to, and nothing else", async () => {
      const { book, again } = await open();
      for (const attempt of [1, 2, 3]) await (await create(book, PRESENTED, attempt)).close();
      await again.remove([name1, { ...name1, attempt: 3 }, { ...name1, attempt: 99 }]);
      expect((await only(book)).attempt).toBe(2);
      await (await create(book)).close();
      expect(await list(book)).toHaveLength(2);
    });

    it("knows when a ticket was removed, or replaced by another", async () => {
      const { book, again } = await open();
      const ticket = await create(book);
      expect(ticket.isInPlace()).toBe(true);
      await again.remove([name1]);
      expect(ticket.isInPlace()).toBe(false);
      const second = await create(again);
      expect(ticket.isInPlace()).toBe(false);
      expect(second.isInPlace()).toBe(true);

      await ticket.record({ event: "dispatched", atMs: 5 });
      expect((await only(book)).state.kind).toBe("prepared");
      await ticket.close();
      await second.close();
    });
  });
}

export interface LockWorld {
  readonly lock: Lock;
  readonly again: Lock;
  /** What the holder is called. */
  readonly holder: RegExp;
  /** Takes the lock away behind its holder's back, and resolves when the holder can know. */
  compromise(isKnown: () => boolean): Promise<void>;
}

async function hold(lock: Lock) {
  const attempt = await lock.tryAcquire();
  if (attempt.kind !== "held") throw new Error(attempt.kind);
  return attempt.lock;
}

/** What every lock keeps to. */
export function describeLock(name: string, open: () => LockWorld): void {
  describe(`a lock: ${name}`, () => {
    it("lets one in, and names the holder to the others", async () => {
      const { lock, again, holder } = open();
      const held = await hold(lock);
      const attempt = await again.tryAcquire();
      expect(attempt).toMatchObject({ kind: "taken", holder: expect.stringMatching(holder) });
      expect((await lock.tryAcquire()).kind).toBe("taken");
      expect(held.isCompromised()).toBe(false);
      await held.release();
    });

    it("lets the next one in when it is released", async () => {
      const { lock, again } = open();
      for (const each of [lock, again, lock]) {
        const held = await hold(each);
        expect(held.isCompromised()).toBe(false);
        await held.release();
      }
    });

    it("lets one of twenty in who try at once", async () => {
      const { lock, again } = open();
      const attempts = await Promise.all(
        Array.from({ length: 20 }, async (_none, index) => await (index % 2 === 0 ? lock : again).tryAcquire()),
      );
      const held = attempts.flatMap((attempt) => (attempt.kind === "held" ? [attempt.lock] : []));
      expect(held).toHaveLength(1);
      expect(attempts.filter(({ kind }) => kind === "taken")).toHaveLength(19);
      for (const each of held) await each.release();
    });

    it("tells its holder when it was taken away, and is released without an error", async () => {
      const { lock, compromise } = open();
      const held = await hold(lock);
      await compromise(() => held.isCompromised());
      expect(held.isCompromised()).toBe(true);
      await held.release();
      await (await hold(lock)).release();
    });
  });
}

/** What every clock keeps to. */
export function describeClock(name: string, open: () => Clock): void {
  describe(`a clock: ${name}`, () => {
    it("has moved on after a sleep, by no less than it was told", async () => {
      const clock = open();
      const startedMs = clock.nowMs();
      await clock.sleep(30);
      expect(clock.nowMs() - startedMs).toBeGreaterThanOrEqual(29);
    });

    it("does not sleep for nothing, or less", async () => {
      const clock = open();
      await clock.sleep(0);
      await clock.sleep(-1_000_000);
      expect(clock.nowMs()).toBeGreaterThan(0);
    });

    it("wakes early when it is asked to, without an error", async () => {
      const clock = open();
      const wake = new AbortController();
      const sleeping = clock.sleep(2 ** 40, wake.signal);
      wake.abort();
      await sleeping;
      await clock.sleep(2 ** 40, wake.signal);
    });

    it("wakes several sleepers in the order of their times", async () => {
      const clock = open();
      const order: number[] = [];
      const sleepFor = async (ms: number): Promise<void> => {
        await clock.sleep(ms);
        order.push(ms);
      };
      await Promise.all([sleepFor(60), sleepFor(20), sleepFor(40)]);
      expect(order).toEqual([20, 40, 60]);
    });
  });
}
