import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeFakeCodex } from "../support/fake-codex.js";
import { GROUPS } from "./rows.js";
import { Stage } from "./stage.js";
import { compareVersions, complaintOf, expectedOf, type Row, renderTable } from "./table.js";

const ROW: Row = {
  name: "manner of writing",
  use: "torn files",
  expected: [
    ["0", "in place"],
    ["0.166", "rename"],
  ],
  observe: () => Promise.resolve("rename"),
};

const ROWS = GROUPS.flatMap(({ rows }) => rows);

it.each([
  ["0.99.0", "in place"],
  ["0.165.0", "in place"],
  ["0.166.0", "rename"],
  ["0.1000.0", "rename"],
  ["1.0.0", "rename"],
])("expects of %s what the last change before it says", (version, seen) => {
  expect(expectedOf(ROW, version)).toBe(seen);
});

it("names the row, the release and what the row is for when a release does something else", () => {
  expect(complaintOf(ROW, "0.169.0", "rename")).toBeNull();
  const complaint = complaintOf(ROW, "0.169.0", "in place");
  for (const part of [ROW.name, "0.169.0", ROW.use, '"in place" in place of "rename"'])
    expect(complaint).toContain(part);
});

it("marks in the table what is not as expected, and what came to no end", () => {
  const table = renderTable(
    [{ title: "its save", rows: [ROW] }],
    [
      { version: "0.169.0", row: ROW.name, seen: "in place" },
      { version: "0.165.0", row: ROW.name, seen: "in place" },
      { version: "0.170.0", row: ROW.name, seen: null },
      { version: "0.171.0", row: "another", seen: "something" },
    ],
  );
  expect(table).toBe(
    [
      "| its save | 0.165.0 | 0.169.0 | 0.170.0 | 0.171.0 | what it is for |",
      "|---|---|---|---|---|---|",
      "| manner of writing | in place | **in place** ✗ expected: rename | **came to no end** ✗ | not run | torn files |",
    ].join("\n"),
  );
});

it("has a name of its own for each row, and changes in the order of releases", () => {
  expect(new Set(ROWS.map(({ name }) => name)).size).toBe(ROWS.length);
  for (const { name, expected } of ROWS) {
    const releases = expected.map(([since]) => since);
    expect([name, releases]).toEqual([name, releases.toSorted(compareVersions)]);
  }
});

it("has every row in docs/codex.md, none of them red (npm run test:codex writes them)", () => {
  const page = readFileSync(new URL("../../docs/codex.md", import.meta.url), "utf8");
  for (const { name, use } of ROWS) {
    const line = page.split("\n").find((each) => each.startsWith(`| ${name} |`) && each.endsWith(`| ${use} |`));
    expect([name, line]).toEqual([name, expect.not.stringContaining("✗")]);
  }
});

it("turns red by its name the row that a release breaks: one that answers, but does not refresh", async () => {
  const directory = mkdtempSync(join(tmpdir(), "watchdog-codex-"));
  chmodSync(directory, 0o755);
  const program = writeFakeCodex(
    directory,
    'if (method === "getAuthStatus") return answer({ authMethod: "chatgpt", authToken: "made-up" }); answer({});',
  );
  const stage = await Stage.open({ version: "0.169.0", program });
  try {
    const row = ROWS.find(({ name }) => name === "forced by account/read");
    if (row === undefined) throw new Error("there is no such row");
    const complaint = complaintOf(row, "0.169.0", await row.observe(stage));
    expect(complaint).toContain('breaks the row "forced by account/read": "0 POSTs, not saved, not shown"');
  } finally {
    await stage.close().finally(() => rmSync(directory, { recursive: true }));
  }
});
