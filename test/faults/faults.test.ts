import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { BASELINE_PATH } from "../support/baseline.js";
import type { Row } from "./row.js";
import { ROWS } from "./rows.js";

const HAS = {
  root: process.geteuid?.() === 0,
  strace: spawnSync("strace", ["-V"]).status === 0,
};

function isPossible({ needs }: Row): boolean {
  return needs.every((need) => HAS[need]);
}

/** The long form is `npm run test:faults`. */
describe("the fault suite in its short form", () => {
  // Most of them wait for an answer or a lock.
  describe.concurrent("loses no login and presents no token twice", () => {
    for (const row of ROWS) {
      it.skipIf(!isPossible(row))(row.name, { timeout: 120_000 }, async ({ expect }) => {
        const trials = await row.run("watchdog", "short");
        expect(trials.length).toBeGreaterThan(0);
        expect(trials.filter(({ fate, defect }) => fate === "lost" || defect !== null)).toEqual([]);
      });
    }
  });

  it.skipIf(!existsSync(BASELINE_PATH))("sees it when a login is lost: the script has no lock", async () => {
    const row = ROWS.find(({ name }) => name.includes("processes at once"));
    const trials = (await row?.run("script", "short")) ?? [];
    expect(trials.filter(({ fate }) => fate === "lost" || fate === "window")).not.toEqual([]);
  });
});
