// Bundles src into dist/: what every run needs in watchdog.cjs, what only some need in files of their own.
// CommonJS, because Node starts it faster: an empty ES module costs about a third more than an empty script.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { writeCodeCache } from "./code-cache.mjs";
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
    "./src/adapters/lock-holder.ts",
    "./src/adapters/file-ticket-book.ts",
    "./src/adapters/processes.ts",
  ],
  "holding.cjs": [
    "./src/under-lock.ts",
    "./src/core/fingerprint.ts",
    "./src/adapters/whole-file.ts",
    "./src/adapters/file-commit.ts",
  ],
  "sending.cjs": ["./src/adapters/http-token-endpoint.ts"],
  "heap.cjs": ["./src/adapters/heap.ts"],
  "toml.cjs": ["smol-toml"],
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
  write: false,
  logLevel: "warning",
  // A dynamic import becomes a require: it loads just as late, and starts no ES module loader.
  supported: { "dynamic-import": false },
  plugins: [{ name: "lean", setup: leaveOut }],
};

/** The files whose own dynamic imports lead to others; in the rest they are part of the file. */
const SPLIT = ["refreshing.cjs", "holding.cjs"];
const lazy = { name: "lazy", setup: resolveLazily };

await rm(dist, { recursive: true, force: true });
const results = await Promise.all([
  build({
    ...shared,
    entryPoints: ["src/main.ts"],
    outfile: join(dist, "watchdog.cjs"),
    plugins: [...shared.plugins, lazy],
  }),
  ...Object.entries(LAZY).map(([file, paths]) =>
    build({
      ...shared,
      stdin: { contents: paths.map((path) => `export * from "${path}";`).join("\n"), resolveDir: root },
      outfile: join(dist, file),
      plugins: SPLIT.includes(file) ? [...shared.plugins, lazy] : shared.plugins,
    }),
  ),
]);
await mkdir(dist);
for (const { outputFiles } of results) {
  for (const { path, text } of outputFiles) {
    // For bin/watchdog.cjs, which looks for what V8 has kept of exactly this code.
    const hash = createHash("sha256").update(text).digest("hex").slice(0, 14);
    await writeFile(path, `/*${hash}*/${text}`);
  }
}
const inputs = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
await writeFile(join(dist, "THIRD_PARTY_LICENSES.txt"), await collectNotices(root, inputs));
await writeCodeCache(root).catch((error) => {
  process.stderr.write(`no code cache (${error.code}): the program runs without it, a little later\n`);
});

/**
 * Takes only what is needed from what is large.
 * @param {import("esbuild").PluginBuild} bundler
 */
function leaveOut(bundler) {
  const parts = join(root, "scripts", "undici-parts.cjs");
  bundler.onResolve({ filter: /^undici$/ }, () => ({ path: parts }));
  // proper-lockfile's default, for who gives it no file system: src/adapters/file-lock.ts does.
  bundler.onResolve({ filter: /^graceful-fs$/ }, () => ({ path: "node:fs", external: true }));
  // undici goes on without it, and speaks HTTP/1.1 to every server unless it is told otherwise.
  bundler.onResolve({ filter: /^node:http2$/ }, () => ({ path: "http2", namespace: "none" }));
  bundler.onLoad({ filter: /./, namespace: "none" }, () => ({ contents: "exports.constants = {};", loader: "js" }));
  bundler.onLoad({ filter: /[\\/]package\.json$/ }, async ({ path }) => {
    const { version } = JSON.parse(await readFile(path, "utf8"));
    return { contents: JSON.stringify({ version }), loader: "json" };
  });
}

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
