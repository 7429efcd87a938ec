import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeEvent,
  type HolderLife,
  isInFlight,
  type Prepared,
  planAttempt,
  readTicketText,
  type Ticket,
  type TicketEvent,
  type TicketState,
} from "../../src/core/ticket.js";
import { check } from "../support/property.js";

const NOW_MS = 1_800_000_000_000;
const DAY_MS = 86_400_000;
const FINGERPRINT = "f".repeat(64);
const HOLDER = { pid: 7, host: "h", bootId: "b", pidNamespace: "n", startTicks: "1" };
const PREPARED: Prepared = {
  event: "prepared",
  atMs: NOW_MS,
  holder: HOLDER,
  presented: { fingerprint: FINGERPRINT, accountIds: ["a"], stamps: { issuedAtMs: null, lastRefreshMs: 1 } },
};
const DISPATCHED: TicketEvent = { event: "dispatched", atMs: NOW_MS };
const UNANSWERED: TicketEvent = { event: "unanswered", atMs: NOW_MS, cause: "deadline" };
const REJECTED: TicketEvent = { event: "rejected", atMs: NOW_MS, rejection: { cause: "expired", httpStatus: 401 } };
const GRANT = '{"access_token":"new-access","refresh_token":"new-refresh-é"}';

function answer(httpStatus: number, text: string | Buffer = ""): TicketEvent {
  return { event: "answer", httpStatus, base64: Buffer.from(text).toString("base64") };
}

function textOf(...events: TicketEvent[]): string {
  return events.map(encodeEvent).join("");
}

function kindOf(text: string): string {
  return readTicketText(text).state.kind;
}

describe("the text of a ticket", () => {
  it.each([
    ["nothing", [], "blank"],
    ["no first event", [DISPATCHED], "opaque"],
    ["a holder", [PREPARED], "prepared"],
    ["a dispatch", [PREPARED, DISPATCHED], "dispatched"],
    ["an empty answer", [PREPARED, DISPATCHED, answer(200)], "dispatched"],
    ["half a grant", [PREPARED, DISPATCHED, answer(200, GRANT.slice(0, 20))], "dispatched"],
    ["a grant", [PREPARED, DISPATCHED, answer(200, GRANT)], "answered"],
    ["a grant behind a failure", [PREPARED, DISPATCHED, answer(200, GRANT), UNANSWERED], "answered"],
    ["a 401", [PREPARED, DISPATCHED, answer(401)], "answered"],
    ["a 500", [PREPARED, DISPATCHED, answer(500, "<html>")], "dispatched"],
    ["a 503: the token is unspent", [PREPARED, DISPATCHED, answer(503)], "prepared"],
    ["a 429: the token is unspent", [PREPARED, DISPATCHED, answer(429, "{}")], "prepared"],
    ["no answer", [PREPARED, DISPATCHED, UNANSWERED], "unanswered"],
    ["half an answer", [PREPARED, DISPATCHED, answer(200, GRANT.slice(0, 9)), UNANSWERED], "unanswered"],
    ["a latch", [PREPARED, REJECTED], "rejected"],
    ["a latch behind a grant", [PREPARED, DISPATCHED, answer(200, GRANT), REJECTED], "rejected"],
  ] as const)("with %s reads as it should", (_what, events, kind) => {
    expect(kindOf(textOf(...events))).toBe(kind);
  });

  it("brings back the events as they were recorded", () => {
    expect(readTicketText(textOf(PREPARED)).prepared).toEqual(PREPARED);
    expect(readTicketText(textOf(PREPARED, REJECTED)).state).toEqual({
      kind: "rejected",
      rejection: { cause: "expired", httpStatus: 401 },
    });
    expect(readTicketText(textOf(PREPARED, DISPATCHED)).state).toEqual({
      kind: "dispatched",
      atMs: NOW_MS,
      cause: null,
    });
  });

  it("joins an answer that arrived in any pieces", () => {
    check(
      fc.property(fc.array(fc.nat(60), { maxLength: 6 }), (cuts) => {
        const bytes = Buffer.from(GRANT);
        const places = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
        const pieces = places.slice(1).map((end, index) => answer(200, bytes.subarray(places[index], end)));
        const { state } = readTicketText(textOf(PREPARED, DISPATCHED, ...pieces));
        if (state.kind !== "answered" || state.result.kind !== "granted") throw new Error(state.kind);
        expect(state.result.tokens.refresh_token?.reveal()).toBe("new-refresh-é");
      }),
    );
  });

  it("is not changed by padding, nor by what is no event", () => {
    const noise = fc.constantFrom(
      "",
      " ",
      "\t",
      "{",
      "null",
      "[]",
      "7",
      '{"event":"constructor"}',
      '{"event":"__proto__"}',
      '{"event":"body"}',
    );
    const events = [PREPARED, DISPATCHED, answer(200, GRANT), UNANSWERED];
    check(
      fc.property(fc.nat(events.length), fc.array(noise, { maxLength: 8 }), (count, lines) => {
        const whole = events.slice(0, count);
        const noisy = lines.map((line) => `${line}\n`).join("");
        const text = whole.map((event) => noisy + encodeEvent(event)).join("") + noisy + "\n".repeat(64);
        // Noise alone is no blank ticket: nobody can say what it was.
        const isNoise = count === 0 && noisy.trim() !== "";
        expect(kindOf(text)).toBe(isNoise ? kindOf(noisy) : kindOf(textOf(...whole)));
      }),
    );
  });

  it("says nothing that was not written whole, wherever it is cut off", () => {
    const answers = fc.constantFrom(
      [answer(200, GRANT)],
      [answer(200, GRANT.slice(0, 30)), answer(200, GRANT.slice(30))],
      [answer(200, GRANT.slice(0, 30)), UNANSWERED],
      [answer(500, "<html>"), UNANSWERED],
      [answer(503, "busy")],
      [UNANSWERED],
    );
    check(
      fc.property(answers, fc.nat(), (answer, at) => {
        const events = [PREPARED, DISPATCHED, ...answer];
        const bytes = Buffer.from(textOf(...events));
        const cut = at % (bytes.length + 1);
        const text = bytes.subarray(0, cut).toString("utf8");
        // The last line may be whole but for its newline: then it counts, and it was written.
        const written = (count: number): number => Buffer.byteLength(textOf(...events.slice(0, count)));
        const whole = events.filter((_event, index) => written(index + 1) - 1 <= cut);
        expect(kindOf(text)).toBe(kindOf(textOf(...whole)));
      }),
      { numRuns: 1_000 },
    );
  });

  it("reads as some state, whatever it is", () => {
    const anyLine = fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom(...textOf(PREPARED, DISPATCHED, answer(200)).split("\n")),
    );
    const states = /^(blank|opaque|prepared|dispatched|unanswered|answered|rejected)$/;
    check(
      fc.property(fc.array(anyLine), (lines) => {
        expect(kindOf(lines.join("\n"))).toMatch(states);
      }),
    );
  });
});

function ticket(state: TicketState["kind"], life: HolderLife, ageMs = 0, attempt = 1): Ticket {
  const atMs = NOW_MS - ageMs;
  const states: Record<TicketState["kind"], TicketState> = {
    blank: { kind: "blank" },
    prepared: { kind: "prepared" },
    opaque: { kind: "opaque" },
    dispatched: { kind: "dispatched", atMs, cause: null },
    unanswered: { kind: "unanswered", atMs, cause: "UND_ERR_SOCKET" },
    answered: {
      kind: "answered",
      result: { kind: "rejected", rejection: { cause: "unnamed", httpStatus: 401 } },
      isWhole: true,
      atMs,
    },
    rejected: { kind: "rejected", rejection: { cause: "expired", httpStatus: 401 } },
  };
  const prepared = state === "blank" ? null : PREPARED;
  return { fingerprint: FINGERPRINT, attempt, createdAtMs: atMs, life, prepared, state: states[state], rewrite: null };
}

describe("a ticket", () => {
  const LIVES: readonly HolderLife[] = ["self", "alive", "gone", "unknown"];

  it.each([
    ["blank", 45_000],
    ["prepared", 45_000],
    ["dispatched", 90_000],
    ["opaque", 90_000],
  ] as const)("that is %s is in flight while its process may live", (state, limitMs) => {
    // Stopped for days, with a token that it may have sent: nobody else presents that one.
    const isSent = state === "dispatched" || state === "opaque";
    expect(isInFlight(ticket(state, "alive", 10 * DAY_MS), NOW_MS)).toBe(isSent);
    expect(isInFlight(ticket(state, "alive", limitMs - 1), NOW_MS)).toBe(true);
    expect(isInFlight(ticket(state, "unknown", limitMs - 1), NOW_MS)).toBe(true);
    expect(isInFlight(ticket(state, "unknown", limitMs), NOW_MS)).toBe(false);
    expect(isInFlight(ticket(state, "gone"), NOW_MS)).toBe(false);
    expect(isInFlight(ticket(state, "self"), NOW_MS)).toBe(false);
  });

  it.each(["unanswered", "answered", "rejected"] as const)("that is %s is in flight for nobody", (state) => {
    for (const life of LIVES) expect(isInFlight(ticket(state, life), NOW_MS)).toBe(false);
  });

  it("from the far future is not waited for", () => {
    expect(isInFlight(ticket("dispatched", "unknown", -DAY_MS), NOW_MS)).toBe(false);
  });
});

describe("the plan for a token", () => {
  it("without tickets is the first attempt", () => {
    expect(planAttempt([], NOW_MS, false)).toMatchObject({ kind: "go", attempt: 1 });
  });

  it("names the holder of a ticket in flight, where it is known", () => {
    expect(planAttempt([ticket("dispatched", "alive")], NOW_MS, true)).toEqual({ kind: "in-flight", holder: HOLDER });
    expect(planAttempt([ticket("blank", "unknown")], NOW_MS, true)).toEqual({ kind: "in-flight", holder: null });
  });

  it("never uses a number again", () => {
    const dead = [
      ticket("prepared", "gone", 0, 2),
      ticket("dispatched", "gone", 1_000, 5),
      ticket("blank", "gone", 0, 1),
    ];
    expect(planAttempt(dead, NOW_MS, false)).toMatchObject({ kind: "go", attempt: 6 });
  });

  it("rises with every ticket, in any order", () => {
    const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 999 }), { maxLength: 9 });
    check(
      fc.property(numbers, (attempts) => {
        const plan = planAttempt(
          attempts.map((attempt) => ticket("prepared", "gone", 0, attempt)),
          NOW_MS,
          false,
        );
        expect(plan.kind === "go" && attempts.every((attempt) => attempt < plan.attempt)).toBe(true);
      }),
    );
  });

  it("stops at a rejection", () => {
    const plan = planAttempt([ticket("rejected", "gone", 400 * DAY_MS)], NOW_MS, false);
    expect(plan).toEqual({ kind: "latched", rejection: { cause: "expired", httpStatus: 401 } });
  });

  it("lets force overrule an unnamed rejection, and no other", () => {
    const rejectedAs = (cause: "unnamed" | "reused" | "other-account", attempt: number): Ticket => ({
      ...ticket("rejected", "gone", 0, attempt),
      state: { kind: "rejected", rejection: { cause, httpStatus: 401 } },
    });
    expect(planAttempt([rejectedAs("unnamed", 1)], NOW_MS, false).kind).toBe("latched");
    expect(planAttempt([rejectedAs("unnamed", 1)], NOW_MS, true)).toMatchObject({ kind: "go", attempt: 2 });
    expect(planAttempt([rejectedAs("reused", 1)], NOW_MS, true).kind).toBe("latched");
    expect(planAttempt([rejectedAs("other-account", 1)], NOW_MS, true).kind).toBe("latched");
    expect(planAttempt([rejectedAs("unnamed", 1), rejectedAs("reused", 2)], NOW_MS, true).kind).toBe("latched");
  });

  it.each(["dispatched", "unanswered"] as const)("allows three %s attempts within a day, forced or not", (state) => {
    const spent = [1, 2, 3].map((attempt) => ticket(state, "gone", attempt * 3_600_000, attempt));
    expect(planAttempt(spent.slice(1), NOW_MS, false)).toMatchObject({ kind: "go", attempt: 4 });
    const untilMs = NOW_MS - 3 * 3_600_000 + DAY_MS;
    expect(planAttempt(spent, NOW_MS, false)).toEqual({ kind: "resting", untilMs, dispatchCount: 3 });
    expect(planAttempt(spent, NOW_MS, true)).toEqual({ kind: "resting", untilMs, dispatchCount: 3 });
    expect(planAttempt(spent, untilMs, false)).toMatchObject({ kind: "go", attempt: 4 });
  });

  it("does not count attempts that sent nothing", () => {
    const dead = [1, 2, 3, 4].map((attempt) => ticket("prepared", "gone", 0, attempt));
    expect(planAttempt(dead, NOW_MS, false)).toMatchObject({ kind: "go", attempt: 5 });
  });
});
