import * as fc from "fast-check";
import { expect, it } from "vitest";
import { MemoryMachine, type MemoryTokens, type ServerReply } from "../support/memory-ports.js";

/** Dying here, between the rotation and the journaled answer, loses the login: nobody can prevent that. */
const LOSING_CALLS = ["endpoint.receive", "ticket.record answer"];

const crashAtCall = fc.option(fc.integer({ min: 1, max: 40 }), { nil: 0 });

it("presents a token once, and stores the newest, however the steps of several watchdogs interleave", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.integer({ min: 2, max: 4 }), fc.boolean(), async (scheduler, size, lies) => {
      const machine = new MemoryMachine(async (label) => await scheduler.schedule(Promise.resolve(), label));
      machine.doesLockLie = lies;
      machine.logIn();
      const watchdogs = Array.from({ length: size }, () => machine.start());

      await scheduler.waitFor(Promise.all(watchdogs.map((watchdog) => watchdog.run())));

      expect(machine.server.posts).toHaveLength(1);
      expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
      expect(machine.ticketTexts()).toEqual([]);
    }),
    { numRuns: 150 },
  );
});

it("never presents a token that the server has retired, unless an answer was lost, with crashes and a lying lock", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(crashAtCall, { minLength: 2, maxLength: 4 }),
      async (scheduler, crashes) => {
        const machine = new MemoryMachine(async (label) => await scheduler.schedule(Promise.resolve(), label));
        machine.doesLockLie = true;
        machine.logIn();
        const watchdogs = crashes.map((at) => machine.start({ crashAtCall: at, tears: true }));

        await scheduler.waitFor(Promise.all(watchdogs.map((watchdog) => watchdog.runOrDie())));
        const last = machine.start();
        await scheduler.waitFor(last.run());

        const isLost = watchdogs.some(
          (each) => each.deadForMs() !== null && LOSING_CALLS.includes(each.calls.at(-1) ?? ""),
        );
        if (isLost) return;
        expect(machine.server.reuseCount).toBe(0);
        expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
      },
    ),
    { numRuns: 150 },
  );
});

it("never presents a retired token, whatever the server does, in any mix of containers, force and crashes", async () => {
  const program = fc.record({
    crashAtCall: fc.option(fc.integer({ min: 1, max: 40 }), { nil: 0 }),
    tears: fc.boolean(),
    isElsewhere: fc.boolean(),
    isForced: fc.boolean(),
  });
  const reply: fc.Arbitrary<ServerReply> = fc.constantFrom(
    {},
    {},
    { unsent: "ECONNREFUSED" },
    { httpStatus: 503 },
    { httpStatus: 429, retryAfter: "1" },
    { pieces: 3, breaksAfter: 1_000_000 },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(program, { minLength: 2, maxLength: 5 }),
      fc.array(reply, { maxLength: 4 }),
      fc.boolean(),
      async (scheduler, programs, replies, lies) => {
        const machine = new MemoryMachine(async (label) => await scheduler.schedule(Promise.resolve(), label));
        machine.doesLockLie = lies;
        machine.logIn();
        machine.server.script(...replies);
        const watchdogs = programs.map((options) => machine.start(options));
        const runs = watchdogs.map((each, index) => each.runOrDie({ isForced: programs[index]?.isForced === true }));
        await scheduler.waitFor(Promise.all(runs));
        machine.clock.advance(90_000);
        for (let cycle = 0; cycle < 5; cycle += 1) await scheduler.waitFor(machine.start().run());

        const isLost = watchdogs.some(
          (each) => each.deadForMs() !== null && LOSING_CALLS.includes(each.calls.at(-1) ?? ""),
        );
        if (isLost) return;
        expect(machine.server.reuseCount).toBe(0);
        expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
        expect(machine.ticketTexts()).toEqual([]);
      },
    ),
    { numRuns: 200 },
  );
});

interface CodexOptions {
  /** Up to 0.166 it cuts the file and writes it whatever stands there; from 0.169 it keeps a login that has changed. */
  readonly saves: "by truncating" | "by renaming";
  /** Told to refresh though its own window of five minutes has not come. */
  readonly isForced: boolean;
}

/** A Codex that obeys its own rules (CODEX.md, measured on 0.130 and 0.169), and what it has presented. */
async function runCodex(machine: MemoryMachine, options: CodexOptions, presented: string[]): Promise<void> {
  await machine.turn("codex: start");
  const before = machine.read();
  if (before.kind !== "login") return;
  const { accessClaims, refreshToken } = before.credential;
  const isDue = (accessClaims.expiresAtMs ?? 0) <= machine.clock.nowMs() + 300_000;
  if (!isDue && !options.isForced) return;
  await machine.turn("codex: send");
  const token = refreshToken.reveal();
  presented.push(token);
  const { httpStatus, body } = machine.server.answer(token, {});
  await machine.turn("codex: receive");
  if (httpStatus !== 200) return;
  const text = machine.authJson(JSON.parse(body) as MemoryTokens, { lastRefreshAgoMs: 0 });
  if (options.saves === "by renaming") {
    if (machine.storedToken() === token) machine.text = text;
    return;
  }
  for (const part of ["", text.slice(0, text.length / 2), text]) {
    machine.text = part;
    await machine.turn("codex: write");
  }
}

it("presents a token once beside a Codex that obeys its own rules, and leaves a good login", async () => {
  const codex: fc.Arbitrary<CodexOptions> = fc.record({
    saves: fc.constantFrom("by truncating", "by renaming"),
    isForced: fc.boolean(),
  });
  let checkedCount = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(crashAtCall, { minLength: 1, maxLength: 3 }),
      fc.array(codex, { minLength: 1, maxLength: 2 }),
      fc.constantFrom(60, 3_600),
      fc.boolean(),
      async (scheduler, crashes, codices, expiresInSec, lies) => {
        const machine = new MemoryMachine(async (label) => await scheduler.schedule(Promise.resolve(), label));
        machine.doesLockLie = lies;
        machine.logIn({ expiresInSec });
        const byCodex: string[] = [];
        const watchdogs = crashes.map((at) => machine.start({ crashAtCall: at, tears: true }));
        await scheduler.waitFor(
          Promise.all([
            ...watchdogs.map((each) => each.runOrDie()),
            ...codices.map((options) => runCodex(machine, options, byCodex)),
          ]),
        );
        machine.clock.advance(90_000);
        for (let cycle = 0; cycle < 4; cycle += 1) await scheduler.waitFor(machine.start().run());

        const times = (tokens: readonly string[], token: string): number =>
          tokens.filter((each) => each === token).length;
        const { posts } = machine.server;
        const isLost = watchdogs.some(
          (each) => each.deadForMs() !== null && LOSING_CALLS.includes(each.calls.at(-1) ?? ""),
        );
        if (isLost) return;
        for (const token of posts) expect(times(posts, token) - times(byCodex, token)).toBeLessThanOrEqual(1);
        // No lock of anybody's covers Codex's own request: what it presents beside somebody else is burned.
        if (byCodex.some((token) => times(posts, token) > 1)) return;
        checkedCount += 1;
        expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
      },
    ),
    { numRuns: 300 },
  );
  expect(checkedCount).toBeGreaterThan(50);
});

it("presents a token again only after a lost answer, three times at most, and names the loss", async () => {
  const reply: fc.Arbitrary<ServerReply> = fc.constantFrom(
    {},
    { unanswered: "ECONNRESET" },
    { unanswered: "UND_ERR_HEADERS_TIMEOUT" },
    { pieces: 2, breaksAfter: 40 },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(crashAtCall, { minLength: 1, maxLength: 3 }),
      fc.array(reply, { maxLength: 3 }),
      async (scheduler, crashes, replies) => {
        const machine = new MemoryMachine(async (label) => await scheduler.schedule(Promise.resolve(), label));
        const { refresh_token } = machine.logIn();
        machine.server.script(...replies);
        const watchdogs = crashes.map((at) => machine.start({ crashAtCall: at, tears: true }));
        await scheduler.waitFor(Promise.all(watchdogs.map((each) => each.runOrDie())));
        const outcomes = [];
        for (let cycle = 0; cycle < 12; cycle += 1) {
          machine.clock.advance(3_600_000);
          outcomes.push((await scheduler.waitFor(machine.start().run())).outcome);
        }

        const firsts = machine.server.posts.filter((token) => token === refresh_token).length;
        expect(firsts).toBeLessThanOrEqual(3);
        const isAnswerLost = replies.some((each) => each.unanswered !== undefined || each.breaksAfter !== undefined);
        const isLost = watchdogs.some(
          (each) => each.deadForMs() !== null && LOSING_CALLS.includes(each.calls.at(-1) ?? ""),
        );
        if (!isAnswerLost && !isLost) {
          expect(firsts).toBe(1);
          return;
        }
        // The token in the store is spent: the only honest end is to say so, or to wait for the next day's request.
        if (machine.storedToken() === refresh_token && firsts > 1) {
          const last = outcomes.at(-1);
          const end = last?.kind === "login-required" ? last.rejection.cause : last;
          if (end !== "lost-response") expect(end).toMatchObject({ kind: "resting", dispatchCount: 3 });
        }
      },
    ),
    { numRuns: 200 },
  );
});
