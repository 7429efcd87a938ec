import type { Stage } from "./stage.js";

/** A line of the contract between the real Codex and the watchdog. */
export interface Row {
  readonly name: string;
  /** What of the watchdog rests on it. */
  readonly use: string;
  readonly needs?: "root";
  /** What is seen, from which release on; the first of these is also what older releases show. */
  readonly expected: readonly (readonly [since: string, seen: string])[];
  /** Makes a Codex do it, and says in a few words what it did. */
  readonly observe: (stage: Stage) => Promise<string>;
}

export interface Group {
  readonly title: string;
  readonly rows: readonly Row[];
}

/** What one release did in one row; `seen` is null when the row came to no end. */
export interface Observation {
  readonly version: string;
  readonly row: string;
  readonly seen: string | null;
}

const VERSION_ORDER = new Intl.Collator("en", { numeric: true });

export function compareVersions(a: string, b: string): number {
  return VERSION_ORDER.compare(a, b);
}

export function expectedOf({ expected }: Pick<Row, "expected">, version: string): string {
  const past = expected.filter(([since]) => compareVersions(since, version) <= 0);
  return (past.at(-1) ?? expected[0])?.[1] ?? "";
}

/** @returns what is wrong with what a release did, by the name of the row; null when it is as expected */
export function complaintOf(row: Pick<Row, "name" | "expected" | "use">, version: string, seen: string): string | null {
  const expected = expectedOf(row, version);
  return seen === expected
    ? null
    : `Codex ${version} breaks the row "${row.name}": "${seen}" in place of "${expected}". It is for: ${row.use}`;
}

/** The table of rows and versions, in Markdown; without the rows that no release was put through. */
export function renderTable(groups: readonly Group[], observations: readonly Observation[]): string {
  const versions = [...new Set(observations.map(({ version }) => version))].sort(compareVersions);
  const cell = (row: Row, version: string): string => {
    const seen = observations.find((each) => each.version === version && each.row === row.name)?.seen;
    if (seen === undefined) return "not run";
    if (seen === null) return "**came to no end** ✗";
    return complaintOf(row, version, seen) === null ? seen : `**${seen}** ✗ expected: ${expectedOf(row, version)}`;
  };
  return groups
    .map(({ title, rows }) => ({
      title,
      rows: rows.filter(({ name }) => observations.some(({ row }) => row === name)),
    }))
    .filter(({ rows }) => rows.length > 0)
    .map(({ title, rows }) => {
      const lines = rows.map((row) =>
        [row.name, ...versions.map((version) => cell(row, version)), row.use].map(escapeCell).join(" | "),
      );
      const head = [title, ...versions, "what it is for"].join(" | ");
      return [`| ${head} |`, `|${"---|".repeat(versions.length + 2)}`, ...lines.map((line) => `| ${line} |`)].join(
        "\n",
      );
    })
    .join("\n\n");
}

function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|");
}
