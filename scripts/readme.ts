// Writes the README's lists of commands and options from the program's own table. A test fails when they differ.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MARKS, renderOptions } from "../test/support/option-list.js";

const README = join(process.cwd(), "README.md"); // npm runs a script in the project's folder.
const text = readFileSync(README, "utf8");
const [before, rest = ""] = text.split(MARKS.begin);
writeFileSync(README, `${before}${MARKS.begin}${renderOptions()}${rest.slice(rest.indexOf(MARKS.end))}`);
