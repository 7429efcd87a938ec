// Bundles src/main.ts into dist/watchdog.mjs. What a run without a refresh does not need lies in chunks of its own.
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");

await rm(dist, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: root,
  metafile: true,
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

await writeFile(join(dist, "THIRD_PARTY_LICENSES.txt"), await collectLicenses(Object.keys(metafile.inputs)));

/**
 * The bundled packages' licence texts, which have to go where the code goes.
 * @param {readonly string[]} inputs paths of the bundled files, relative to the root
 */
async function collectLicenses(inputs) {
  const packages = new Set(inputs.map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? ""));
  packages.delete("");
  const notices = [...packages]
    .sort((a, b) => a.localeCompare(b))
    .map(async (path) => {
      const { name, version, license } = JSON.parse(await readFile(join(root, path, "package.json"), "utf8"));
      const file = (await readdir(join(root, path))).find((entry) => /^licen[cs]e/i.test(entry));
      if (file === undefined) throw new Error(`${name} has no licence file: its code can't be bundled`);
      const text = await readFile(join(root, path, file), "utf8");
      return `${name} ${version} (${license})\n\n${text.trim()}\n`;
    });
  return (await Promise.all(notices)).join(`\n${"-".repeat(80)}\n\n`);
}
