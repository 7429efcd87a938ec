import { readFileSync } from "node:fs";
import { expect } from "vitest";
import type { FleetScene } from "./fleet.js";
import { findLeak } from "./login.js";
import type { RunResult } from "./program.js";

/** Runs a command on the store. What it says of a failure is one clear line, and it gives neither tokens nor keys away. */
export async function runDiscreetly(
  scene: FleetScene,
  tokens: readonly string[],
  words: string,
  env: Record<string, string>,
  role: string,
): Promise<RunResult> {
  const run = await scene.run("desk", ["store", ...words.split(" ")], role, env);
  const keys = ["owner.key", "follower.key"].map((name) => readFileSync(scene.path(name), "utf8").trim());
  expect(findLeak(run.stderr, [...tokens, ...keys])).toBeNull();
  expect(run.stderr).not.toContain(scene.server.adminPassword);
  if (run.code !== 0)
    expect(run.stderr).toMatch(/^(?:codex-auth-watchdog: [^\n]+\n)?(?:Try codex-auth-watchdog --help\n)?$/);
  return run;
}
