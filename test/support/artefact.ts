import { cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { start } from "./program.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The names of the three files. */
export const ARTEFACT = "codex-auth-watchdog.cjs";
export const NOTICES = "THIRD_PARTY_LICENSES.txt";
export const SBOM = "sbom.cdx.json";

/** Makes the artefact of what is in a checkout's dist/; returns its folder. */
export async function makeArtefact(out: string, { checkout = ROOT, env = {} } = {}): Promise<string> {
  await succeed([join(checkout, "scripts/artefact.mjs"), out], env);
  return out;
}

/** Builds in a copy of this checkout, which has no package but those that `places` names and the bundler. */
export async function buildElsewhere(copy: string, places: readonly string[]): Promise<void> {
  const sources = ["src", "scripts", "package.json", "package-lock.json", "tsconfig.json", "LICENSE"];
  for (const path of [...sources, "node_modules/esbuild", "node_modules/@esbuild", ...places]) {
    cpSync(join(ROOT, path), join(copy, path), { recursive: true });
  }
  await succeed([join(copy, "scripts/build.mjs")]);
}

async function succeed(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<void> {
  const { code, stderr } = await start(process.execPath, args, { env, cwd: "/" }).ended;
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
}
