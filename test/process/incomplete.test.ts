import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { messages, type RunResult, runProgram } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

let folder: string;
let home: Home;
let server: TokenServer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "watchdog-incomplete-"));
  for (const part of ["bin", "dist"]) cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  home = new Home();
  server = await TokenServer.start();
  home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 3_600 }))));
});

afterEach(async () => {
  rmSync(folder, { recursive: true });
  home.remove();
  await server.stop();
});

async function runWithout(bundle: string, ...args: string[]): Promise<RunResult> {
  rmSync(join(folder, "dist", bundle));
  const env = { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
  return await runProgram({ args, env, programPath: join(folder, "bin/watchdog.cjs") });
}

it.each(["refreshing.cjs", "holding.cjs", "sending.cjs"])(
  "a refresh says in one line that %s is missing, and spends nothing",
  async (bundle) => {
    const { code, stderr } = await runWithout(bundle, "--once");

    expect(code).toBe(2);
    expect(messages(stderr).at(-1)).toBe(
      `transient: cannot load dist/${bundle} (ENOENT): build it, or install codex-auth-watchdog again; nothing was sent, the login is unspent`,
    );
    expect(server.posts).toHaveLength(0);
    cpSync(join(ROOT, "dist", bundle), join(folder, "dist", bundle));
    const env = { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
    expect(await runProgram({ args: ["--once"], env })).toMatchObject({ code: 0 });
    expect(server.posts).toHaveLength(1);
  },
);

it.each([
  ["watchdog.cjs", "--once"],
  ["flags.cjs", "status"],
  ["asking.cjs", "status"],
])("without %s a call ends with 70, and says why in one line", async (bundle, word) => {
  const { code, stderr } = await runWithout(bundle, word);
  const line = `codex-auth-watchdog: cannot load dist/${bundle} (ENOENT): build it, or install it again\n`;
  expect({ code, stderr }).toEqual({ code: 70, stderr: line });
});
