import { Counter, Gauge, Registry } from "prom-client";
import { isReadyStatus } from "../core/health.js";
import type { Status } from "../core/status.js";
import type { Clock } from "../ports.js";

/** Metrics of all homes of this process, as Prometheus reads them. No token, and no account, in any of them. */
export interface Metrics {
  readonly contentType: string;
  observe(codexHome: string, status: Status): void;
  text(): Promise<string>;
}

const STATES = ["ok", "idle", "degraded", "login_required", "unsaved"] as const;

/** Times, each with the key of the status that tells it; what is unknown has no sample. */
const TIMES = [
  ["access_token_expiry", "access_token_expires_at", "When the access token expires"],
  ["refresh_due", "refresh_due_at", "When a refresh of the login falls due"],
  ["last_refresh", "last_refresh", "When the login was refreshed last, by anybody"],
  ["last_cycle", "watchdog_last_run_iso", "When the watchdog looked last"],
  ["next_check", "next_check_at", "When the watchdog looks again"],
] as const;

export function prometheusMetrics(clock: Clock, version: string): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const labelNames = ["codex_home"] as const;
  const newest = new Map<string, Status>();

  new Gauge({ name: "codex_auth_watchdog_info", help: "Always 1", labelNames: ["version"], registers }).set(
    { version },
    1,
  );
  const healthy = new Gauge({
    name: "codex_auth_healthy",
    help: "1 when the access token is valid now, the login not given up and nothing unsaved",
    labelNames,
    registers,
    collect: () => {
      for (const [codex_home, status] of newest)
        healthy.set({ codex_home }, isReadyStatus(status, clock.nowMs()) ? 1 : 0);
    },
  });
  const state = new Gauge({
    name: "codex_auth_state",
    help: "1 for the state that the login is in",
    labelNames: ["codex_home", "state"],
    registers,
  });
  const times = TIMES.map(([name, key, help]) => {
    const gauge = new Gauge({ name: `codex_auth_${name}_timestamp_seconds`, help, labelNames, registers });
    return [gauge, key] as const;
  });
  const failures = new Gauge({
    name: "codex_auth_consecutive_failures",
    help: "Failed cycles in a row",
    labelNames,
    registers,
  });
  const setAside = new Gauge({
    name: "codex_auth_set_aside_answers",
    help: "Answers beside auth.json that wait for a person",
    labelNames,
    registers,
  });
  const cycles = new Counter({
    name: "codex_auth_cycles_total",
    help: "Cycles since this process started, by how they ended",
    labelNames: ["codex_home", "reason"],
    registers,
  });

  return {
    contentType: registry.contentType,
    observe: (codex_home, status) => {
      // A status that is merely written anew (an event was delivered) is no other cycle.
      const isCycle = newest.get(codex_home)?.watchdog_last_run_iso !== status.watchdog_last_run_iso;
      newest.set(codex_home, status);
      for (const each of STATES) state.set({ codex_home, state: each }, status.state === each ? 1 : 0);
      for (const [gauge, key] of times) {
        const ms = Date.parse(status[key] ?? "");
        if (Number.isNaN(ms)) gauge.remove({ codex_home });
        else gauge.set({ codex_home }, ms / 1000);
      }
      failures.set({ codex_home }, status.consecutive_failures);
      setAside.set({ codex_home }, status.set_aside.length);
      if (isCycle) cycles.inc({ codex_home, reason: status.reason });
    },
    text: () => registry.metrics(),
  };
}
