import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { OPTIONS } from "../../src/cli/option-table.js";
import { INTENDED_DIFFERENCES } from "../support/intended-differences.js";
import { MARKS, renderOptions } from "../support/option-list.js";

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
