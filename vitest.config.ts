import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Real processes on two cores: a deadline that only a hung program misses.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
