import { readFileSync, writeFileSync } from "node:fs";
import type { Reporter, TestCase } from "vitest/node";
import { GROUPS } from "./rows.js";
import { type Observation, renderTable } from "./table.js";

/** What a test tells of itself, as `task.meta.codex`. */
export type RowMeta = Observation;

const BEGIN = "<!-- codex: begin -->";
const END = "<!-- codex: end -->";

/** Prints the table of rows and versions; a whole run on the usual versions writes it into the page as well. */
export default class TableReporter implements Reporter {
  readonly #observations: Observation[] = [];

  onTestCaseResult(test: TestCase): void {
    const { codex } = test.meta() as { codex?: RowMeta };
    if (codex !== undefined) this.#observations.push(codex);
  }

  onTestRunEnd(): void {
    const table = renderTable(GROUPS, this.#observations);
    process.stdout.write(`\n${table}\n`);
    const page = process.env["CODEX_TABLE"];
    const versionCount = new Set(this.#observations.map(({ version }) => version)).size;
    const isWhole = this.#observations.length === versionCount * GROUPS.flatMap(({ rows }) => rows).length;
    if (page === undefined || !isWhole || versionCount === 0) return;
    const text = readFileSync(page, "utf8");
    writeFileSync(
      page,
      `${text.slice(0, text.indexOf(BEGIN))}${BEGIN}\n\n${table}\n\n${text.slice(text.indexOf(END))}`,
    );
  }
}
