// npm run test:faults [-- --short] [-- WORD…]: puts the program through every row, and the shell script through those
// that it can be put through. Without --short each row that was run takes its place in the table of the README.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BASELINE_PATH } from "../support/baseline.js";
import type { Row, Trial } from "./row.js";
import { ROWS } from "./rows.js";

const README = fileURLToPath(new URL("../../README.md", import.meta.url));

interface Count {
  readonly trials: number;
  readonly posts: number;
  readonly lost: number;
  readonly inWindow: readonly Trial[];
  readonly recovered: number;
  readonly defects: readonly Trial[];
}

function countOf(trials: readonly Trial[]): Count {
  const having = (fate: Trial["fate"]): readonly Trial[] => trials.filter((trial) => trial.fate === fate);
  return {
    trials: trials.length,
    posts: trials.reduce((sum, { posts }) => sum + posts, 0),
    lost: having("lost").length,
    inWindow: having("window"),
    recovered: having("recovered").length,
    defects: trials.filter(({ fate, defect }) => fate === "lost" || defect !== null),
  };
}

async function main(): Promise<void> {
  const words = process.argv.slice(2);
  const depth = words.includes("--short") ? "short" : "full";
  const filters = words.filter((word) => word !== "--short");
  const rows = ROWS.filter(({ name }) => filters.every((word) => name.includes(word)));
  requireTools(rows);
  let defectCount = 0;
  for (const row of rows) {
    const startedMs = Date.now();
    const ours = countOf(await row.run("watchdog", depth));
    const theirs = row.isComparable ? countOf(await row.run("script", depth)) : null;
    const script = theirs === null ? "" : `${theirs.lost + theirs.inWindow.length} of ${theirs.trials}`;
    const line = `| ${[row.name, ours.trials, ours.posts, ours.lost, ours.inWindow.length, ours.recovered, script].join(" | ")} |`;
    if (depth === "full") writeLine(row, line);
    const shown = theirs === null ? "" : `; the script lost ${script}`;
    say(
      `${row.name}: ${ours.trials} trials, ${ours.posts} POSTs, ${ours.lost} lost, ${ours.inWindow.length} in the window, ${ours.recovered} recovered by the next run${shown} (${Math.round((Date.now() - startedMs) / 1000)} s)`,
    );
    for (const { note } of ours.inWindow) say(`  in the window: ${note}`);
    for (const { note, defect } of ours.defects) say(`  DEFECT ${note}${defect === null ? "" : ` - ${defect}`}`);
    defectCount += ours.defects.length;
  }
  say(`${rows.length} rows, ${defectCount} defects`);
  process.exitCode = defectCount === 0 && rows.length > 0 ? 0 : 1;
}

function requireTools(rows: readonly Row[]): void {
  const needs = new Set(rows.flatMap((row) => row.needs));
  const isCompared = rows.some(({ isComparable }) => isComparable);
  const missing = [
    // Without it the script would lose nothing, because it would do nothing.
    ...(isCompared && !existsSync(BASELINE_PATH) ? [`the shell script at ${BASELINE_PATH}`] : []),
    ...(needs.has("root") && process.geteuid?.() !== 0 ? ["root, for mounts and other users"] : []),
    ...(needs.has("strace") && spawnSync("strace", ["-V"]).status !== 0 ? ["strace (apt-get install strace)"] : []),
  ];
  if (missing.length === 0) return;
  process.stderr.write(`the fault suite needs ${missing.join(" and ")}\n`);
  process.exit(1);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

const BEGIN = "<!-- faults: begin -->";
const END = "<!-- faults: end -->";
const HEAD = [
  "| what is done | trials | POSTs | lost | in the named window | saved by the next run | lost by the script |",
  "|---|---|---|---|---|---|---|",
];

/** Puts the line of a row into the table, in the order of all rows; a long run that is cut off keeps what it has. */
function writeLine(row: Row, line: string): void {
  const text = readFileSync(README, "utf8");
  const old = text.slice(text.indexOf(BEGIN), text.indexOf(END)).split("\n");
  const lineOf = ({ name }: Row): string | undefined => old.find((each) => each.startsWith(`| ${name} |`));
  const lines = ROWS.map((each) => (each === row ? line : lineOf(each))).filter((each) => each !== undefined);
  const table = [BEGIN, ...HEAD, ...lines, ""].join("\n");
  writeFileSync(README, text.slice(0, text.indexOf(BEGIN)) + table + text.slice(text.indexOf(END)));
}

await main();
