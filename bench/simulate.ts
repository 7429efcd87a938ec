/**
 * A year of the program's own loop and cycle on a virtual clock, beside the shell script's schedule, under restarts,
 * suspends and outages. Prints the table, and writes it into the README, with its plot and its figures in docs/.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import {
  renderYearPlot,
  renderYearTable,
  simulateYear,
  YEAR_FILES,
  YEAR_MARKS,
  YEAR_SCENARIOS,
  type YearRow,
} from "../test/support/year-report.js";

const README = new URL("../../README.md", import.meta.url); // Seen from test/support, as run-ts.mjs has it.

const startedMs = performance.now();
const rows: YearRow[] = [];
for (const scenario of YEAR_SCENARIOS) rows.push(await simulateYear(scenario));

const table = renderYearTable(rows);
mkdirSync(new URL(".", YEAR_FILES.rows), { recursive: true });
writeFileSync(YEAR_FILES.rows, `${JSON.stringify(rows, null, 2)}\n`);
writeFileSync(YEAR_FILES.plot, renderYearPlot(rows));
const [before, rest = ""] = readFileSync(README, "utf8").split(YEAR_MARKS.begin);
writeFileSync(README, `${before}${YEAR_MARKS.begin}${table}${rest.slice(rest.indexOf(YEAR_MARKS.end))}`);

process.stdout.write(table);
const [seconds, megabytes] = [(performance.now() - startedMs) / 1000, process.resourceUsage().maxRSS / 1024];
process.stdout.write(`${seconds.toFixed(0)} s, ${megabytes.toFixed(0)} MiB at most\n`);
