// Bundles src/main.ts into dist/watchdog.mjs. What a run without a refresh does not need lies in chunks of its own.
import { rm } from "node:fs/promises";
import { build } from "esbuild";

await rm(new URL("../dist", import.meta.url), { recursive: true, force: true });
await build({
  absWorkingDir: new URL("..", import.meta.url).pathname,
  entryPoints: { watchdog: "src/main.ts" },
  outdir: "dist",
  outExtension: { ".js": ".mjs" },
  chunkNames: "chunks/[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.18",
  // jsonc-parser's "main" is a UMD file that esbuild can't follow; its "module" is plain ESM.
  mainFields: ["module", "main"],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  // The bundled CommonJS packages ask for these; ESM has them under other names.
  banner: { js: 'import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);' },
  define: { __filename: "import.meta.filename", __dirname: "import.meta.dirname" },
  logLevel: "warning",
});
