// Runs a TypeScript file of this project: node scripts/run-ts.mjs FILE [ARGUMENTS]. Node 20 can't by itself.
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const [file = "", ...rest] = process.argv.slice(2);
const root = fileURLToPath(new URL("..", import.meta.url));
const cache = join(root, "node_modules", ".cache", "run-ts");
await mkdir(cache, { recursive: true });
const outfile = join(cache, `${basename(file, ".ts")}.mjs`);
await build({
  entryPoints: [file],
  outfile,
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20.18",
  packages: "external",
  // The bundle lies elsewhere than its sources, which find the project by their own URL.
  define: {
    "import.meta.url": JSON.stringify(pathToFileURL(join(root, "test", "support", "bundled.ts")).href),
  },
});
process.argv = [process.argv[0] ?? "node", file, ...rest];
await import(pathToFileURL(outfile).href);
