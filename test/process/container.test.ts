import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AGENT, Image, readInstructions, readStartLines, requireTools } from "../support/image.js";
import { makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import { type Running, waitUntil } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

/** What follows in start.sh; the watchdog itself stands in for the container's own program. */
const REST_OF_START_SH = 'echo "$watchdog" >/tmp/watchdog.pid\nwait "$watchdog"\n';

const START_SH = `set -eu\n${readStartLines()}${REST_OF_START_SH}`;

/** As the shell script's users have it. */
const OLD_START_SH = `
gosu agent /usr/local/bin/codex_auth_refresh.sh --once || true
gosu agent /usr/local/bin/codex_auth_refresh.sh &
watchdog=$!
${REST_OF_START_SH}`;

let image: Image;
let server: TokenServer;
let container: Running | null;

beforeAll(requireTools);

beforeEach(async () => {
  container = null;
  image = new Image();
  server = await TokenServer.start();
});

afterEach(async () => {
  if (container !== null) {
    killLeftOver(container);
    await container.ended;
  }
  await server.stop();
  image.remove();
});

describe("the image build", () => {
  it("carries out the snippet, and its smoke check leaves nothing behind", async () => {
    const results = await image.build();
    const before = image.list();
    const again = await image.run(smokeCheck());

    expect(results.map(({ code, stderr }) => ({ code, stderr }))).toEqual([
      { code: 0, stderr: "" },
      { code: 0, stderr: "" },
    ]);
    expect(again).toMatchObject({ code: 0, stdout: "", stderr: "" });
    expect(image.list()).toEqual(before);
    expect(before.filter((path) => /auth|codex/.test(path) && !path.startsWith("opt/"))).toEqual([
      "bin/codex-auth-watchdog",
      "bin/codex_auth_refresh.sh",
    ]);
  });

  it.each(["codex-auth-watchdog", "codex_auth_refresh.sh"])(
    "makes %s --once end with 1 while there is no login, as root and as the agent",
    async (name) => {
      await image.build();

      for (const command of [`${name} --once`, `gosu agent ${name} --once`]) {
        const { code, stdout, stderr } = await image.run(command);
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
        expect(stderr).toMatch(
          /^\[codex_auth_refresh \S+\] skip: \/home\/agent\/\.codex\/auth\.json absent or empty.*\n$/,
        );
      }
      expect(readdirSync(image.path("home/agent"))).toEqual([]);
    },
  );

  it.each([
    ["can't be loaded, which Node ends with 1 too", "throw new Error('broken');"],
    ["ends with 0", "console.error('absent or empty');"],
    ["ends with 2", "console.error('absent or empty'); process.exitCode = 2;"],
    ["is killed", "process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000);"],
    [
      "creates the home",
      "import fs from 'node:fs'; fs.mkdirSync('/nonexistent'); console.error('absent or empty'); process.exitCode = 1;",
    ],
  ])("fails when the program %s", async (_, program) => {
    await image.build();
    writeFileSync(image.path("opt/codex-auth-watchdog/dist/watchdog.cjs"), program);

    const { code, stderr } = await image.run(smokeCheck());

    expect(code).toBe(1);
    expect(stderr).toContain("smoke check: codex-auth-watchdog --once without a login must end with 1");
  });

  it("fails when the command is missing, which a shell ends with 127", async () => {
    const { code, stderr } = await image.run(smokeCheck());

    expect(code).toBe(1);
    expect(stderr).toContain("codex-auth-watchdog: not found");
  });
});

describe.each([
  ["the snippet's start.sh", START_SH],
  ["an unchanged start.sh of the shell script's days", OLD_START_SH],
])("%s", (_, startSh) => {
  beforeEach(async () => {
    await image.build();
  });

  it("refreshes a due login before the loop starts, and keeps everything the agent's", async () => {
    const before = writeDueLogin();
    container = startContainer(startSh);
    await waitForLoop(container);

    expect(server.posts.map(({ refreshToken }) => refreshToken)).toEqual([before.refresh_token]);
    expect(server.isActive(readTokens().refresh_token)).toBe(true);
    const log = container.stderr();
    expect(log).toContain("refresh: ok");
    expect(log.indexOf("refresh: ok")).toBeLessThan(log.indexOf("watchdog: starting"));
    expect(readFileSync(`/proc/${loopPid()}/status`, "utf8")).toMatch(
      /^Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000$/m,
    );
    // Only now nothing is being written any more.
    process.kill(loopPid(), "SIGTERM");
    await container.ended;
    expect(ownersAndModes()).toEqual({
      "auth.json": "1000:1000 600",
      "auth.json.lock": "1000:1000 600",
      "auth.lock": "1000:1000 644",
      "auth_refresh_status.json": "1000:1000 600",
    });
  });

  it("keeps a loop in the background that ends with 0 on TERM", async () => {
    writeDueLogin();
    container = startContainer(startSh);
    await waitForLoop(container);

    process.kill(loopPid(), "SIGTERM");

    expect(await container.ended).toMatchObject({ code: 0, signal: null });
    expect(container.stderr()).toContain("watchdog: stopped");
  });

  it("keeps the loop though there is no login at first, and refreshes the one that is brought", async () => {
    container = startContainer(startSh);
    await waitForLoop(container);
    expect(server.posts).toEqual([]);

    writeDueLogin();
    process.kill(loopPid(), "SIGHUP");

    await waitUntil("the new login to be refreshed", () => container?.stderr().includes("refresh: ok") ?? false);
    process.kill(loopPid(), "SIGTERM");
    expect(await container.ended).toMatchObject({ code: 0 });
    expect(server.posts.length).toBe(1);
    expect(server.isActive(readTokens().refresh_token)).toBe(true);
  });
});

describe("docker stop", () => {
  beforeEach(async () => {
    await image.build();
  });

  it("is passed on by the snippet's start.sh, which waits for the loop's end", async () => {
    writeDueLogin();
    container = startContainer(START_SH);
    await waitForLoop(container);

    container.child.kill("SIGTERM");

    expect(await container.ended).toMatchObject({ code: 0, signal: null });
    expect(container.stderr()).toContain("watchdog: stopped");
  });

  it("in the middle of a refresh lets the new tokens be saved first", async () => {
    server.script({ delayMs: 2_000 });
    container = startContainer(START_SH);
    await waitForLoop(container);
    writeDueLogin();
    process.kill(loopPid(), "SIGHUP");
    await waitUntil("the request to be on its way", () => server.posts.length === 1);

    container.child.kill("SIGTERM");

    expect(await container.ended).toMatchObject({ code: 0, signal: null });
    expect(server.posts.length).toBe(1);
    expect(server.isActive(readTokens().refresh_token)).toBe(true);
  });
});

describe("the health check", () => {
  beforeEach(async () => {
    await image.build();
  });

  it("is content with a loop that keeps a login, and not with one that was killed", async () => {
    writeDueLogin();
    container = startContainer(START_SH);
    await waitForLoop(container);
    const whileItRuns = await image.checkHealth();

    process.kill(loopPid(), "SIGKILL");
    await container.ended;

    const afterwards = await image.checkHealth();
    expect(whileItRuns).toMatchObject({ code: 0, stderr: "" });
    expect(afterwards).toMatchObject({ code: 1, stderr: "" });
    expect(afterwards.stdout).toContain("DOWN: process");
  });

  it("is not content while a person must log in again", async () => {
    server.script({ status: 401, body: { error: { code: "refresh_token_expired" } } });
    writeDueLogin();
    container = startContainer(START_SH);
    await waitUntil("the rejection", () => /watchdog: starting(.*\n)+.*login/.test(container?.stderr() ?? ""));

    const { code, stdout } = await image.checkHealth();

    expect(code).toBe(1);
    expect(stdout).toContain("codex login");
  });

  it("is content where nobody has logged in yet", async () => {
    container = startContainer(START_SH);
    await waitForLoop(container);

    expect(await image.checkHealth()).toMatchObject({ code: 0 });
  });
});

describe("docker exec", () => {
  it("leaves everything the agent's when root refreshes by hand", async () => {
    await image.build();
    writeDueLogin();

    const { code } = await image.run("codex-auth-watchdog --once --force", containerEnv());

    expect(code).toBe(0);
    expect(server.isActive(readTokens().refresh_token)).toBe(true);
    expect(ownersAndModes()).toEqual({
      "auth.json": "1000:1000 600",
      "auth.json.lock": "1000:1000 600",
      "auth.lock": "1000:1000 644",
      "auth_refresh_status.json": "1000:1000 600",
    });
  });
});

function smokeCheck(): string {
  const [found, ...others] = readInstructions().filter(({ name, value }) => name === "RUN" && value.includes("--once"));
  if (found === undefined || others.length > 0) throw new Error("Dockerfile.snippet has not one smoke check");
  return found.value;
}

function containerEnv(): Record<string, string> {
  return { CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
}

function startContainer(startSh: string): Running {
  writeFileSync(image.path("start.sh"), `#!/bin/sh\n${startSh}`, { mode: 0o755 });
  return image.start("exec /start.sh", containerEnv());
}

async function waitForLoop(running: Running): Promise<void> {
  const hasLooked = /watchdog: starting(.*\n)+.*(no-op|skip):/;
  await waitUntil("the loop's first look", () => hasLooked.test(running.stderr()));
  await waitUntil("its process id", () => loopPid() > 0);
}

function loopPid(): number {
  return Number(readFileSync(image.path("tmp/watchdog.pid"), "utf8"));
}

function writeDueLogin(): Tokens {
  const home = image.path("home/agent/.codex");
  mkdirSync(home, { recursive: true });
  chmodSync(home, 0o700);
  chownSync(home, AGENT, AGENT);
  const tokens = server.admit(makeTokens({ expiresInSec: 60 }));
  const path = join(home, "auth.json");
  writeFileSync(path, makeAuthJson(tokens), { mode: 0o600 });
  chownSync(path, AGENT, AGENT);
  return tokens;
}

function readTokens(): Tokens {
  const text = readFileSync(image.path("home/agent/.codex/auth.json"), "utf8");
  return (JSON.parse(text) as { tokens: Tokens }).tokens;
}

function ownersAndModes(): Record<string, string> {
  const home = image.path("home/agent/.codex");
  return Object.fromEntries(
    readdirSync(home)
      .sort()
      .map((name) => {
        const { uid, gid, mode } = statSync(join(home, name));
        return [name, `${uid}:${gid} ${(mode & 0o7777).toString(8)}`];
      }),
  );
}

/** Ends what a failed test left running: the shell, and the loop by the id that it wrote. */
function killLeftOver({ child }: Running): void {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  if (!readdirSync(image.path("tmp")).includes("watchdog.pid")) return;
  const pid = loopPid();
  const root = lstatSync(`/proc/${pid}`, { throwIfNoEntry: false }) && readlinkSync(`/proc/${pid}/root`);
  // A loop that has ended may have left its number to a stranger.
  if (root === image.root) process.kill(pid, "SIGKILL");
}
