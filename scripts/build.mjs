// Bundles src into dist/: what every run needs in watchdog.cjs, what only some need in files of their own.
// CommonJS, because Node starts it faster: an empty ES module costs about a third more than an empty script.
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { collectNotices } from "./notices.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");

/**
 * What the program asks for by a dynamic import, once it is sure that it needs it. Each file has its own copy of
 * what it shares with the others, classes too: `instanceof` and `#private` fields don't reach from one to another.
 */
const LAZY = {
  "refreshing.cjs": [
    "./src/refresh.ts",
    "./src/adapters/file-lock.ts",
    "./src/adapters/http-token-endpoint.ts",
    "./src/adapters/whole-file.ts",
    "./src/adapters/codex-locks.ts",
    "./src/adapters/processes.ts",
    "smol-toml",
  ],
  "delegating.cjs": ["./src/adapters/codex-app-server.ts"],
  "flags.cjs": ["./src/cli/flags.ts"],
  "asking.cjs": ["./src/cli/ask.ts"],
  "telemetry.cjs": ["./src/cli/telemetry.ts"],
  "hook.cjs": ["./src/adapters/event-hook.ts"],
  "fleet-options.cjs": ["./src/cli/fleet-options.ts"],
  "bootstrap.cjs": ["./src/bootstrap.ts"],
  "fleet.cjs": ["./src/fleet.ts"],
  "following.cjs": ["./src/cli/follow.ts"],
  "keeping.cjs": ["./src/cli/store.ts"],
};

const shared = {
  absWorkingDir: root,
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node20.18",
  // jsonc-parser's "main" is a UMD file that esbuild can't follow; its "module" is plain ESM.
  mainFields: ["module", "main"],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
};

await rm(dist, { recursive: true, force: true });
const results = await Promise.all([
  build({
    ...shared,
    entryPoints: ["src/main.ts"],
    outfile: join(dist, "watchdog.cjs"),
    // A dynamic import becomes a require: it loads just as late, and starts no ES module loader.
    supported: { "dynamic-import": false },
    plugins: [{ name: "lazy", setup: resolveLazily }],
  }),
  ...Object.entries(LAZY).map(([file, paths]) =>
    build({
      ...shared,
      stdin: { contents: paths.map((path) => `export * from "${path}";`).join("\n"), resolveDir: root },
      outfile: join(dist, file),
    }),
  ),
]);
const inputs = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
await writeFile(join(dist, "THIRD_PARTY_LICENSES.txt"), await collectNotices(root, inputs));

/** @param {import("esbuild").PluginBuild} bundler */
function resolveLazily(bundler) {
  bundler.onResolve({ filter: /./ }, ({ kind, path }) => {
    if (kind !== "dynamic-import" || path.startsWith("node:")) return undefined;
    const suffix = path.replace(/^\.+/, "").replace(/\.js$/, ".ts");
    const [file] = Object.entries(LAZY).find(([, paths]) => paths.some((lazy) => lazy.endsWith(suffix))) ?? [];
    if (file === undefined) throw new Error(`${path} is imported lazily: say in scripts/build.mjs where it goes`);
    return { path: `./${file}`, external: true };
  });
}
