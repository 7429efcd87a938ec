import * as fc from "fast-check";
import { expect, it } from "vitest";
import { MemoryMachine, type ServerReply } from "../support/memory-ports.js";

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
