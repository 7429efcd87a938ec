import { brakedUntilMs, markOf, type RefreshHistory } from "./core/brake.js";
import { decide, type RefreshPolicy } from "./core/decide.js";
import { fingerprint } from "./core/fingerprint.js";
import { type CycleOutcome, outcomeWithoutLogin } from "./core/outcome.js";
import { describeHolder, planAttempt, RETRY_SOON_MS } from "./core/ticket.js";
import { freshOutcome, leaveToOwner } from "./cycle.js";
import type { LookPorts } from "./ports.js";
import { isAnswerWaiting, readSettled } from "./reading.js";

/** What a cycle would do now. */
export type Forecast =
  | { readonly kind: "would-refresh" }
  /** An answer lies in a ticket: it would be saved, and nothing sent. */
  | { readonly kind: "would-save" }
  | { readonly kind: "would-end"; readonly outcome: CycleOutcome };

/**
 * Says what a cycle would do, by the same decisions and the same preflight, without a lock, a ticket or a request.
 */
export async function forecast(
  ports: Omit<LookPorts, "isLocked" | "isHolderAlive">,
  settings: {
    readonly policy: RefreshPolicy;
    readonly isOwner: boolean;
    readonly minRefreshIntervalMs: number;
    readonly history: RefreshHistory | null;
  },
): Promise<Forecast> {
  const { clock, store, tickets } = ports;
  const end = (outcome: CycleOutcome): Forecast => ({ kind: "would-end", outcome });
  const reading = await readSettled(ports);
  if (await isAnswerWaiting(tickets)) {
    return settings.isOwner ? { kind: "would-save" } : end({ kind: "owner-missing", what: "answer-waits" });
  }
  if (reading.kind !== "login") return end(outcomeWithoutLogin(reading));

  const { credential } = reading;
  const nowMs = clock.nowMs();
  if (decide(credential, nowMs, settings.policy).kind === "fresh") return end(freshOutcome(credential, nowMs));
  if (!settings.isOwner) return end(leaveToOwner(credential, nowMs));
  const setting = await store.readCredentialsStoreSetting();
  if (setting !== "file") return end({ kind: "other-store", setting });
  const mark = fingerprint(credential.refreshToken);
  const untilMs = brakedUntilMs(settings.history, markOf(mark), nowMs, settings.minRefreshIntervalMs);
  if (untilMs !== null) return end({ kind: "braked", untilMs });

  const listing = await tickets.list();
  if (listing.kind === "failed") return end({ kind: "blocked", fault: listing.fault });
  const own = listing.tickets.filter((ticket) => ticket.fingerprint === mark);
  const plan = planAttempt(own, nowMs, false);
  if (plan.kind === "latched") return end({ kind: "login-required", rejection: plan.rejection, isLatched: true });
  if (plan.kind === "resting" && plan.untilMs - nowMs > RETRY_SOON_MS) return end(plan);
  if (plan.kind === "in-flight") return end({ kind: "busy", holder: describeHolder(plan.holder) });
  const fault = await store.preflight();
  return fault === null ? { kind: "would-refresh" } : end({ kind: "blocked", fault });
}
