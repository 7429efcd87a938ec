// Puts the real Codex through the rows of test/codex/rows.ts: npm run test:codex [-- VITEST-ARGUMENTS].
// CODEX_VERSIONS="0.169.0 0.170.0" chooses other releases. As root the whole run has no network but its own loopback.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installOnce, run } from "./npm-cache.mjs";

/** In place and without locks; the last of these; in place under `auth.lock`; by rename under both locks. */
const VERSIONS = ["0.130.0", "0.165.0", "0.166.0", "0.169.0"];

const asked = process.env["CODEX_VERSIONS"]?.split(/\s+/).filter((version) => version !== "") ?? [];
const versions = asked.length > 0 ? asked : VERSIONS;
const programs = versions.map((version) => [
  version,
  installOnce(`codex-${version}`, `@openai/codex@${version}`, join(".bin", "codex")),
]);

const vitest = ["npx", "vitest", "run", "--config", "vitest.codex.config.ts", ...process.argv.slice(2)];
const folder = mkdtempSync(join(tmpdir(), "watchdog-codex-"));
try {
  // Names can't be asked for where there is no network: with the usual limits each would take ten seconds.
  const resolver = join(folder, "resolv.conf");
  writeFileSync(resolver, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
  const prepare = 'ip link set lo up && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"';
  const alone = ["--net", "--mount", "sh", "-c", prepare, "sh", resolver];
  const canBeAlone = process.geteuid?.() === 0 && spawnSync("unshare", [...alone, "true"]).status === 0;
  if (!canBeAlone) process.stdout.write("not in a network namespace of its own (root, unshare and ip make one)\n");
  const [command = "", ...args] = canBeAlone ? ["unshare", ...alone, ...vitest] : vitest;
  const isDefault = asked.length === 0 ? { CODEX_TABLE: "docs/codex.md" } : {};
  const isGood = run(command, args, { CODEX_PROGRAMS: JSON.stringify(programs), ...isDefault });
  process.exitCode = isGood ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}
