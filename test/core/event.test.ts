import { describe, expect, it } from "vitest";
import { alarmOf, type EventName, eventOf } from "../../src/core/event.js";
import type { HealthState } from "../../src/core/outcome.js";

/** The events of a sequence of reports, as one process after another would tell them. */
function eventsOf(...reports: (HealthState | "refreshed")[]): (EventName | null)[] {
  let last: EventName | null = null;
  return reports.map((each) => {
    const state: HealthState = each === "refreshed" ? "ok" : each;
    const word = each === "refreshed" ? "refreshed" : "skip";
    const alarm = alarmOf(last === null ? null : { name: last, atMs: 0, isDelivered: true });
    const event = eventOf({ state, word }, alarm);
    last = event ?? last;
    return event;
  });
}

describe("events", () => {
  it("tell of each refresh, and of nothing where nothing happens", () => {
    expect(eventsOf("ok", "refreshed", "ok", "ok", "idle", "refreshed")).toEqual([
      null,
      "refreshed",
      null,
      null,
      null,
      "refreshed",
    ]);
  });

  it("tell of a lost login once, and of its recovery once", () => {
    expect(eventsOf("login_required", "login_required", "ok", "ok")).toEqual([
      "login_required",
      null,
      "recovered",
      null,
    ]);
  });

  it("call a refresh that ends an alarm a recovery", () => {
    expect(eventsOf("unsaved", "unsaved", "refreshed", "refreshed")).toEqual([
      "unsaved",
      null,
      "recovered",
      "refreshed",
    ]);
  });

  it("raise no alarm over trouble that passes by itself, nor end one because of it", () => {
    expect(eventsOf("degraded", "ok", "login_required", "degraded", "login_required", "ok")).toEqual([
      null,
      null,
      "login_required",
      null,
      null,
      "recovered",
    ]);
  });

  it("tell when one alarm follows another", () => {
    expect(eventsOf("unsaved", "login_required", "idle")).toEqual(["unsaved", "login_required", "recovered"]);
  });
});
