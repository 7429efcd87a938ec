import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { findLeak, makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import { type RunResult, runProgram, startProgram, waitUntil } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

let home: Home;
let server: TokenServer;
let tokens: Tokens;

beforeEach(async () => {
  home = new Home();
  server = await TokenServer.start();
  tokens = server.admit(makeTokens({ expiresInSec: 864_000 }));
  home.writeAuth(makeAuthJson(tokens));
});

afterEach(async () => {
  home.remove();
  await server.stop();
});

/** Everything in the home with its content and its time: a question changes nothing. */
function picture(): Record<string, string> {
  return Object.fromEntries(
    readdirSync(home.path).map((name) => {
      const path = join(home.path, name);
      return [name, `${statSync(path).mtimeMs} ${readFileSync(path, "latin1")}`];
    }),
  );
}

async function ask(...args: string[]): Promise<RunResult> {
  const before = picture();
  const result = await run(...args);
  expect(picture()).toEqual(before);
  expect(findLeak(result.stdout + result.stderr, Object.values(tokens))).toBeNull();
  return result;
}

function env(): Record<string, string> {
  return { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
}

async function run(...args: string[]): Promise<RunResult> {
  return await runProgram({ args, env: env() });
}

async function latch(): Promise<void> {
  tokens = makeTokens({ expiresInSec: 60 });
  home.writeAuth(makeAuthJson(tokens));
  server.script({ status: 401, body: { error: { code: "refresh_token_expired" } } });
  expect((await run("--once")).code).toBe(3);
}

describe("status", () => {
  it("shows a person who is logged in, how long the tokens have, and that no loop runs", async () => {
    await run("--once");
    const { code, stdout } = await ask("status");
    expect(code).toBe(0);
    expect(stdout).toContain(home.authJsonPath);
    expect(stdout).toMatch(/● healthy: fresh/);
    expect(stdout).toMatch(/login +somebody@example\.com/);
    expect(stdout).toMatch(/access +.*●.*◆.* 9 d 23 h left of 10 d; refresh due in /);
    expect(stdout).toMatch(/watchdog +no loop runs/);
    expect(stdout).not.toContain("\u001b");
  });

  it("says what is wrong and what to do, in plain words and for programs", async () => {
    await latch();
    const { stdout } = await ask("status");
    expect(stdout).toMatch(/LOG IN AGAIN: the refresh token has expired/);
    expect(stdout).toMatch(/do +log in again: run `codex login`/);
    const told = JSON.parse((await ask("status", "--json")).stdout) as { homes: Record<string, unknown>[] };
    expect(told.homes).toMatchObject([
      { codex_home: home.path, state: "login_required", reason: "login_required_expired", is_healthy: false },
    ]);
  });

  it("is content with a healthy login and with none, and not with a lost one", async () => {
    expect((await ask("status", "--exit-code")).code).toBe(0);
    await latch();
    expect((await ask("status", "--exit-code")).code).toBe(1);
    expect((await ask("status")).code).toBe(0);
    home.removeAuth();
    expect((await ask("status", "--exit-code")).code).toBe(0);
  });

  it("tells that the loop runs, that it is down after a kill, and nothing of one that has ended", async () => {
    const told = async (): Promise<string> => (await ask("status")).stdout;
    const looping = async (): Promise<ReturnType<typeof startProgram>> => {
      const loop = startProgram({ args: [], env: env() });
      await waitUntil("a status", () => home.readStatusOrNull()?.["daemon"] != null);
      return loop;
    };
    const first = await looping();
    expect(await told()).toMatch(new RegExp(`watchdog +process ${first.child.pid} on .* runs`));
    // One who looks by hand meanwhile does not hide the loop.
    await run("--once");
    expect(await told()).toMatch(new RegExp(`watchdog +process ${first.child.pid} on .* runs`));
    first.child.kill("SIGKILL");
    await first.ended;
    expect(await told()).toMatch(/watchdog +DOWN: process \d+ .* is gone; it last looked/);
    expect((await ask("status", "--exit-code")).code).toBe(1);

    await run("--once"); // Clears away what the dead loop has told.
    const second = await looping();
    second.child.kill("SIGTERM");
    expect((await second.ended).code).toBe(0);
    expect(await told()).toMatch(/watchdog +no loop runs/);
  });

  it("tells of every home that it is asked about", async () => {
    const other = new Home();
    const { stdout } = await ask("status", "--json", "--codex-home", home.path, other.path);
    const { homes } = JSON.parse(stdout) as { homes: { state: string }[] };
    expect(homes.map(({ state }) => state)).toEqual(["ok", "idle"]);
    other.remove();
  });
});

describe("check", () => {
  it("says what a cycle would do, and does not do it", async () => {
    expect(await ask("check")).toMatchObject({ code: 1, stdout: expect.stringMatching(/^no-op: fresh/) });
    home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));
    expect(await ask("check")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^would refresh /) });
    expect(await ask("--dry-run")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^would refresh /) });
    await latch();
    expect(await ask("check")).toMatchObject({
      code: 3,
      stdout: expect.stringMatching(/remembered; nothing was sent/),
    });
    const { homes } = JSON.parse((await ask("check", "--json")).stdout) as { homes: unknown[] };
    expect(homes).toMatchObject([{ decision: "nothing", reason: "login_required_expired", exit_code: 3 }]);
    expect(server.posts).toHaveLength(1);
  });
});

describe("wait", () => {
  it("ends at once with a healthy login", async () => {
    expect((await ask("wait")).code).toBe(0);
  });

  it("ends as soon as somebody has brought the login", async () => {
    home.removeAuth();
    const waiting = startProgram({ args: ["wait"], env: env() });
    const other = startProgram({ args: ["wait", "--max", "60"], env: env() });
    home.writeAuth(makeAuthJson(tokens));
    expect((await waiting.ended).code).toBe(0);
    expect((await other.ended).code).toBe(0);
  });

  it("waits for the refresh of a token that Codex would refresh by itself", async () => {
    home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 200 }))));
    const waiting = startProgram({ args: ["wait"], env: env() });
    expect((await run("--once")).code).toBe(0);
    expect((await waiting.ended).code).toBe(0);
  });

  it("ends with 1 when a person is needed, and with 2 when the time is up", async () => {
    home.writeAuth(makeAuthJson(makeTokens({ expiresInSec: -60 })));
    const { code, stdout } = await ask("wait", "--max", "1s");
    expect([code, stdout]).toEqual([2, expect.stringMatching(/not healthy after 1 s: the access token has expired/)]);
    await latch();
    expect(await ask("wait")).toMatchObject({ code: 1, stdout: expect.stringMatching(/codex login/) });
    home.writeAuth('{"auth_mode":"apikey","OPENAI_API_KEY":"sk-x"}');
    expect((await ask("wait")).code).toBe(1);
  });
});
