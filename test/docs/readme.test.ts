import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { INTENDED_DIFFERENCES } from "../support/intended-differences.js";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

it("lists each intended difference from the shell script, with its reason", () => {
  const table = readme.split("<!-- differences: begin -->\n")[1]?.split("<!-- differences: end -->")[0];
  const rows = INTENDED_DIFFERENCES.map(({ name, reason }) => `| ${name} | ${reason} |\n`);
  expect(table).toBe(`| what | why |\n|---|---|\n${rows.join("")}`);
});
