import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ARTEFACT, makeArtefact } from "../support/artefact.js";
import { Home } from "../support/home.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { NODE_PATH, type RunResult, start } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const { version: VERSION } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };

const hasStrace = spawnSync("strace", ["-V"]).status === 0;

let folder: string;
let made: string;
/** The one file, alone in an empty folder. */
let program: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "watchdog-artefact-"));
  made = await makeArtefact(join(folder, "made"));
  mkdirSync(join(folder, "alone"));
  program = join(folder, "alone", ARTEFACT);
  copyFileSync(join(made, ARTEFACT), program);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("the one file, alone", () => {
  let home: Home;
  let server: TokenServer;

  beforeEach(async () => {
    server = await TokenServer.start();
    home = new Home();
  });

  afterEach(async () => {
    home.remove();
    await server.stop();
  });

  const run = async (args: readonly string[], before: readonly string[] = []): Promise<RunResult> => {
    const [command = "", ...rest] = [...before, NODE_PATH, program, ...args];
    const env = { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
    return await start(command, rest, { env, cwd: dirname(program) }).ended;
  };
  const writeDueLogin = (): void => home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));
  const writeFreshLogin = (): void => home.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 864_000 })));

  it("prints its version, also when it is called by its name", async () => {
    const expected = { code: 0, stdout: `${VERSION}\n`, stderr: "" };

    expect(await run(["--version"])).toMatchObject(expected);
    expect(await start(program, ["--version"]).ended).toMatchObject(expected);
  });

  it("prints its help", async () => {
    const { code, stdout, stderr } = await run(["--help"]);

    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("Usage: codex-auth-watchdog");
  });

  it("ends with 1 where there is no login, and creates nothing", async () => {
    home.remove();

    const { code, stdout, stderr } = await run(["--once"]);

    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("absent or empty");
    expect(existsSync(home.path)).toBe(false);
    expect(readdirSync(dirname(program))).toEqual([ARTEFACT]);
  });

  it("leaves a fresh login alone, and unpacks nothing for it", async () => {
    const preload = join(folder, "preload.cjs");
    writeFileSync(
      preload,
      'process.on("exit", () => require("node:fs").writeSync(1, JSON.stringify(process.moduleLoadList)));',
    );
    const loads = async (args: readonly string[]): Promise<RunResult> => {
      const env = { CODEX_HOME: home.path };
      return await start(NODE_PATH, ["--require", preload, program, ...args], { env }).ended;
    };
    writeFreshLogin();

    const { code, stdout, stderr } = await loads(["--once"]);

    expect(code).toBe(1);
    expect(stderr).toContain("no-op: fresh");
    expect(stdout).toContain('"NativeModule fs"');
    expect(stdout).not.toContain('"NativeModule zlib"');
    expect((await loads(["--help"])).stdout).toContain('"NativeModule zlib"');
  });

  it("refreshes a due login", async () => {
    writeDueLogin();

    expect(await run(["--once"])).toMatchObject({ code: 0, stdout: "" });
    expect(server.posts).toHaveLength(1);
    expect(home.readRefreshToken()).toBe(server.newestToken);
  });

  it("shows the status", async () => {
    writeFreshLogin();
    await run(["--once"]);

    const { code, stdout, stderr } = await run(["status", "--json"]);

    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ watchdog_version: VERSION });
  });

  it("ends with 64 on a usage error", async () => {
    const { code, stdout, stderr } = await run(["--no-such-option"]);

    expect({ code, stdout }).toEqual({ code: 64, stdout: "" });
    expect(stderr).toMatch(/^codex-auth-watchdog: .*--no-such-option.*\nTry codex-auth-watchdog --help\n$/);
  });

  it("follows a login without its refresh token, and loads what Node only has for modules", async () => {
    const { code, stderr } = await run(["follow", "--once", "--from", "http://127.0.0.1:9/"]);

    expect(stderr).not.toMatch(/Warning|a bug/);
    expect(code).toBe(2);
  });

  it("ends with 70 and one line when it is damaged", async () => {
    const text = readFileSync(program, "utf8");
    const at = text.indexOf("function packed()") + 1000;
    writeFileSync(program, text.slice(0, at) + text.slice(at + 4));
    try {
      writeDueLogin();

      const { code, stdout, stderr } = await run(["--once"]);

      expect({ code, stdout }).toEqual({ code: 70, stdout: "" });
      expect(stderr).toMatch(/^codex-auth-watchdog: \S+ is damaged.*: install it again\n$/);
      expect(server.posts).toEqual([]);
    } finally {
      copyFileSync(join(made, ARTEFACT), program);
    }
  });

  it.runIf(hasStrace).each(["--once", "status", "doctor"])(
    "opens for %s nothing but itself, the home, and what the system has",
    async (command) => {
      const trace = join(folder, "trace");
      writeDueLogin();

      const { code } = await run([command], ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2", "-o", trace]);

      const opened = [...readFileSync(trace, "utf8").matchAll(/\bopen\w*\((?:AT_FDCWD, )?"([^"]*)".* = \d+$/gm)].map(
        ([, path = ""]) => path,
      );
      const system = ["/proc", "/sys", "/dev", "/etc", "/lib", "/lib64", "/usr/lib", "/usr/share", "/usr/bin", "/bin"];
      const isExpected = (path: string): boolean =>
        path === program ||
        path === NODE_PATH ||
        [...system, home.path].some((place) => `${path}/`.startsWith(`${place}/`));
      expect(code).not.toBe(70);
      expect(opened).toEqual(expect.arrayContaining([program, home.authJsonPath]));
      expect(opened.filter((path) => !isExpected(path) || path.startsWith(ROOT))).toEqual([]);
    },
  );
});
