// Takes the safeguards of a refresh away, one at a time, and runs the model test on what is left. Each one must be
// missed. The sources stay as they are: the change is made while vitest loads them. node scripts/mutate.mjs [NAME…]
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { MUTANTS } from "./mutants.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const MODEL_TESTS = ["test/cycle/interleave.test.ts", "test/cycle/model.test.ts", "test/cycle/crash.test.ts"];

/**
 * Runs the model test; `mutant` names what is taken away, "" nothing.
 * @param {string} mutant
 */
function runModel(mutant) {
  const args = ["vitest", "run", "--config", "scripts/mutate.config.mjs", "--bail", "1", ...MODEL_TESTS];
  const startedMs = performance.now();
  const { status, stdout, stderr } = spawnSync("npx", args, {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, MUTANT: mutant, NO_COLOR: "1" },
  });
  const output = `${stdout}${stderr}`;
  const failed = /^ FAIL {2}(.*)$/m.exec(output)?.[1] ?? "";
  // Only an assertion counts: a change that breaks the program in another way proves nothing.
  const isCaught = status !== 0 && failed !== "" && /AssertionError|still not settled/.test(output);
  return { status, output, failed, isCaught, durationSec: (performance.now() - startedMs) / 1000 };
}

const names = process.argv.slice(2);
const chosen = MUTANTS.filter(({ name }) => names.length === 0 || names.includes(name));
const intact = runModel("");
if (intact.status !== 0) {
  process.stderr.write(`${intact.output}\nthe model test fails without any change\n`);
  process.exit(1);
}
process.stdout.write(`with every safeguard: passed in ${intact.durationSec.toFixed(1)} s\n\n`);
let survivors = 0;
for (const { name, without } of chosen) {
  const { isCaught, output, failed, durationSec } = runModel(name);
  if (!isCaught) {
    survivors += 1;
    process.stderr.write(output);
  }
  const verdict = isCaught ? `missed by: ${failed.replace(/^.*? > /, "")}` : "NOT MISSED";
  process.stdout.write(`${name}: ${without}\n  ${verdict} (${durationSec.toFixed(1)} s)\n`);
}
process.stdout.write(`\n${chosen.length - survivors} of ${chosen.length} safeguards are missed when they are gone\n`);
process.exit(survivors === 0 && chosen.length > 0 ? 0 : 1);
