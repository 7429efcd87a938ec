import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { NODE_PATH, PROGRAM_PATH, start, waitUntil } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";
import { readTrace, type Syscall } from "../support/trace.js";

/**
 * What a run may cost, in what can be counted: a test that fails here has found something that every run pays for.
 *
 * Times are measured by `npm run bench`, and never asserted.
 */
const hasStrace = spawnSync("strace", ["-V"]).status === 0;

let folder: string;
let home: Home;
let server: TokenServer;

/** Tells on stdout, at the program's end, which bundles it has compiled and which of Node's own modules it has loaded. */
const PRELOAD = `
const vm = require("node:vm");
const before = new Set(process.moduleLoadList);
const bundles = [];
vm.Script = class extends vm.Script {
  constructor(code, options) {
    super(code, options);
    const name = options.filename.split("/").pop();
    if (process.env.TELL_IN) require("node:fs").writeFileSync(process.env.TELL_IN + "/" + name, "");
    bundles.push({ name, bytes: code.length, isKept: options.cachedData !== undefined && !this.cachedDataRejected });
  }
};
process.on("exit", () => {
  const builtin = process.moduleLoadList.filter((name) => !before.has(name) && name.startsWith("NativeModule "));
  require("node:fs").writeSync(1, JSON.stringify({ bundles, builtin: builtin.map((name) => name.slice(13)) }));
});`;

interface Loaded {
  readonly bundles: readonly { readonly name: string; readonly bytes: number; readonly isKept: boolean }[];
  /** Node's own modules, those left out that a program without a line loads as well. */
  readonly builtin: readonly string[];
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "watchdog-budget-"));
  writeFileSync(join(folder, "preload.cjs"), PRELOAD);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  home = new Home();
  server = await TokenServer.start();
});

afterEach(async () => {
  home.remove();
  await server.stop();
});

function writeFresh(): void {
  home.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 864_000 })));
}

function writeDue(): void {
  home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));
}

function environment(): Record<string, string> {
  return { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
}

async function loadedBy(args: readonly string[], more: Record<string, string> = {}): Promise<Loaded> {
  const nodeArgs = ["--require", join(folder, "preload.cjs"), PROGRAM_PATH, ...args];
  const { stdout } = await start(NODE_PATH, nodeArgs, { env: { ...environment(), ...more } }).ended;
  return JSON.parse(stdout.slice(stdout.lastIndexOf('{"bundles"'))) as Loaded;
}

function namesOf({ bundles }: Loaded): string[] {
  return bundles.map(({ name }) => name);
}

describe("what a run loads", () => {
  it("on a fresh login is one bundle of 64 KB, and of Node next to nothing", async () => {
    writeFresh();
    const loaded = await loadedBy(["--once"]);
    expect(namesOf(loaded)).toEqual(["watchdog.cjs"]);
    expect(loaded.bundles[0]?.bytes).toBeLessThan(64_000);
    const own = loaded.builtin.filter((name) => !name.startsWith("internal/"));
    expect(own).toEqual([]);
    expect(loaded.builtin.length).toBeLessThanOrEqual(2);
  });

  it("is the parser for --help, and nothing of a refresh", async () => {
    expect(namesOf(await loadedBy(["--help"]))).toEqual(["watchdog.cjs", "flags.cjs"]);
  });

  it("on a due login is what a refresh needs, and no parser", async () => {
    writeDue();
    const loaded = await loadedBy(["--once"]);
    expect(namesOf(loaded)).toEqual(["watchdog.cjs", "refreshing.cjs", "holding.cjs", "sending.cjs"]);
    expect(loaded.bundles.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(590_000);
    for (const unused of ["http2", "https", "zlib", "inspector/promises"]) expect(loaded.builtin).not.toContain(unused);
    expect(server.posts).toHaveLength(1);
  });

  it("is no HTTP client while nothing is sent", async () => {
    // Another watchdog holds the lock, and it has refreshed by the time that the lock is looked at again.
    writeDue();
    mkdirSync(join(home.path, ".auth.json.watchdog.lock"));
    const running = loadedBy(["--once"], { TELL_IN: folder });
    await waitUntil("the code for the lock", () => existsSync(join(folder, "refreshing.cjs")));
    writeFresh();
    expect(namesOf(await running)).toEqual(["watchdog.cjs", "refreshing.cjs"]);
    expect(server.posts).toHaveLength(0);
  });

  it("is over when it is done, where there is no flock(1)", async () => {
    writeDue();
    const env = { ...environment(), PATH: folder };
    const running = start(NODE_PATH, [PROGRAM_PATH, "--once"], { env });
    const late = new Promise((resolve) => setTimeout(() => resolve("still running"), 5_000));
    expect(await Promise.race([running.ended, late])).toMatchObject({ code: 0 });
  });

  it("is taken from what V8 has kept, for the Node that has built", async () => {
    if (NODE_PATH !== process.execPath) return;
    writeDue();
    const { bundles } = await loadedBy(["--once"]);
    expect(bundles.map(({ isKept }) => isKept)).toEqual([true, true, true, true]);
  });
});

describe.runIf(hasStrace)("what a run asks of the system", () => {
  async function trace(args: readonly string[]): Promise<readonly Syscall[]> {
    const path = join(folder, "trace");
    const words = ["-f", "-qq", "-y", "-s", "200", "-o", path, NODE_PATH, ...args];
    await start("strace", words, { env: environment() }).ended;
    return readTrace(readFileSync(path, "utf8"));
  }

  /** Without Node's own start, which differs from version to version and from run to run. */
  function ofOurs(calls: readonly Syscall[]): readonly Syscall[] {
    const first = calls.findIndex(({ line }) => line.includes("dist/watchdog.cjs"));
    expect(first).toBeGreaterThan(0);
    return calls
      .slice(first)
      .filter(({ name }) => !/^(futex|madvise|mprotect|mmap|munmap|brk|epoll|sched|clock)/.test(name));
  }

  it("on a fresh login are four files, one of them written, and no sync", async () => {
    writeFresh();
    await trace([PROGRAM_PATH, "--once"]); // The status is there from now on.
    const calls = ofOurs(await trace([PROGRAM_PATH, "--once"]));

    const opened = calls.filter(({ name, line }) => name === "openat" && !line.includes("ENOENT"));
    const paths = opened.map(({ line }) => /"([^"]*)"/.exec(line)?.[1] ?? "");
    const inHome = paths.filter((path) => path.startsWith(home.path)).map((path) => path.slice(home.path.length));
    expect(inHome).toEqual([
      "/auth.json",
      "", // Its directory: whether a ticket lies there.
      "/auth_refresh_status.json",
      expect.stringMatching(/^\/auth_refresh_status\.json\.\d+\.\w+$/),
    ]);
    expect(paths.filter((path) => !path.startsWith(home.path) && !path.includes("/dist/"))).toEqual(
      // Which time zone it is: V8 asks for it before it writes any date.
      paths.includes("/etc/localtime") ? ["/etc/localtime"] : [],
    );
    expect(calls.filter(({ name }) => /sync|^(clone|vfork|socket|connect|execve)/.test(name))).toEqual([]);
  });

  it("on a fresh login is at most 45 calls more than of a program without a line", async () => {
    writeFresh();
    writeFileSync(join(folder, "empty.cjs"), "");
    const bare = (await trace([join(folder, "empty.cjs")])).filter(isCounted).length;
    const ours = (await trace([PROGRAM_PATH, "--once"])).filter(isCounted).length;
    expect(ours - bare).toBeGreaterThan(20);
    expect(ours - bare).toBeLessThanOrEqual(45);
  });

  it("on a due login are six syncs, in the order that keeps the answer, and two programs", async () => {
    writeDue();
    const calls = await trace([PROGRAM_PATH, "--once"]);
    const syncs = calls
      .filter(({ name }) => /^(fsync|fdatasync)$/.test(name))
      .map(
        ({ name, line }) =>
          `${name} ${/<([^>]*)>/
            .exec(line)?.[1]
            ?.replace(home.path, "")
            .replace(/[0-9a-f]{64}/, "TOKEN")}`,
      )
      .map((text) => text.replace(/\d{3,}/g, "N"));
    expect(syncs).toEqual([
      "fsync /.auth.json.watchdog.TOKEN.1.ticket", // The ticket, before anything leaves,
      "fsync ", // and its name in the directory.
      "fdatasync /.auth.json.watchdog.TOKEN.1.ticket", // "Dispatched", before the first byte.
      "fdatasync /.auth.json.watchdog.TOKEN.1.ticket", // The answer.
      expect.stringMatching(/^fsync \/\.auth\.json\.watchdog\.new\.N/), // The new text, before it takes the old one's place,
      "fsync ", // and that it has.
    ]);
    const programs = calls.filter(({ name, line }) => name === "execve" && line.endsWith("= 0"));
    expect(programs.slice(1).map(({ line }) => /"[^"]*\/(\w+)"/.exec(line)?.[1])).toEqual(["flock", "flock"]);
  });

  /** What memory management and threads call differs from run to run. */
  function isCounted({ name }: Syscall): boolean {
    return !/^(futex|madvise|mprotect|mmap|munmap|brk|epoll|sched|clock|rt_sig|exit|set_robust|rseq|prctl|write|read)/.test(
      name,
    );
  }
});
