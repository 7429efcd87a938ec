/**
 * What the loop is like: how soon a new login counts, what it costs while nothing happens, and what many homes cost.
 *
 * Words select parts (`latency`, `idle`, `homes`; all without one). `--trials`, `--minutes`, `--days`, `--homes` and
 * `--idle-seconds` change the defaults, with which all of it takes a quarter of an hour. The built program runs
 * against a loopback endpoint; the figures come from /proc, so this needs Linux.
 */
import { parseArgs } from "node:util";
import { benchHomes } from "./daemon/homes.js";
import { benchIdle } from "./daemon/idle.js";
import { benchLatency } from "./daemon/latency.js";
import { endStagesOnSignal } from "./daemon/stage.js";
import { describeMachine, say } from "./figures.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    trials: { type: "string", default: "100" },
    minutes: { type: "string", default: "3" },
    days: { type: "string", default: "7" },
    homes: { type: "string", default: "1,100,1000" },
    "idle-seconds": { type: "string", default: "60" },
  },
});

const parts = new Map<string, () => Promise<void>>([
  ["latency", () => benchLatency(Number(values.trials))],
  ["idle", () => benchIdle(Number(values.minutes), Number(values.days))],
  ["homes", () => benchHomes(values.homes.split(",").map(Number), Number(values["idle-seconds"]))],
]);

endStagesOnSignal();
say(`node ${process.version}; ${describeMachine()}`);
for (const name of positionals.length === 0 ? parts.keys() : positionals) {
  const part = parts.get(name);
  if (part === undefined) throw new Error(`no part is called ${name}; there are ${[...parts.keys()].join(", ")}`);
  await part();
}
