import { defineConfig } from "vitest/config";

/** npm run test:codex: the rows on the real Codex, which scripts/test-codex.mjs installs. */
export default defineConfig({
  test: {
    include: ["test/codex/*.codex.ts"],
    reporters: ["default", "./test/codex/table-reporter.ts"],
    // A Codex that waits for a lock, or that lingers, costs no time of the processor.
    sequence: { concurrent: true },
    maxConcurrency: 4,
    testTimeout: 90_000,
  },
});
