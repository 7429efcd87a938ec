import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { BENCH_MARKS, renderReport } from "../../bench/report.js";
import { plotsOf, readResults } from "../../bench/results.js";
import { OPTIONS } from "../../src/cli/option-table.js";
import { INTENDED_DIFFERENCES } from "../support/intended-differences.js";
import { MARKS, renderOptions } from "../support/option-list.js";
import { bestShare, simulateScript, simulateWatchdog } from "../support/simulation.js";
import {
  readYear,
  renderYearPlot,
  renderYearTable,
  YEAR_FILES,
  YEAR_MARKS,
  YEAR_SCENARIOS,
} from "../support/year-report.js";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

it("lists each intended difference from the shell script, with its reason", () => {
  const table = readme.split("<!-- differences: begin -->\n")[1]?.split("<!-- differences: end -->")[0];
  const rows = INTENDED_DIFFERENCES.map(({ name, reason }) => `| ${name} | ${reason} |\n`);
  expect(table).toBe(`| what | why |\n|---|---|\n${rows.join("")}`);
});

it("lists the commands and options as the program's own table has them (npm run readme writes them)", () => {
  const listed = readme.split(MARKS.begin)[1]?.split(MARKS.end)[0];
  expect(listed).toBe(renderOptions());
});

it("names each variable once in the program, in the table of options", () => {
  const names = OPTIONS.flatMap(({ variables }) => variables);
  expect(new Set(names).size).toBe(names.length);
});

it("shows what npm run bench has saved", () => {
  const results = readResults();
  expect(readme.split(BENCH_MARKS.begin)[1]?.split(BENCH_MARKS.end)[0]).toBe(renderReport(results));
  for (const [name, svg] of plotsOf(results)) {
    expect(readFileSync(new URL(`../../docs/bench/${name}.svg`, import.meta.url), "utf8"), name).toBe(svg);
  }
  expect(plotsOf(results).size).toBe(4);
});

it("shows the simulated year as npm run simulate has saved it", () => {
  const rows = readYear();
  expect(readme.split(YEAR_MARKS.begin)[1]?.split(YEAR_MARKS.end)[0]).toBe(renderYearTable(rows));
  expect(readFileSync(YEAR_FILES.plot, "utf8")).toBe(renderYearPlot(rows));
});

it("has saved of the simulated year what a simulation gives today (npm run simulate)", async () => {
  const rows = readYear();
  expect(rows.map(({ life, what }) => `${life} ${what}`)).toEqual(
    YEAR_SCENARIOS.map(({ life, what }) => `${life} ${what}`),
  );
  for (const [index, scenario] of YEAR_SCENARIOS.entries()) {
    const row = rows[index];
    expect([row?.bestShare, row?.script]).toEqual([bestShare(scenario), await simulateScript(scenario)]);
    // An hour's tokens take a minute; whoever edits a row by hand edits one of these, or only half of a pair.
    if (scenario.livesForSec > 3_600) expect(row?.watchdog).toEqual(await simulateWatchdog(scenario));
  }
});
