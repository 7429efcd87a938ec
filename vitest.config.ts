import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // The process tests mostly wait; left alone, vitest takes one worker on two cores.
    maxWorkers: 2,
    // Real processes on two cores: a deadline that only a hung program misses.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
