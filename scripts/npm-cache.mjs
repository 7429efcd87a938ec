// Packages that the tests run but do not build on: installed once for all clones, outside of them.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const CACHE = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "codex-auth-watchdog");

/**
 * Installs a package into the cache, unless it is there.
 *
 * @param name its folder in the cache
 * @param spec what npm is asked for: PACKAGE@VERSION
 * @param file a file of it, below node_modules
 * @returns the path of that file
 */
export function installOnce(name, spec, file) {
  const place = join(CACHE, name);
  const inside = join("node_modules", file);
  if (!existsSync(join(place, inside))) {
    mkdirSync(CACHE, { recursive: true });
    const fresh = mkdtempSync(join(CACHE, `.${name}-`));
    try {
      if (!run("npm", ["install", "--no-save", "--ignore-scripts", "--prefix", fresh, spec]))
        throw new Error(`could not install ${spec}`);
      rmSync(place, { recursive: true, force: true });
      renameSync(fresh, place);
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
  }
  return join(place, inside);
}

/** Runs a command with this process's output; returns whether it ended well. */
export function run(command, args, env = {}) {
  const options = { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, ...env } };
  const { status, error } = spawnSync(command, args, options);
  if (error) throw error;
  return status === 0;
}
