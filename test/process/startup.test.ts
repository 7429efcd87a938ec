import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { NODE_PATH, PROGRAM_PATH, start } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

let folder: string;

/** Tells on stdout, at the program's end, which files it has loaded and which of Node's own modules. */
const PRELOAD = `
process.on("exit", () => {
  const own = Object.keys(require.cache);
  const builtin = process.moduleLoadList.filter((name) => name.startsWith("NativeModule ")).map((name) => name.slice(13));
  require("node:fs").writeSync(1, JSON.stringify({ own, builtin }));
});`;

interface Loaded {
  readonly own: readonly string[];
  readonly builtin: readonly string[];
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "watchdog-startup-"));
  writeFileSync(join(folder, "preload.cjs"), PRELOAD);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function loadedBy(args: readonly string[], env: Record<string, string>): Promise<Loaded> {
  const nodeArgs = ["--require", join(folder, "preload.cjs"), PROGRAM_PATH, ...args];
  const { stdout } = await start(NODE_PATH, nodeArgs, { env }).ended;
  const { own, builtin } = JSON.parse(stdout.slice(stdout.lastIndexOf('{"own"'))) as Loaded;
  return { own: own.map((path) => basename(path)).filter((name) => name !== "preload.cjs"), builtin };
}

it("a fresh login loads neither parser nor HTTP client nor lock, and no part of Node that they need", async () => {
  const home = new Home();
  home.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 864_000 })));
  const { own, builtin } = await loadedBy(["--once"], { CODEX_HOME: home.path });
  expect(own).toEqual(["watchdog.cjs", "watchdog.cjs"]);
  for (const heavy of ["crypto", "net", "tls", "http", "https", "http2", "child_process", "worker_threads"]) {
    expect(builtin, heavy).not.toContain(heavy);
  }
  home.remove();
});

it("a due login loads what a refresh needs, and no parser", async () => {
  const server = await TokenServer.start();
  const home = new Home();
  home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));
  const env = { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
  const { own } = await loadedBy(["--once"], env);
  expect(own).toEqual(["watchdog.cjs", "watchdog.cjs", "refreshing.cjs"]);
  home.remove();
  await server.stop();
});

it("--help loads the parser and nothing of a refresh", async () => {
  const { own } = await loadedBy(["--help"], {});
  expect(own).toEqual(["watchdog.cjs", "watchdog.cjs", "flags.cjs"]);
});
