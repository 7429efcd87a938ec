import { describe, expect, it } from "vitest";
import { fingerprint } from "../../src/core/fingerprint.js";
import type { CycleOutcome } from "../../src/core/outcome.js";
import { Secret } from "../../src/core/secret.js";
import { MemoryMachine, type MemoryProcess, type MemoryTokens, makeFault } from "../support/memory-ports.js";

const HOUR_MS = 3_600_000;
const DAY_SEC = 86_400;

interface Setup {
  readonly machine: MemoryMachine;
  readonly tokens: MemoryTokens;
  readonly watchdog: MemoryProcess;
}

/** A machine with a login that is due, and one watchdog. */
function setUpDue(onCall?: (call: string, machine: MemoryMachine) => ReturnType<typeof makeFault> | null): Setup {
  const machine = new MemoryMachine();
  const tokens = machine.logIn();
  const watchdog = machine.start(onCall === undefined ? {} : { onCall: (call) => onCall(call, machine) });
  return { machine, tokens, watchdog };
}

async function outcomeOf(watchdog: MemoryProcess, settings = {}): Promise<CycleOutcome> {
  return (await watchdog.run(settings)).outcome;
}

function storedDocument(machine: MemoryMachine): Record<string, unknown> & { tokens: Record<string, string> } {
  return JSON.parse(machine.text ?? "null");
}

function count(watchdog: MemoryProcess, name: string): number {
  return watchdog.calls.filter((call) => call === name).length;
}

describe("a due login", () => {
  it("is refreshed by one request and one commit, and leaves no ticket", async () => {
    const { machine, tokens, watchdog } = setUpDue();

    const outcome = await outcomeOf(watchdog);

    expect(outcome).toEqual({
      kind: "refreshed",
      httpStatus: 200,
      rotated: ["id_token", "access_token", "refresh_token"],
      isRecovery: false,
    });
    expect(machine.server.posts).toEqual([tokens.refresh_token]);
    expect(machine.commits).toHaveLength(1);
    expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
    expect(machine.ticketTexts()).toEqual([]);
    expect(storedDocument(machine)["last_refresh"]).toBe(new Date(machine.clock.nowMs()).toISOString());
    expect(storedDocument(machine)["kept"]).toEqual({ by: "somebody else" });
    expect(storedDocument(machine).tokens["account_id"]).toBe("acct-test");
  });

  it("is written to the ticket before the first byte leaves, and the answer before the store", async () => {
    const { watchdog } = setUpDue();
    await outcomeOf(watchdog);

    const steps = ["tickets.create", "ticket.record prepared", "ticket.record dispatched", "endpoint.send"];
    const later = ["ticket.record answer", "store.update", "tickets.remove", "lock.release"];
    const places = [...steps, ...later].map((step) => watchdog.calls.indexOf(step));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places).not.toContain(-1);
  });

  it("is fresh for the next cycle", async () => {
    const { machine, watchdog } = setUpDue();
    await outcomeOf(watchdog);

    expect((await outcomeOf(machine.start())).kind).toBe("fresh");
    expect(machine.server.posts).toHaveLength(1);
  });

  it("keeps the tokens that the answer leaves out", async () => {
    const { machine, tokens, watchdog } = setUpDue();
    machine.server.script({ omits: ["id_token"] });

    expect(await outcomeOf(watchdog)).toMatchObject({ kind: "refreshed", rotated: ["access_token", "refresh_token"] });
    expect(storedDocument(machine).tokens["id_token"]).toBe(tokens.id_token);
  });

  it("is refreshed though fresh when a person asks for it, once", async () => {
    const machine = new MemoryMachine();
    machine.logIn({ expiresInSec: 10 * DAY_SEC });

    expect((await outcomeOf(machine.start(), { isForced: true })).kind).toBe("refreshed");
    expect(machine.server.posts).toHaveLength(1);
  });
});

describe("another process at work", () => {
  it("is waited for, and its tokens are adopted without a request of our own", async () => {
    const { machine, watchdog } = setUpDue();
    const others = Array.from({ length: 9 }, () => machine.start());

    const outcomes = await Promise.all([watchdog, ...others].map((each) => outcomeOf(each)));

    expect(outcomes.filter(({ kind }) => kind === "refreshed")).toHaveLength(1);
    expect(outcomes.filter(({ kind }) => kind === "adopted" || kind === "fresh")).toHaveLength(9);
    expect(machine.server.posts).toHaveLength(1);
  });

  it("is waited for by its ticket, even when the lock lets everybody in", async () => {
    const { machine, watchdog } = setUpDue();
    machine.doesLockLie = true;
    const others = Array.from({ length: 9 }, () => machine.start());

    const outcomes = await Promise.all([watchdog, ...others].map((each) => outcomeOf(each)));

    expect(outcomes.filter(({ kind }) => kind === "refreshed")).toHaveLength(1);
    expect(machine.server.posts).toHaveLength(1);
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("spends one token for several forced runs at once", async () => {
    const machine = new MemoryMachine();
    machine.doesLockLie = true;
    machine.logIn({ expiresInSec: 10 * DAY_SEC });
    const watchdogs = Array.from({ length: 5 }, () => machine.start());

    await Promise.all(watchdogs.map((each) => outcomeOf(each, { isForced: true })));

    expect(machine.server.posts).toHaveLength(1);
    expect(machine.server.reuseCount).toBe(0);
  });

  it("is named when it holds the lock for longer than we wait", async () => {
    const { machine, watchdog } = setUpDue();
    const holder = machine.start();
    await holder.lock.tryAcquire();

    const startedMs = machine.clock.nowMs();
    expect(await outcomeOf(watchdog, { lockWaitMs: 1_000 })).toEqual({ kind: "busy", holder: holder.shownAs });
    expect(machine.clock.nowMs() - startedMs).toBe(1_000);
    expect(machine.server.posts).toEqual([]);
  });

  it("is named when its ticket is in flight for longer than we wait", async () => {
    const { machine, watchdog } = setUpDue();
    machine.doesLockLie = true;
    let outcome: CycleOutcome | null = null;
    machine.server.script({
      meanwhile: async () => {
        outcome = await outcomeOf(machine.start(), { lockWaitMs: 1_000 });
      },
    });

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect(outcome).toEqual({ kind: "busy", holder: watchdog.shownAs });
    expect(machine.server.posts).toHaveLength(1);
  });

  it("has its lock taken over when it died", async () => {
    const { machine, watchdog } = setUpDue();
    const holder = machine.start();
    await holder.lock.tryAcquire();
    holder.die();

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
  });

  it("is recognised by its rotation while we wait for the lock", async () => {
    const { machine, watchdog } = setUpDue();
    await machine.start().lock.tryAcquire();
    let looks = 0;
    const waiting = machine.start({
      onCall: (call) => {
        looks += call === "store.read" ? 1 : 0;
        if (looks === 3) machine.logIn({ expiresInSec: 10 * DAY_SEC });
        return null;
      },
    });

    expect(await outcomeOf(waiting)).toEqual({ kind: "adopted", from: "sibling" });
    expect(watchdog.calls).toEqual([]);
  });

  it("that rotated between our reading and our ticket makes us give the ticket back", async () => {
    const { machine, watchdog } = setUpDue((call, on) => {
      if (call === "ticket.record prepared") on.logIn({ expiresInSec: 10 * DAY_SEC });
      return null;
    });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "adopted", from: "sibling" });
    expect(machine.server.posts).toEqual([]);
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("on another host is trusted for the time of a request, then its ticket is passed over", async () => {
    const machine = new MemoryMachine();
    const tokens = machine.logIn();
    const remote = machine.start({ isElsewhere: true });
    machine.doesLockLie = true;
    machine.server.script({ meanwhile: () => remote.die() });
    expect(await remote.runOrDie()).toBeNull();
    expect(machine.server.posts).toEqual([tokens.refresh_token]);

    const early = machine.start();
    expect((await outcomeOf(early, { lockWaitMs: 60_000 })).kind).toBe("busy");
    expect(machine.server.posts).toHaveLength(1);
    machine.clock.advance(31_000);
    await outcomeOf(machine.start());
    expect(machine.server.posts).toHaveLength(2);
  });
});

describe("a fresh login", () => {
  it("is not taken for one that is due again when a sibling's answer is still being cleared away", async () => {
    const { machine, tokens } = setUpDue();
    const failing = machine.start({ onCall: (call) => (call === "store.update" ? makeFault("io") : null) });
    expect((await outcomeOf(failing)).kind).toBe("unsaved");
    const [ticket = ""] = machine.ticketTexts();
    const saving = await machine.start().run();
    expect(saving.outcome.kind).toBe("refreshed");

    // A third one sees the new login, and the ticket that the second has not taken away yet.
    machine.replaceTicket({ fingerprint: fingerprint(new Secret(tokens.refresh_token)), attempt: 1 }, ticket);
    let looks = 0;
    const third = machine.start({
      onCall: (call) => {
        if (call === "tickets.list" && ++looks === 2) machine.dropTickets();
        return null;
      },
    });

    expect(await outcomeOf(third, { readHistory: () => saving.history })).toEqual({ kind: "adopted", from: "sibling" });
    expect(machine.server.posts).toHaveLength(1);
  });
});

describe("before the first byte", () => {
  it("a stop holds the request back and gives the ticket back", async () => {
    const { machine, watchdog } = setUpDue((call) => {
      if (call === "endpoint.connect") watchdog.stop.abort();
      return null;
    });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "stopped" });
    expect(machine.server.posts).toEqual([]);
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("a stop before the ticket leaves nothing behind", async () => {
    const { machine, watchdog } = setUpDue();
    watchdog.stop.abort();

    expect(await outcomeOf(watchdog)).toEqual({ kind: "stopped" });
    expect(watchdog.calls).not.toContain("tickets.create");
    expect(machine.server.posts).toEqual([]);
  });

  it("a stop ends the wait for the lock", async () => {
    const { machine, watchdog } = setUpDue((call) => {
      if (call === "clock.sleep") watchdog.stop.abort();
      return null;
    });
    await machine.start().lock.tryAcquire();

    expect(await outcomeOf(watchdog)).toEqual({ kind: "stopped" });
  });

  it("a lock that was taken over holds the request back", async () => {
    const { machine, watchdog } = setUpDue((call, on) => {
      if (call === "endpoint.connect") on.compromiseLock();
      return null;
    });

    expect((await outcomeOf(watchdog)).kind).toBe("busy");
    expect(machine.server.posts).toEqual([]);
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("a ticket that was taken away holds the request back", async () => {
    const { machine, watchdog } = setUpDue((call, on) => {
      if (call === "endpoint.connect") on.dropTickets();
      return null;
    });

    expect((await outcomeOf(watchdog)).kind).toBe("busy");
    expect(machine.server.posts).toEqual([]);
  });

  it("a connection that took longer than its ticket can be trusted holds the request back", async () => {
    const { machine, watchdog } = setUpDue((call, on) => {
      if (call === "endpoint.connect") on.clock.advance(30_001);
      return null;
    });

    expect((await outcomeOf(watchdog)).kind).toBe("busy");
    expect(machine.server.posts).toEqual([]);
  });

  it("a pause between the ticket and the request lets nobody present the token twice", async () => {
    // Two containers: neither can tell whether the other's process lives. The first is frozen right after it
    // created its ticket; 100 s later the second passes over it, and the first wakes up during the second's request.
    let resume = (): void => undefined;
    const secondIsSending = new Promise<void>((resolve) => {
      resume = resolve;
    });
    let isPaused = false;
    const machine = new MemoryMachine(async (label) => {
      if (label !== "1: ticket.record prepared" || isPaused) return;
      isPaused = true;
      await secondIsSending;
    });
    machine.doesLockLie = true;
    machine.logIn();
    const first = machine.start({ isElsewhere: true });
    const second = machine.start({ isElsewhere: true });
    const firstRun = outcomeOf(first);
    await new Promise((resolve) => setImmediate(resolve));
    machine.clock.advance(100_000);
    machine.server.script({
      meanwhile: async () => {
        resume();
        await firstRun;
      },
    });

    const secondOutcome = await outcomeOf(second);

    expect(machine.server.posts).toHaveLength(1);
    expect(machine.server.reuseCount).toBe(0);
    expect(secondOutcome.kind).toBe("refreshed");
  });

  it.each([
    ["lock.tryAcquire", "EACCES"],
    ["tickets.list", "EACCES"],
    ["store.preflight", "EROFS"],
    ["tickets.create", "ENOSPC"],
    ["ticket.record prepared", "ENOSPC"],
    ["ticket.record dispatched", "EIO"],
  ])("a refusal of %s costs no request", async (step, code) => {
    const fault = makeFault("io", "do it", code);
    const { machine, watchdog, tokens } = setUpDue((call) => (call === step ? fault : null));

    expect(await outcomeOf(watchdog)).toEqual({ kind: "blocked", fault });
    expect(machine.server.posts).toEqual([]);
    expect(machine.storedToken()).toBe(tokens.refresh_token);
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("a connection that fails gives the ticket back, so that the next try is free", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script(
      { unsent: "ECONNREFUSED" },
      { unsent: "ENOTFOUND" },
      { unsent: "ETIMEDOUT" },
      { unsent: "X" },
    );

    for (const cause of ["ECONNREFUSED", "ENOTFOUND", "ETIMEDOUT", "X"]) {
      const transient = { kind: "transient", httpStatus: null, cause, wasSent: false, retryAfterMs: null };
      expect(await outcomeOf(watchdog)).toEqual(transient);
      expect(machine.ticketTexts()).toEqual([]);
    }
    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
  });

  it("a login that nests too deeply to be rewritten is not spent", async () => {
    const { machine, watchdog } = setUpDue();
    const depth = 100_000;
    const nested = `${"[".repeat(depth)}${"]".repeat(depth)}`;
    machine.text = machine.text?.replace('"kept"', `"deep": ${nested}, "kept"`) ?? "";

    expect((await outcomeOf(watchdog)).kind).toBe("unreadable");
    expect(machine.server.posts).toEqual([]);
  });
});

describe("an answer that settles nothing", () => {
  it.each([
    [429, "rate-limit"],
    [503, "unavailable"],
    [403, "refused"],
    [404, "refused"],
    [307, "redirect"],
  ])("%i gives the ticket back: the server did not act", async (httpStatus, cause) => {
    const { machine, watchdog, tokens } = setUpDue();
    machine.server.script({ httpStatus, retryAfter: "120" });

    const expected = { kind: "transient", httpStatus, cause, wasSent: false, retryAfterMs: 120_000 };
    expect(await outcomeOf(watchdog)).toEqual(expected);
    expect(machine.ticketTexts()).toEqual([]);
    expect(machine.storedToken()).toBe(tokens.refresh_token);
    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
  });

  it.each([
    ["no answer in time", { unanswered: "deadline" }, { httpStatus: null, cause: "deadline" }],
    ["a 500", { httpStatus: 500 }, { httpStatus: 500, cause: "server-error" }],
    ["a 502 page", { httpStatus: 502, body: "<html>" }, { httpStatus: 502, cause: "server-error" }],
    ["a 200 that nobody can read", { body: "<html>" }, { httpStatus: 200, cause: "bad-body" }],
  ])("%s keeps the ticket: the token may be spent", async (_what, reply, expected) => {
    const { machine, watchdog, tokens } = setUpDue();
    machine.server.script(reply);

    const common = { kind: "transient", wasSent: true, retryAfterMs: 60_000 };
    expect(await outcomeOf(watchdog)).toEqual({ ...common, ...expected });
    expect(machine.ticketTexts()).toHaveLength(1);
    expect(machine.storedToken()).toBe(tokens.refresh_token);
    expect(await outcomeOf(machine.start())).toMatchObject({ kind: "resting", dispatchCount: 1 });
    expect(machine.server.posts).toHaveLength(1);
  });

  it.each([
    ["no answer", { unanswered: "ECONNRESET", httpStatus: 500 }],
    ["half an answer", { httpStatus: 200, body: '{"access_token":"half', breaksAfter: 21 }],
  ])("%s is asked for once more within two seconds, and then after a minute", async (_what, reply) => {
    const { machine, watchdog } = setUpDue();
    machine.server.script(reply, reply, {});
    const startMs = machine.clock.nowMs();

    expect(await outcomeOf(watchdog)).toMatchObject({ kind: "transient", wasSent: true, retryAfterMs: 60_000 });
    expect(machine.server.posts).toHaveLength(2);
    expect(machine.clock.nowMs() - startMs).toBeLessThanOrEqual(2_000);
    expect((await outcomeOf(watchdog)).kind).toBe("resting");
    machine.clock.advance(60_000);
    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
  });

  it("is not asked for again by a process that was told to stop", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script({ unanswered: "ECONNRESET", httpStatus: 500, meanwhile: () => watchdog.stop.abort() });

    expect(await outcomeOf(watchdog)).toMatchObject({ kind: "transient", wasSent: true });
    expect(machine.server.posts).toHaveLength(1);
  });

  it("is saved when its refresh token had arrived whole", async () => {
    const { machine, watchdog, tokens } = setUpDue();
    const body = { refresh_token: "rt-new", access_token: "at-new" };
    machine.server.script({ httpStatus: 200, body, breaksAfter: JSON.stringify(body).length - 4 });

    expect(await outcomeOf(watchdog)).toMatchObject({ kind: "refreshed", rotated: ["refresh_token"] });
    expect(machine.storedToken()).toBe("rt-new");
    expect(machine.text).toContain(tokens.access_token);
  });

  it("is kept aside when nothing says whether a login that appeared meanwhile is newer", async () => {
    const { machine, watchdog } = setUpDue();
    const other = JSON.stringify({ tokens: { refresh_token: "rt-of-unknown-age", access_token: "opaque" } });
    machine.server.script({
      meanwhile: () => {
        machine.text = other;
      },
    });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "adopted", from: "newer-login" });
    expect(machine.text).toBe(other);
    expect(machine.setAside()).toHaveLength(1);
    expect(machine.ticketTexts()).toEqual([]);
    machine.server.script({ body: { refresh_token: "rt-next" } });
    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect(machine.setAside()).toEqual([]);
  });

  it("is written in place where the store can't be replaced, and a torn write is completed", async () => {
    const { machine } = setUpDue();
    machine.isInPlace = true;
    const dying = machine.start();
    await dying.run();
    const at = dying.calls.indexOf("store.overwrite") + 1;
    expect(at).toBeGreaterThan(0);

    const second = new MemoryMachine();
    second.isInPlace = true;
    second.logIn();
    await second.start({ crashAtCall: at }).runOrDie();
    expect(second.commits).toEqual([]);
    expect(second.server.isActive(second.storedToken() ?? "")).toBe(false);
    expect((await outcomeOf(second.start())).kind).toBe("refreshed");
    expect(second.server.isActive(second.storedToken() ?? "")).toBe(true);
    expect(second.text).toContain("somebody else");
  });

  it("is asked for three times a day at most, by all processes together", async () => {
    const { machine } = setUpDue();
    const silent = { httpStatus: 500 };
    machine.server.script(silent, silent, silent, silent, silent);
    const firstMs = machine.clock.nowMs();

    const kinds: string[] = [];
    for (let run = 0; run < 5; run += 1) {
      kinds.push((await outcomeOf(machine.start())).kind);
      machine.clock.advance(HOUR_MS);
    }
    expect(kinds).toEqual(["transient", "transient", "transient", "resting", "resting"]);
    expect(machine.server.posts).toHaveLength(3);

    const untilMs = firstMs + 24 * HOUR_MS;
    expect(await outcomeOf(machine.start(), { isForced: true })).toEqual({
      kind: "resting",
      untilMs,
      dispatchCount: 3,
    });
    machine.clock.set(untilMs);
    await outcomeOf(machine.start());
    expect(machine.server.posts).toHaveLength(4);
  });

  it("is forgotten when a new login arrives", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script({ httpStatus: 500 }, { httpStatus: 500 }, { httpStatus: 500 });
    for (let run = 0; run < 4; run += 1) {
      await outcomeOf(watchdog);
      machine.clock.advance(HOUR_MS);
    }
    machine.logIn();

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("is saved all the same when the connection breaks behind the last byte", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script({ breaksAfter: 1_000_000 });

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
  });

  it("tells a lost answer from somebody else's use of the token", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script({ unanswered: "ECONNRESET" });
    await outcomeOf(watchdog);

    // DESIGN.md: "The outcome is then login-required with cause lost-response, and says so."
    expect(await outcomeOf(watchdog)).toMatchObject({ kind: "login-required", rejection: { cause: "lost-response" } });
  });
});

describe("a rejection", () => {
  it("is latched, for all processes, until the token changes", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script({ httpStatus: 401, body: { error: { code: "refresh_token_expired" } } });
    const rejection = { cause: "expired", httpStatus: 401 };

    expect(await outcomeOf(watchdog)).toEqual({ kind: "login-required", rejection, isLatched: false });
    for (const settings of [{}, { isForced: true }]) {
      const second = await outcomeOf(machine.start(), settings);
      expect(second).toEqual({ kind: "login-required", rejection, isLatched: true });
    }
    expect(machine.server.posts).toHaveLength(1);

    machine.logIn();
    expect((await outcomeOf(machine.start())).kind).toBe("refreshed");
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("without a known code can be asked again by force", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script({ httpStatus: 401, body: "<html>a captive portal</html>" });
    await outcomeOf(watchdog);

    expect((await outcomeOf(watchdog)).kind).toBe("login-required");
    expect((await outcomeOf(watchdog, { isForced: true })).kind).toBe("refreshed");
    expect(machine.server.posts).toHaveLength(2);
  });

  it("keeps nothing of the answer in the latch", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script({ httpStatus: 401, body: { error: "who knows what", echoed: "a secret that was echoed" } });
    await outcomeOf(watchdog);

    const echoed = Buffer.from("a secret that was").toString("base64").slice(4, 16);
    for (const text of machine.ticketTexts()) {
      expect(text).not.toContain("secret");
      expect(text).not.toContain(echoed);
      expect(text).not.toContain('"body"');
    }
  });

  it("does not count when another process has saved new tokens meanwhile", async () => {
    const { machine, watchdog } = setUpDue();
    const reused = { httpStatus: 401, body: { error: { code: "refresh_token_reused" } } };
    machine.server.script({ ...reused, meanwhile: () => void machine.logIn({ expiresInSec: 10 * DAY_SEC }) });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "adopted", from: "sibling" });
    expect(machine.ticketTexts()).toEqual([]);
    expect((await outcomeOf(watchdog)).kind).toBe("fresh");
  });

  it("as reused waits for the other process to save", async () => {
    let sleeps = 0;
    const { machine, watchdog } = setUpDue((call, on) => {
      sleeps += call === "clock.sleep" ? 1 : 0;
      if (sleeps === 20) on.logIn({ expiresInSec: 10 * DAY_SEC });
      return null;
    });
    machine.server.script({ httpStatus: 400, body: { error: { code: "refresh_token_reused" } } });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "adopted", from: "sibling" });
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("does not count when another account has logged in meanwhile", async () => {
    const { machine, watchdog } = setUpDue();
    const meanwhile = (): void => void machine.logIn({ accountId: "acct-other", expiresInSec: 10 * DAY_SEC });
    machine.server.script({ httpStatus: 401, meanwhile });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "adopted", from: "newer-login" });
  });

  it("of a login that is gone is no reason to ask for a person", async () => {
    const { machine, watchdog } = setUpDue();
    const meanwhile = (): void => {
      machine.text = null;
    };
    machine.server.script({ httpStatus: 401, meanwhile });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "absent" });
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("that cannot be remembered still costs no second request", async () => {
    const { machine, watchdog } = setUpDue((call) => (call === "tickets.conclude" ? makeFault("disk-full") : null));
    machine.server.script({ httpStatus: 401 });

    expect((await outcomeOf(watchdog)).kind).toBe("login-required");
    expect((await outcomeOf(watchdog)).kind).toBe("login-required");
    expect((await outcomeOf(machine.start())).kind).toBe("login-required");
    expect(machine.server.posts).toHaveLength(1);
  });
});

describe("an answer for another account", () => {
  it("is never stored, and its token is never sent again", async () => {
    const { machine, watchdog } = setUpDue();
    const before = machine.text;
    machine.server.script({ accountId: "acct-other" });
    const rejection = { cause: "other-account", httpStatus: 200 };

    expect(await outcomeOf(watchdog)).toEqual({ kind: "login-required", rejection, isLatched: false });
    expect(await outcomeOf(machine.start(), { isForced: true })).toMatchObject({ isLatched: true });
    expect(machine.text).toBe(before);
    expect(machine.server.posts).toHaveLength(1);
    expect(machine.ticketTexts().join("")).not.toContain('"body"');
  });
});

describe("a commit", () => {
  it("waits for a writer that is in the middle of its write", async () => {
    let torn: string | null = null;
    const { machine, watchdog } = setUpDue((call, on) => {
      if (call === "store.update" && torn === null) {
        torn = on.text;
        on.text = torn?.slice(0, 50) ?? "";
      } else if (call === "store.update") {
        on.text = torn;
      }
      return null;
    });

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect(count(watchdog, "store.update")).toBe(2);
    expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
  });

  it("into a file that stays torn is unsaved, and the next run of another process saves it", async () => {
    const { machine, watchdog } = setUpDue();
    const whole = machine.text;
    const meanwhile = (): void => {
      machine.text = whole?.slice(0, 50) ?? "";
    };
    machine.server.script({ meanwhile });

    expect((await outcomeOf(watchdog)).kind).toBe("unsaved");
    expect((await outcomeOf(machine.start())).kind).toBe("unsaved");
    machine.text = whole;
    expect(await outcomeOf(machine.start())).toMatchObject({ kind: "refreshed", isRecovery: true });
    expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
    expect(machine.server.posts).toHaveLength(1);
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("that the machine refuses is unsaved, whoever tries, and is saved once it can be", async () => {
    let isFull = true;
    const onCall = (call: string) => (isFull && call === "store.update" ? makeFault("disk-full") : null);
    const { machine, watchdog } = setUpDue(onCall);

    expect((await outcomeOf(watchdog)).kind).toBe("unsaved");
    expect((await outcomeOf(watchdog)).kind).toBe("unsaved");
    const other = machine.start({ onCall });
    expect((await outcomeOf(other)).kind).toBe("unsaved");
    expect(machine.server.posts).toHaveLength(1);

    isFull = false;
    watchdog.stop.abort();
    expect(await outcomeOf(watchdog)).toMatchObject({ kind: "refreshed", isRecovery: true });
    expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
  });

  it("stays unsaved while even the lock is refused", async () => {
    let isReadOnly = false;
    const onCall = (call: string) => {
      if (call === "store.update") isReadOnly = true;
      return isReadOnly && (call === "store.update" || call === "lock.tryAcquire")
        ? makeFault("read-only", "x", "EROFS")
        : null;
    };
    const { watchdog } = setUpDue(onCall);
    expect((await outcomeOf(watchdog)).kind).toBe("unsaved");

    // Not "blocked", which says that the login is unspent.
    expect((await outcomeOf(watchdog)).kind).toBe("unsaved");
  });

  it("never undoes a logout", async () => {
    const { machine, watchdog } = setUpDue();
    const meanwhile = (): void => {
      machine.text = null;
    };
    machine.server.script({ meanwhile });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "adopted", from: "logout" });
    expect(machine.text).toBeNull();
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("leaves a newer login in place, and drops the answer", async () => {
    const { machine, watchdog } = setUpDue();
    let newer = "";
    const meanwhile = (): void => {
      machine.clock.advance(5_000);
      newer = machine.logIn({ expiresInSec: 10 * DAY_SEC, lastRefreshAgoMs: 0 }).refresh_token;
    };
    machine.server.script({ meanwhile });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "adopted", from: "newer-login" });
    expect(machine.storedToken()).toBe(newer);
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("leaves another account's login in place, however old it is", async () => {
    const { machine, watchdog } = setUpDue();
    let other = "";
    const meanwhile = (): void => {
      other = machine.logIn({ accountId: "acct-other", lastRefreshAgoMs: 1_000 * HOUR_MS }).refresh_token;
    };
    machine.server.script({ meanwhile });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "adopted", from: "newer-login" });
    expect(machine.storedToken()).toBe(other);
  });

  it("leaves an API key in place", async () => {
    const { machine, watchdog } = setUpDue();
    const text = '{"auth_mode":"apikey","OPENAI_API_KEY":"sk-made-up"}';
    const meanwhile = (): void => {
      machine.text = text;
    };
    machine.server.script({ meanwhile });

    expect(await outcomeOf(watchdog)).toEqual({ kind: "adopted", from: "newer-login" });
    expect(machine.text).toBe(text);
  });

  it("wins over an older backup of the same account", async () => {
    const { machine, watchdog } = setUpDue();
    const meanwhile = (): void => {
      const old = machine.server.login({ expiresInSec: -30 * DAY_SEC });
      machine.text = machine.authJson(old, { lastRefreshAgoMs: 40 * 24 * HOUR_MS });
    };
    machine.server.script({ meanwhile });

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect(machine.storedToken()).toBe("rt_memory_family_1_number_2");
  });

  it("is seen home by a process that was told to stop during the request", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script({ meanwhile: () => watchdog.stop.abort() });

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
  });

  it("is seen home by a process that lost its lock during the request", async () => {
    const { machine, watchdog } = setUpDue();
    machine.server.script({ meanwhile: () => machine.compromiseLock() });

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
  });

  it("happens though the journal fails to take the answer", async () => {
    const { machine, watchdog } = setUpDue((call) => (/record answer$/.test(call) ? makeFault("disk-full") : null));

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect(machine.server.isActive(machine.storedToken() ?? "")).toBe(true);
    expect(watchdog.lines.join("\n")).toContain("not journaled");
    expect(machine.ticketTexts()).toEqual([]);
  });

  it("writes no line that holds a token", async () => {
    const { machine, tokens, watchdog } = setUpDue();
    await outcomeOf(watchdog);

    for (const token of [...Object.values(tokens), machine.storedToken() ?? ""]) {
      expect(watchdog.lines.join("\n")).not.toContain(token);
    }
  });

  it("that another process has finished already is counted as done", async () => {
    const { machine, watchdog } = setUpDue();
    machine.doesLockLie = true;
    let other: CycleOutcome | null = null;
    const slow = machine.start({
      onCall: (call) => (call === "tickets.remove" ? makeFault("io") : null),
    });
    expect((await outcomeOf(slow)).kind).toBe("refreshed");
    expect(machine.ticketTexts()).toHaveLength(1);

    other = await outcomeOf(watchdog);
    expect(other).toMatchObject({ kind: "refreshed", isRecovery: true });
    expect(machine.commits).toHaveLength(1);
    expect(machine.server.posts).toHaveLength(1);
    expect((await outcomeOf(watchdog)).kind).toBe("fresh");
  });
});

describe("a ticket that nobody can make sense of", () => {
  it.each([
    ["without an account list", '{"event":"prepared","atMs":1,"holder":{},"presented":{}}'],
    ["with lists for objects", '{"event":"prepared","atMs":1,"holder":[],"presented":[]}'],
  ])("%s never wedges the watchdog", async (_what, first) => {
    const { machine, watchdog } = setUpDue();
    const body = Buffer.from('{"refresh_token":"rt_from_a_strange_ticket"}').toString("base64");
    const rest = ['{"event":"dispatched","atMs":1}', `{"event":"answer","httpStatus":200,"base64":"${body}"}`];
    machine.replaceTicket({ fingerprint: "a".repeat(64), attempt: 1 }, [first, ...rest, ""].join("\n"));

    expect((await outcomeOf(watchdog)).kind).toBe("refreshed");
    expect((await outcomeOf(watchdog)).kind).toBe("fresh");
  });
});
