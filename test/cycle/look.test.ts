import { expect, it } from "vitest";
import { MemoryMachine } from "../support/memory-ports.js";

const DAY_SEC = 86_400;

it("leaves a fresh login alone: no lock, no ticket, no request", async () => {
  const machine = new MemoryMachine();
  machine.logIn({ expiresInSec: 10 * DAY_SEC });
  const before = machine.text;
  const watchdog = machine.start();

  const { outcome } = await watchdog.run();

  expect(outcome).toEqual({ kind: "fresh", expiresInSec: 10 * DAY_SEC, ageSec: 3_600 });
  expect(new Set(watchdog.calls)).toEqual(new Set(["store.read", "tickets.list"]));
  expect(machine.text).toBe(before);
  expect(machine.server.posts).toEqual([]);
});

it("does not even load the refresh for a fresh login", async () => {
  const machine = new MemoryMachine();
  machine.logIn({ expiresInSec: 10 * DAY_SEC });
  const watchdog = machine.start();
  const { runCycle } = await import("../../src/cycle.js");
  const settings = {
    policy: { safetyMarginSec: 1, staleAfterSec: DAY_SEC },
    isOwner: true,
    isForced: false,
    lockWaitMs: 0,
    minRefreshIntervalMs: 0,
    readHistory: () => null,
  };
  const openRefreshPorts = (): never => {
    throw new Error("asked for the refresh ports");
  };

  const { outcome } = await runCycle(watchdog, openRefreshPorts, { ...settings, stop: watchdog.stop.signal });

  expect(outcome.kind).toBe("fresh");
});

it.each([
  ["no file", null, { kind: "absent" }],
  ["an empty file", "", { kind: "absent" }],
  [
    "half a file",
    '{"tokens": {"refresh_to',
    { kind: "unreadable", problem: expect.stringContaining("is not complete JSON") },
  ],
  ["an API key", '{"OPENAI_API_KEY":"sk-made-up"}', { kind: "inert", reason: "auth_mode=apikey" }],
  ["external tokens", '{"auth_mode":"chatgptAuthTokens"}', { kind: "inert", reason: "auth_mode=chatgptAuthTokens" }],
  ["a follower's login", '{"tokens":{"refresh_token":""}}', { kind: "inert", reason: "no_refresh_token" }],
])("ends the cycle at the look for %s", async (_what, text, expected) => {
  const machine = new MemoryMachine();
  machine.text = text;
  const watchdog = machine.start();

  const { outcome } = await watchdog.run({ isForced: true });

  expect(outcome).toEqual(expected);
  expect(watchdog.calls.filter((call) => !/^(store.read|tickets.list|clock.sleep)$/.test(call))).toEqual([]);
  expect(machine.text).toBe(text);
});

it("waits for a writer that is in the middle of its write", async () => {
  const machine = new MemoryMachine();
  machine.logIn({ expiresInSec: 10 * DAY_SEC });
  const whole = machine.text;
  machine.text = whole?.slice(0, 40) ?? "";
  let reads = 0;
  const watchdog = machine.start({
    onCall: (call) => {
      reads += call === "store.read" ? 1 : 0;
      if (reads === 3) machine.text = whole;
      return null;
    },
  });

  expect((await watchdog.run()).outcome.kind).toBe("fresh");
});

it("gives a torn file half a second, then says so", async () => {
  const machine = new MemoryMachine();
  machine.text = "{";
  const startedMs = machine.clock.nowMs();

  const { outcome } = await machine.start().run();

  expect(outcome.kind).toBe("unreadable");
  expect(machine.clock.nowMs() - startedMs).toBe(500);
});

it("leaves a login alone that Codex keeps in a keyring", async () => {
  const machine = new MemoryMachine();
  machine.logIn();
  machine.storeSetting = "keyring";
  const watchdog = machine.start();

  expect((await watchdog.run()).outcome).toEqual({ kind: "other-store", setting: "keyring" });
  expect(watchdog.calls).not.toContain("lock.tryAcquire");
  expect(machine.server.posts).toEqual([]);
});
