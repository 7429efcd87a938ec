import type { HealthState, Report } from "./outcome.js";

/** What somebody may want to be told of. */
export const EVENT_NAMES = ["refreshed", "login_required", "unsaved", "recovered"] as const;
export type EventName = (typeof EVENT_NAMES)[number];

/** An event, and whether its hook has run to a good end. One that has not is sent again at the next start. */
export interface EventNotice {
  readonly name: EventName;
  readonly atMs: number;
  readonly isDelivered: boolean;
}

/** States in which a person is needed. */
const ALARMS: readonly (HealthState | null)[] = ["login_required", "unsaved"];

/**
 * The event that a report makes of a transition; null for most: a state that goes on is told once, and a trouble that
 * passes by itself (`degraded`) is nobody's alarm.
 *
 * @param alarm the alarm that was told last and has not recovered since; null when there is none
 */
export function eventOf(report: Pick<Report, "state" | "word">, alarm: EventName | null): EventName | null {
  const { state, word } = report;
  if (state === "login_required" || state === "unsaved") return state === alarm ? null : state;
  if (alarm !== null && (state === "ok" || state === "idle")) return "recovered";
  return word === "refreshed" ? "refreshed" : null;
}

/** The alarm that stands after an event; `previous` is what the status told last. */
export function alarmOf(previous: EventNotice | null): EventName | null {
  return previous !== null && ALARMS.some((state) => state === previous.name) ? previous.name : null;
}
