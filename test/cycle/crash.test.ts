import { describe, expect, it } from "vitest";
import { type CycleOutcome, reportOutcome } from "../../src/core/outcome.js";
import { MemoryMachine, type MemoryProcess, type ProcessOptions, type ServerReply } from "../support/memory-ports.js";

/** Between these calls the server has rotated, and the answer is in no file: the one loss that nobody can prevent. */
const LOSING_CALLS = ["endpoint.receive", "ticket.record answer"];

/** After this every lock is stale, and no ticket counts as in flight. */
const LONG_ENOUGH_MS = 90_000;

/** The port calls of a due cycle that nothing disturbs. */
async function callsOfDueCycle(reply: ServerReply): Promise<readonly string[]> {
  const machine = new MemoryMachine();
  machine.logIn();
  machine.server.script(reply);
  const watchdog = machine.start();
  await watchdog.run();
  return watchdog.calls;
}

/** Runs cycles, as the loop does, until one of them settles the login. */
async function runToTheEnd(machine: MemoryMachine, watchdog: MemoryProcess): Promise<CycleOutcome> {
  for (let cycle = 0; cycle < 20; cycle += 1) {
    const { outcome } = await watchdog.run();
    if (![2, 4].includes(reportOutcome(outcome, "auth.json").exitCode)) return outcome;
    machine.clock.advance(60_000);
  }
  throw new Error("the login is still not settled after 20 cycles");
}

interface Walk {
  readonly what: string;
  readonly reply: ServerReply;
  readonly first: ProcessOptions;
  readonly second: ProcessOptions;
}

const WALKS: readonly Walk[] = [
  { what: "on the same machine", reply: {}, first: {}, second: {} },
  { what: "that leaves half a line behind", reply: {}, first: { tears: true }, second: {} },
  { what: "in another container", reply: {}, first: { isElsewhere: true }, second: {} },
  {
    what: "in another container, that leaves half a line behind",
    reply: {},
    first: { isElsewhere: true, tears: true },
    second: { isElsewhere: true },
  },
  { what: "while the answer comes in pieces", reply: { pieces: 3 }, first: { tears: true }, second: {} },
];

describe.each(WALKS)("a crash $what", ({ reply, first, second }) => {
  it("loses no login outside the one window, wherever it strikes", async () => {
    const calls = await callsOfDueCycle(reply);
    expect(calls).toContain("store.update");

    for (const [index, call] of calls.entries()) {
      const machine = new MemoryMachine();
      const tokens = machine.logIn();
      machine.server.script(reply);
      const dying = machine.start({ ...first, crashAtCall: index + 1 });
      expect(await dying.runOrDie()).toBeNull();

      const outcome = await runToTheEnd(machine, machine.start(second));

      const where = `crash at call ${index + 1}: ${call}`;
      const { posts } = machine.server;
      const isLost = LOSING_CALLS.includes(call);
      const mayHaveSent = isLost || call === "endpoint.send";
      expect(posts.filter((token) => token === tokens.refresh_token).length, where).toBeLessThanOrEqual(isLost ? 2 : 1);
      expect(new Set(posts).size, where).toBe(1);
      if (!mayHaveSent) expect(machine.server.reuseCount, where).toBe(0);
      if (isLost) {
        expect(outcome.kind, where).toBe("login-required");
        continue;
      }
      expect(["refreshed", "fresh", "adopted"], where).toContain(outcome.kind);
      expect(machine.server.isActive(machine.storedToken() ?? ""), where).toBe(true);
    }
  });

  it("leaves nothing behind once the login is refreshed", async () => {
    const calls = await callsOfDueCycle(reply);
    for (const [index, call] of calls.entries()) {
      if (LOSING_CALLS.includes(call)) continue;
      const machine = new MemoryMachine();
      machine.logIn();
      machine.server.script(reply);
      await machine.start({ ...first, crashAtCall: index + 1 }).runOrDie();
      await runToTheEnd(machine, machine.start(second));

      expect(machine.ticketTexts(), `crash at call ${index + 1}: ${call}`).toEqual([]);
    }
  });
});

describe("a crash of the process that recovers", () => {
  it("loses nothing either, wherever both strike", async () => {
    const calls = await callsOfDueCycle({});
    for (const firstCrash of calls.keys()) {
      if (LOSING_CALLS.includes(calls[firstCrash] ?? "")) continue;
      for (let secondCrash = 1; secondCrash < 60; secondCrash += 1) {
        const machine = new MemoryMachine();
        machine.logIn();
        await machine.start({ crashAtCall: firstCrash + 1, tears: true }).runOrDie();
        machine.clock.advance(LONG_ENOUGH_MS);
        const second = machine.start({ crashAtCall: secondCrash, tears: true });
        const ended = await second.runOrDie();
        const lastCall = second.calls.at(-1) ?? "";
        if (ended === null && LOSING_CALLS.includes(lastCall)) continue;
        machine.clock.advance(LONG_ENOUGH_MS);

        await runToTheEnd(machine, machine.start());

        const where = `crashes at ${calls[firstCrash]} (${firstCrash + 1}) and ${lastCall} (${secondCrash})`;
        expect(machine.server.reuseCount, where).toBe(0);
        expect(machine.server.isActive(machine.storedToken() ?? ""), where).toBe(true);
        if (ended !== null) break;
      }
    }
  });
});
