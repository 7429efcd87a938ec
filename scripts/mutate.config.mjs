// vitest with one safeguard taken away: see mutate.mjs.
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { MUTANTS } from "./mutants.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const mutant = MUTANTS.find(({ name }) => name === process.env["MUTANT"]);

export default defineConfig({
  root,
  test: { include: ["test/cycle/*.test.ts"], testTimeout: 60_000 },
  plugins: [
    {
      name: "mutant",
      enforce: "pre",
      transform(code, id) {
        if (mutant === undefined || relative(root, id.split("?")[0] ?? "") !== mutant.file) return null;
        const parts = code.split(mutant.from);
        if (parts.length !== 2)
          throw new Error(`${mutant.name}: its text stands ${parts.length - 1} times in ${mutant.file}`);
        return parts.join(mutant.to);
      },
    },
  ],
});
