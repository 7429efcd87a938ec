import { toFault } from "../adapters/errno.js";
import { type Page, serveProbes } from "../adapters/probe-server.js";
import { prometheusMetrics } from "../adapters/prometheus.js";
import { replaceSmallFile } from "../adapters/small-file.js";
import { describeFault } from "../core/fault.js";
import { isReadyStatus } from "../core/health.js";
import type { Status } from "../core/status.js";
import type { Clock, Log } from "../ports.js";
import { type Settings, VERSION } from "./options.js";

/** What this process tells monitoring of its homes. */
export interface Telemetry {
  observe(codexHome: string, status: Status): void;
  /** The loop of a home has come round. */
  tick(codexHome: string): void;
  /** Opens the door for probes, where one was asked for. */
  listen(): Promise<void>;
  close(): Promise<void>;
}

/**
 * A loop that has not come round for this long hangs, milliseconds. A cycle may wait for its turn among a thousand homes,
 * and for two requests of a minute. A process that hangs as a whole does not answer at all.
 */
const HANGS_AFTER_MS = 900_000;

/** Many homes end their cycles together; the metrics file is written once for all of them. */
const FILE_DELAY_MS = 200;

/** The node exporter reads it as another user. */
const FILE_MODE = 0o644;

export function openTelemetry({ http, metricsFile }: Settings, clock: Clock, log: Log): Telemetry {
  const metrics = prometheusMetrics(clock, VERSION);
  const statuses = new Map<string, Status>();
  const tickedAtMs = new Map<string, number>();
  let closeServer = (): Promise<void> => Promise.resolve();
  let timer: NodeJS.Timeout | null = null;
  let isFileBroken = false;

  const writeFile = async (): Promise<void> => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (metricsFile === null) return;
    const text = await metrics.text();
    try {
      replaceSmallFile(metricsFile, text, FILE_MODE, null);
      isFileBroken = false;
    } catch (error) {
      const fault = toFault(error, "write the metrics", metricsFile);
      if (!isFileBroken) log.write("warn", "metrics_not_written", `metrics: ${describeFault(fault)}`);
      isFileBroken = true; // Said once, until it works again.
    }
  };

  const plain = (httpStatus: Page["httpStatus"], text: string): Page => ({
    httpStatus,
    contentType: "text/plain",
    text,
  });
  const pages = new Map<string, () => Promise<Page>>([
    [
      "/livez",
      async () => {
        const hanging = [...tickedAtMs].filter(([, ms]) => Math.abs(clock.nowMs() - ms) > HANGS_AFTER_MS);
        return hanging.length === 0
          ? plain(200, "ok\n")
          : plain(503, hanging.map(([codexHome]) => `${codexHome}: its loop has not come round\n`).join(""));
      },
    ],
    [
      "/readyz",
      async () => {
        const nowMs = clock.nowMs();
        const bad = [...statuses].filter(([, status]) => !isReadyStatus(status, nowMs));
        if (statuses.size === 0) return plain(503, "no cycle has ended yet\n");
        if (bad.length === 0) return plain(200, "ok\n");
        return plain(503, bad.map(([codexHome, { state, reason }]) => `${codexHome}: ${state} (${reason})\n`).join(""));
      },
    ],
    ["/metrics", async () => ({ httpStatus: 200, contentType: metrics.contentType, text: await metrics.text() })],
  ]);

  return {
    observe: (codexHome, status) => {
      statuses.set(codexHome, status);
      metrics.observe(codexHome, status);
      if (metricsFile !== null) timer ??= setTimeout(() => void writeFile(), FILE_DELAY_MS);
    },
    tick: (codexHome) => void tickedAtMs.set(codexHome, clock.nowMs()),
    listen: async () => {
      if (http === null) return;
      const server = await serveProbes(http, pages);
      if ("kind" in server) {
        // The login is worth more than the probes: whoever sent them notices that nobody answers.
        log.write("error", "not_listening", `http: ${describeFault(server)}`);
        return;
      }
      closeServer = server.close;
      log.write("info", "listening", `http: listening on ${server.address}`);
    },
    close: async () => {
      await writeFile();
      await closeServer();
    },
  };
}
