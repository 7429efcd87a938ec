import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { type RunResult, start } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MANIFEST = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { name: string; version: string };
const NAME = MANIFEST.name;

let folder: string;
let installed: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "watchdog-pack-"));
  mkdirSync(join(folder, "project"));
  installed = join(folder, "project/node_modules", NAME);
  expect(await command(["npm", "pack", "--pack-destination", folder], ROOT)).toMatchObject({ code: 0 });
  const tarball = join(folder, `${NAME}-${MANIFEST.version}.tgz`);
  expect(await command(["npm", "install", tarball])).toMatchObject({ code: 0 });
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("the packed and installed package", () => {
  it("holds what a user needs and nothing else", () => {
    expect(new Set(listFiles(installed))).toEqual(
      new Set([
        "CHANGELOG.md",
        "Dockerfile.snippet",
        "LICENSE",
        "README.md",
        "bin/watchdog.cjs",
        "dist/THIRD_PARTY_LICENSES.txt",
        "dist/asking.cjs",
        "dist/bootstrap.cjs",
        "dist/delegating.cjs",
        "dist/flags.cjs",
        "dist/fleet-options.cjs",
        "dist/fleet.cjs",
        "dist/following.cjs",
        "dist/heap.cjs",
        "dist/holding.cjs",
        "dist/hook.cjs",
        "dist/keeping.cjs",
        "dist/refreshing.cjs",
        "dist/sending.cjs",
        "dist/telemetry.cjs",
        "dist/toml.cjs",
        "dist/watchdog.cjs",
        "package.json",
        ...listFiles(join(ROOT, "deploy")).map((name) => `deploy/${name}`),
        ...readdirSync(join(ROOT, "schema")).map((name) => `schema/${name}`),
      ]),
    );
    expect(readdirSync(join(installed, "schema"))).toEqual([expect.stringMatching(/\.json$/)]);
  });

  it("names no token and no path of the machine that built it", () => {
    for (const name of listFiles(installed)) {
      const text = readFileSync(join(installed, name), "utf8");
      expect(text.match(/eyJ[\w-]{17,}|\brt_[\w-]{17,}/g), name).toBeNull();
      expect(text.includes(ROOT), name).toBe(false);
    }
  });

  it("brings no other package along", () => {
    expect(readdirSync(join(folder, "project/node_modules")).sort()).toEqual([".bin", ".package-lock.json", NAME]);
    expect(readdirSync(join(folder, "project/node_modules/.bin"))).toEqual([NAME]);
    expect(listFiles(installed).filter((name) => name.includes("node_modules"))).toEqual([]);
  });

  it("is no larger than it need be, and stands on no other package", () => {
    const bytes = listFiles(installed).reduce((sum, name) => sum + statSync(join(installed, name)).size, 0);
    expect(bytes).toBeLessThan(2_500_000);
    const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as Record<string, unknown>;
    const dependencies = ["dependencies", "optionalDependencies", "peerDependencies"].filter((key) => key in manifest);
    expect(dependencies).toEqual([]);
    // What a developer installs: each of them is somebody's to trust.
    const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as { packages: object };
    expect(Object.keys(lock.packages).length).toBeLessThan(320);
  });

  it("prints its version", async () => {
    expect(await npx(["--version"])).toMatchObject({ code: 0, stdout: `${MANIFEST.version}\n`, stderr: "" });
  });

  it("prints its help", async () => {
    const { code, stdout, stderr } = await npx(["--help"]);

    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(`Usage: ${NAME}`);
    expect(stdout).toContain("--once");
  });

  it("ends with 1 on an absent home, and creates nothing", async () => {
    const absent = join(folder, "absent");

    const { code, stdout, stderr } = await npx(["--once"], { CODEX_HOME: absent });

    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("absent or empty");
    expect(statSync(absent, { throwIfNoEntry: false })).toBeUndefined();
  });

  it("refreshes a due login", async () => {
    const server = await TokenServer.start();
    const home = new Home();
    try {
      home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));

      const result = await npx(["--once"], {
        CODEX_HOME: home.path,
        CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url,
      });

      expect(result).toMatchObject({ code: 0, stdout: "" });
      expect(server.posts.length).toBe(1);
      const { refresh_token: refreshToken = "" } = home.readTokens();
      expect(server.isActive(refreshToken)).toBe(true);
    } finally {
      home.remove();
      await server.stop();
    }
  });
});

async function npx(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<RunResult> {
  return await command(["npx", NAME, ...args], join(folder, "project"), env);
}

/** Runs npm's commands with an empty cache of their own and no network: there is nothing to fetch. */
async function command(
  [name = "", ...args]: readonly string[],
  cwd = join(folder, "project"),
  env: Readonly<Record<string, string>> = {},
): Promise<RunResult> {
  return await start(name, args, {
    cwd,
    env: {
      HOME: folder,
      npm_config_cache: join(folder, "cache"),
      npm_config_offline: "true",
      npm_config_audit: "false",
      npm_config_fund: "false",
      npm_config_update_notifier: "false",
      ...env,
    },
  }).ended;
}

function listFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) =>
    statSync(join(directory, name)).isFile(),
  );
}
