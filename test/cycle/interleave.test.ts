import { describe, expect, it } from "vitest";
import { type CycleOutcome, reportOutcome } from "../../src/core/outcome.js";
import { MemoryMachine, type MemoryProcess } from "../support/memory-ports.js";

const HOUR_MS = 3_600_000;

/** What somebody else does, whole, between two steps of a watchdog. */
interface Interruption {
  readonly what: string;
  readonly act: (machine: MemoryMachine) => void | Promise<void>;
  /** What the store must hold when everything has come to rest. */
  readonly expectEnd: (machine: MemoryMachine) => void;
}

/** The newest tokens of the login in the store are there, and good. */
function expectGoodLogin(machine: MemoryMachine): void {
  expect(machine.server.isActive(machine.storedToken() ?? ""), "the stored token is good").toBe(true);
  expect(machine.text, "unknown fields are kept").toContain("somebody else");
}

/** The refresh token of the login that a person brought. */
const broughtTokens = new WeakMap<MemoryMachine, string>();

function logInAnew(accountId: string): Interruption["act"] {
  return (machine) => {
    const tokens = machine.logIn({ accountId, expiresInSec: 864_000, lastRefreshAgoMs: 0 });
    broughtTokens.set(machine, tokens.refresh_token);
  };
}

/** A person's login is far from its end: nobody has a reason to touch it. */
function expectBroughtLogin(machine: MemoryMachine): void {
  expect(machine.storedToken()).toBe(broughtTokens.get(machine));
  expectGoodLogin(machine);
}

const API_KEY = JSON.stringify({ auth_mode: "apikey", OPENAI_API_KEY: "sk-somebody" });

const INTERRUPTIONS: readonly Interruption[] = [
  {
    what: "another watchdog runs a cycle",
    act: async (machine) => {
      await machine.start().run();
    },
    expectEnd: expectGoodLogin,
  },
  {
    what: "another container's watchdog runs a cycle",
    act: async (machine) => {
      await machine.start({ isElsewhere: true }).run();
    },
    expectEnd: expectGoodLogin,
  },
  {
    what: "another watchdog is told to refresh in any case",
    act: async (machine) => {
      await machine.start().run({ isForced: true });
    },
    expectEnd: expectGoodLogin,
  },
  { what: "somebody else logs in", act: logInAnew("acct-other"), expectEnd: expectBroughtLogin },
  { what: "the same person logs in anew", act: logInAnew("acct-test"), expectEnd: expectBroughtLogin },
  {
    what: "somebody logs out",
    act: (machine) => {
      machine.text = null;
    },
    expectEnd: (machine) => expect(machine.text).toBeNull(),
  },
  {
    what: "somebody switches to an API key",
    act: (machine) => {
      machine.text = API_KEY;
    },
    expectEnd: (machine) => expect(machine.text).toBe(API_KEY),
  },
];

/** A machine whose login is due, and on which `act` happens at the step `at` of the first process, counted from 1. */
function setUp(interruption: Interruption | null, at: number): { machine: MemoryMachine; steps: () => number } {
  let steps = 0;
  let isInside = false;
  const machine: MemoryMachine = new MemoryMachine(async () => {
    if (isInside) return;
    steps += 1;
    if (steps !== at || interruption === null) return;
    isInside = true;
    await interruption.act(machine);
    isInside = false;
  });
  machine.logIn({ expiresInSec: 3_600 });
  return { machine, steps: () => steps };
}

async function stepsOfCycle(): Promise<number> {
  const { machine, steps } = setUp(null, 0);
  await machine.start().run();
  return steps();
}

async function comeToRest(machine: MemoryMachine): Promise<CycleOutcome> {
  const watchdog: MemoryProcess = machine.start();
  for (let cycle = 0; cycle < 10; cycle += 1) {
    const { outcome } = await watchdog.run();
    if (![2, 4].includes(reportOutcome(outcome, "auth.json").exitCode)) return outcome;
    machine.clock.advance(HOUR_MS);
  }
  throw new Error("not at rest after 10 cycles");
}

describe.each(INTERRUPTIONS)("while $what", (interruption) => {
  it.each([
    ["and the lock holds", false],
    ["and the lock lies", true],
  ])(
    "between any two steps of a refresh, %s, no token is presented twice and the right login stands",
    async (_how, lies) => {
      const steps = await stepsOfCycle();
      expect(steps).toBeGreaterThan(10);
      for (let at = 1; at <= steps; at += 1) {
        const { machine } = setUp(interruption, at);
        machine.doesLockLie = lies;
        await machine.start().run();
        await comeToRest(machine);

        const { posts } = machine.server;
        expect(posts.length, `step ${at}: presented once each`).toBe(new Set(posts).size);
        expect(machine.server.reuseCount, `step ${at}`).toBe(0);
        interruption.expectEnd(machine);
      }
    },
  );
});

it("presents nothing that has left the store while its connection was made", async () => {
  const { machine } = setUp(null, 0);
  const tokens = { before: machine.storedToken(), after: "" };
  const watchdog = machine.start({
    onCall: (call) => {
      if (call === "endpoint.connect") tokens.after = machine.logIn({ accountId: "acct-other" }).refresh_token;
      return null;
    },
  });
  expect((await watchdog.run()).outcome).toEqual({ kind: "adopted", from: "newer-login" });
  expect(machine.server.posts).toEqual([]);
  expect(machine.storedToken()).toBe(tokens.after);
});

it("does not let a restored backup beat what was granted meanwhile", async () => {
  const machine = new MemoryMachine();
  machine.logIn({ expiresInSec: 600, lastRefreshAgoMs: 40 * HOUR_MS });
  const backup = machine.text;
  await machine.start().run();
  machine.clock.advance(20 * 24 * HOUR_MS);
  machine.server.script({
    meanwhile: () => {
      machine.text = backup;
    },
  });
  expect((await machine.start().run()).outcome.kind).toBe("refreshed");
  expectGoodLogin(machine);
  expect(machine.server.reuseCount).toBe(0);
});

/** Opens once, for whoever waits at it. */
class Gate {
  open = (): void => undefined;
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });
}

/**
 * The first process stops before it says "dispatched", for so long that a second takes it for dead; it goes on when the
 * second has come to `secondWaitsAt`, and the clock was set back meanwhile: nothing tells it how late it is.
 */
describe("a process that was taken for dead and goes on", () => {
  it.each([
    ["gives way to the ticket of its successor", "2: endpoint.send", null],
    ["is given way to when it has gone too far", "2: tickets.create", "1: endpoint.send"],
  ])("%s", async (_what, secondWaitsAt, firstWaitsAt) => {
    const [arrived, released] = [new Gate(), new Gate()];
    let second: Promise<unknown> = Promise.resolve();
    const machine: MemoryMachine = new MemoryMachine(async (label) => {
      if (label === "1: ticket.record dispatched") {
        machine.clock.advance(60_000);
        second = machine.start().run();
        await arrived.opened;
        machine.clock.advance(-60_000);
      }
      if (label === secondWaitsAt) {
        arrived.open();
        await released.opened;
      }
      if (label === firstWaitsAt) {
        released.open();
        await second;
      }
    });
    machine.doesLockLie = true;
    const { refresh_token } = machine.logIn();

    await machine.start().run();
    released.open();
    await second;
    expect(machine.server.posts).toEqual([refresh_token]);
    expectGoodLogin(machine);
    expect(machine.ticketTexts()).toEqual([]);
  });
});
