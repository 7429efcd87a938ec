/**
 * What one `--once` costs: on a fresh login, without one, and on a due one, beside a bare Node and the shell script.
 *
 * The commands run in turn, round after round, so that whatever else the machine does falls on all of them alike;
 * ratios of medians are printed. `--rounds N` and `--baseline PATH` change the defaults.
 */
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { Home } from "../test/support/home.js";
import { makeAuthJson, makeTokens } from "../test/support/login.js";
import { PROGRAM_PATH, start } from "../test/support/program.js";
import { TokenServer } from "../test/support/token-server.js";
import { describeMachine, median, say } from "./figures.js";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "60" },
    baseline: { type: "string", default: "../shared/baseline/codex_auth_refresh.sh" },
  },
});
const rounds = Number(values.rounds);

interface Row {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly prepare?: () => void;
  readonly codexHome: string;
  readonly wallMs: number[];
}

const server = await TokenServer.start();
const fresh = new Home();
const due = new Home();
const absent = new Home();
fresh.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 864_000 })));
const renew = (): void => due.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));

const node = process.execPath;
const once = [PROGRAM_PATH, "--once"];
const rows: Row[] = [
  { name: "node -e 0", command: node, args: ["-e", "0"], codexHome: fresh.path, wallMs: [] },
  { name: "--once, fresh login", command: node, args: once, codexHome: fresh.path, wallMs: [] },
  { name: "--once, no login", command: node, args: once, codexHome: absent.path, wallMs: [] },
  { name: "--once, due login", command: node, args: once, codexHome: due.path, wallMs: [], prepare: renew },
  { name: "--help", command: node, args: [PROGRAM_PATH, "--help"], codexHome: absent.path, wallMs: [] },
];
if (existsSync(values.baseline)) {
  const script = { command: "bash", args: [values.baseline, "--once"], wallMs: [] };
  rows.push({ ...script, name: "shell script, fresh login", codexHome: fresh.path });
}

try {
  for (let round = 0; round <= rounds; round += 1) {
    for (const row of rows) {
      row.prepare?.();
      const startedMs = performance.now();
      const env = { CODEX_HOME: row.codexHome, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
      await start(row.command, row.args, { env }).ended;
      if (round > 0) row.wallMs.push(performance.now() - startedMs); // The first round warms the page cache.
    }
  }
  report();
} finally {
  for (const home of [fresh, due, absent]) home.remove();
  await server.stop();
}

function report(): void {
  const bare = median(rows[0]?.wallMs ?? []);
  say(`node ${process.version}, ${rounds} rounds, medians; ${describeMachine()}\n`);
  say(`${"".padEnd(28)}${"ms".padStart(8)}${"× node -e 0".padStart(14)}`);
  for (const { name, wallMs } of rows) {
    const ms = median(wallMs);
    say(`${name.padEnd(28)}${ms.toFixed(1).padStart(8)}${(ms / bare).toFixed(2).padStart(14)}`);
  }
  const script = rows.find(({ command }) => command === "bash");
  const ratio = median(rows[1]?.wallMs ?? []) / median(script?.wallMs ?? []);
  say(
    script === undefined
      ? "\nThe shell script is not here; --baseline PATH names it."
      : `\n--once on a fresh login takes ${ratio.toFixed(2)} of the shell script's time.`,
  );
}
