import { describe, expect, it } from "vitest";
import type { CycleOutcome } from "../../src/core/outcome.js";
import type { DelegateReply } from "../../src/ports.js";
import { MemoryMachine, makeFault } from "../support/memory-ports.js";

const HOUR_SEC = 3_600;
const DAY_MS = 86_400_000;

/** Due by our margin, and outside the five minutes in which Codex refreshes by itself. */
const DUE = { expiresInSec: HOUR_SEC };
/** Due by its age, for days. */
const OLD = { expiresInSec: 864_000, lastRefreshAgoMs: 8 * DAY_MS };
/** Inside those five minutes. */
const EXPIRING = { expiresInSec: 60 };

const UNCHANGED: DelegateReply = { kind: "asked", cause: "codex-unchanged" };

interface Setup {
  readonly machine: MemoryMachine;
  readonly asked: () => number;
  readonly run: (settings?: object) => Promise<CycleOutcome>;
}

/** A machine with a login, and a Codex that does `act` when it is asked, and answers what that returns. */
function setUp(login: object, act: (machine: MemoryMachine) => DelegateReply): Setup {
  const machine = new MemoryMachine();
  machine.logIn(login);
  let asked = 0;
  machine.delegate = {
    shownName: "a codex",
    preflight: () => null,
    refresh: async () => {
      asked += 1;
      return act(machine);
    },
  };
  const run = async (settings = {}): Promise<CycleOutcome> => (await machine.start().run(settings)).outcome;
  return { machine, asked: () => asked, run };
}

/** Presents the stored token and writes what comes of it, as Codex does. */
function refreshAsCodex(machine: MemoryMachine): void {
  const { httpStatus, body } = machine.server.answer(machine.storedToken() ?? "", {});
  if (httpStatus === 200) machine.text = machine.authJson(JSON.parse(body), { lastRefreshAgoMs: 0 });
}

describe("a refresh by Codex", () => {
  it("is ours in all but the request: ticket before it, no commit, nothing left behind", async () => {
    const { machine, asked, run } = setUp(DUE, () => {
      refreshAsCodex(machine);
      return UNCHANGED; // Its answer counts for nothing: the store tells.
    });
    const seen: string[] = [];
    const delegate = machine.delegate;
    machine.delegate = delegate && {
      ...delegate,
      refresh: async () => {
        seen.push(...machine.ticketTexts());
        return await delegate.refresh();
      },
    };

    expect(await run()).toEqual({
      kind: "refreshed",
      httpStatus: null,
      rotated: ["id_token", "access_token", "refresh_token"],
      isRecovery: false,
    });
    expect(asked()).toBe(1);
    expect(seen).toEqual([expect.stringContaining('"dispatched"')]);
    expect(machine.ticketTexts()).toEqual([]);
    expect(machine.commits).toEqual([]);
    expect(machine.processes[0]?.calls).toContain("store.sync");
    expect(machine.processes[0]?.calls).not.toContain("endpoint.send");
    expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
  });

  it("counts for the brake like one of ours", async () => {
    const { machine, run } = setUp(DUE, () => {
      refreshAsCodex(machine);
      return UNCHANGED;
    });
    machine.server.livesForSec = 1; // Due again at once.
    const first = await machine.start().run();
    machine.clock.advance(1_000);
    const again = await machine.start().run({ readHistory: () => first.history });

    expect(first.outcome.kind).toBe("refreshed");
    expect(again.outcome.kind).toBe("braked");
    expect(machine.server.posts).toHaveLength(1);
    expect(await run({ isForced: true, readHistory: () => first.history })).toMatchObject({ kind: "refreshed" });
  });

  it("is latched when Codex gives the login up, for processes that ask directly as well", async () => {
    const { machine, asked, run } = setUp(DUE, () => ({ kind: "refused" }));

    expect(await run()).toEqual({
      kind: "login-required",
      rejection: { cause: "refused-by-codex", httpStatus: 401 },
      isLatched: false,
    });
    expect(await run()).toMatchObject({ kind: "login-required", isLatched: true });
    expect(asked()).toBe(1);
    machine.delegate = null;
    expect(await run()).toMatchObject({ kind: "login-required", isLatched: true });
    expect(machine.server.posts).toEqual([]);
    machine.logIn(DUE);
    expect(await run()).toMatchObject({ kind: "refreshed" });
  });

  it("adopts what another process saved while Codex was refused", async () => {
    const { machine, run } = setUp(DUE, () => {
      machine.logIn({ expiresInSec: 864_000, lastRefreshAgoMs: 0 });
      return { kind: "refused" };
    });

    expect(await run()).toMatchObject({ kind: "refreshed" });
    expect(machine.ticketTexts()).toEqual([]);
  });

  it.each(["codex-unchanged", "codex-died", "codex-odd", "deadline"])(
    "rests when nobody knows what became of the token (%s), three times a day at most",
    async (cause) => {
      const { machine, asked, run } = setUp(OLD, () => ({ kind: "asked", cause }));

      expect(await run()).toEqual({
        kind: "transient",
        httpStatus: null,
        cause,
        wasSent: true,
        retryAfterMs: 60_000,
      });
      expect(await run()).toMatchObject({ kind: "resting" });
      for (let hours = 1; hours < 24; hours += 1) {
        machine.clock.advance(HOUR_SEC * 1000);
        await run();
      }
      expect(asked()).toBe(3);
      machine.clock.advance(DAY_MS);
      await run();
      expect(asked()).toBe(4);
    },
  );

  it("leaves the token unspent when Codex was not asked, and tries again at the next look", async () => {
    const { machine, asked, run } = setUp(DUE, () => ({ kind: "unasked", cause: "codex-too-old" }));

    for (const times of [1, 2, 3, 4, 5]) {
      expect(await run()).toMatchObject({ kind: "transient", cause: "codex-too-old", wasSent: false });
      expect(asked()).toBe(times);
    }
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("is not Codex's but ours inside its own window, where it would present the token again and again", async () => {
    const { machine, asked, run } = setUp(EXPIRING, () => UNCHANGED);
    // Codex could not save there; we can.
    machine.delegate = machine.delegate && { ...machine.delegate, preflight: () => makeFault("busy-mount") };

    expect(await run()).toMatchObject({ kind: "refreshed", httpStatus: 200 });
    expect(asked()).toBe(0);
    expect(machine.server.posts).toHaveLength(1);
  });

  it("lets a login by somebody else, and a logout, stand", async () => {
    const other = setUp(DUE, (machine) => {
      machine.logIn({ accountId: "acct-other", expiresInSec: 864_000 });
      return UNCHANGED;
    });
    expect(await other.run()).toEqual({ kind: "adopted", from: "newer-login" });

    const out = setUp(DUE, (machine) => {
      machine.text = null;
      return UNCHANGED;
    });
    expect(await out.run()).toEqual({ kind: "absent" });
    expect(out.machine.ticketTexts()).toEqual([]);
  });

  it("is not asked where it could not save", async () => {
    const { machine, asked, run } = setUp(DUE, () => UNCHANGED);
    machine.delegate = machine.delegate && { ...machine.delegate, preflight: () => makeFault("busy-mount") };

    expect(await run()).toMatchObject({ kind: "blocked", fault: { kind: "busy-mount" } });
    expect(asked()).toBe(0);
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("reports a refresh that can't be synced all the same", async () => {
    const machine = new MemoryMachine();
    machine.logIn(DUE);
    const delegate = {
      shownName: "a codex",
      preflight: () => null,
      refresh: async () => {
        refreshAsCodex(machine);
        return UNCHANGED;
      },
    };
    machine.delegate = delegate;
    const watchdog = machine.start({ onCall: (call) => (call === "store.sync" ? makeFault("io") : null) });

    expect((await watchdog.run()).outcome.kind).toBe("refreshed");
    expect(watchdog.lines.join("\n")).toContain("ENOSPC");
  });
});

describe("giving way", () => {
  it("waits for a running Codex inside its own window, and takes what it saves", async () => {
    const machine = new MemoryMachine();
    machine.logIn(EXPIRING);
    machine.isCodexRunning = true;
    const startMs = machine.clock.nowMs();
    const watchdog = machine.start({
      onCall: () => {
        // Its answer comes two seconds later.
        if (machine.clock.nowMs() - startMs >= 2_000 && machine.server.posts.length === 0) refreshAsCodex(machine);
        return null;
      },
    });

    expect((await watchdog.run()).outcome).toEqual({ kind: "adopted", from: "sibling" });
    expect(machine.server.posts).toHaveLength(1);
    expect(machine.server.reuseCount).toBe(0);
    expect(watchdog.calls).not.toContain("tickets.create");
  });

  it("refreshes by itself when that Codex does nothing for 15 seconds", async () => {
    const machine = new MemoryMachine();
    machine.logIn(EXPIRING);
    machine.isCodexRunning = true;
    const startMs = machine.clock.nowMs();

    expect((await machine.start().run()).outcome.kind).toBe("refreshed");
    expect(machine.clock.nowMs() - startMs).toBeGreaterThanOrEqual(15_000);
    expect(machine.clock.nowMs() - startMs).toBeLessThan(20_000);
  });

  it.each([
    ["no Codex runs", EXPIRING, false],
    ["the token is outside Codex's window", DUE, true],
  ])("does not wait when %s", async (_, login, isCodexRunning) => {
    const machine = new MemoryMachine();
    machine.logIn(login);
    machine.isCodexRunning = isCodexRunning;
    const startMs = machine.clock.nowMs();

    expect((await machine.start().run()).outcome.kind).toBe("refreshed");
    expect(machine.clock.nowMs() - startMs).toBeLessThan(1_000);
  });

  it("ends at once when the process is told to end", async () => {
    const machine = new MemoryMachine();
    machine.logIn(EXPIRING);
    machine.isCodexRunning = true;
    const watchdog = machine.start({
      onCall: () => {
        if (machine.clock.nowMs() > startMs) watchdog.stop.abort();
        return null;
      },
    });
    const startMs = machine.clock.nowMs();

    expect((await watchdog.run()).outcome).toEqual({ kind: "stopped" });
    expect(machine.server.posts).toEqual([]);
  });
});
