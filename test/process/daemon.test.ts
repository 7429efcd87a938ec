import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { findLeak, makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import { messages, type Running, type RunResult, runProgram, startProgram, waitUntil } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

let server: TokenServer;
let folder: string;
let homes: Home[];
let running: Running[];

beforeEach(async () => {
  server = await TokenServer.start();
  folder = mkdtempSync(join(tmpdir(), "watchdog-daemon-"));
  homes = [];
  running = [];
});

afterEach(async () => {
  for (const each of running) {
    each.child.kill("SIGKILL");
    await each.ended;
  }
  for (const home of homes) home.remove();
  rmSync(folder, { recursive: true });
  await server.stop();
});

function newHome(tokens: Tokens | null): Home {
  const home = new Home();
  homes.push(home);
  if (tokens !== null) home.writeAuth(makeAuthJson(tokens));
  return home;
}

function due(): Tokens {
  return server.admit(makeTokens({ expiresInSec: 60 }));
}

function env(home?: Home): Record<string, string> {
  return { CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url, ...(home === undefined ? {} : { CODEX_HOME: home.path }) };
}

/** Starts a loop that is ended with the test. */
function loop(args: string[], home?: Home): Running {
  const started = startProgram({ args, env: env(home) });
  running.push(started);
  return started;
}

async function once(args: string[], home?: Home): Promise<RunResult> {
  return await runProgram({ args: ["--once", ...args], env: env(home) });
}

async function end({ child, ended }: Running): Promise<RunResult> {
  child.kill("SIGTERM");
  return await ended;
}

const REJECTED = { status: 401, body: { error: { code: "refresh_token_expired" } } };

describe("several homes", () => {
  it("are refreshed by one run, each once, and the code is the one that matters most", async () => {
    const paths = [due(), due(), makeTokens({ expiresInSec: 864_000 }), null].map((tokens) => newHome(tokens).path);
    expect((await once(["--codex-home", ...paths])).code).toBe(0);
    expect(server.posts).toHaveLength(2);
    server.script(REJECTED);
    const lost = newHome(makeTokens({ expiresInSec: 60 }));
    const { code, stderr } = await once(["--codex-home", ...paths, lost.path]);
    expect(code).toBe(3);
    expect(stderr).toContain(`${lost.path}: refresh: PERMANENT FAILURE`);
  });

  it("that are one login are looked after once", async () => {
    const home = newHome(due());
    const link = join(folder, "link");
    symlinkSync(home.path, link);
    const linkedFile = newHome(null);
    symlinkSync(home.authJsonPath, linkedFile.authJsonPath);
    const { code, stderr } = await once(["--codex-home", home.path, link, linkedFile.path, `${home.path}/.`]);
    expect(code).toBe(0);
    expect(server.posts).toHaveLength(1);
    expect(messages(stderr).filter((line) => line.includes("is the same login as"))).toHaveLength(3);
  });

  it("go on when one of them is broken, in a loop that ends in good order", async () => {
    const broken = newHome(null);
    broken.writeAuth("[]");
    const absent = join(folder, "absent");
    const good = newHome(due());
    const started = loop(["--codex-home", broken.path, absent, good.path]);
    await waitUntil("the refresh", () => good.readStatusOrNull()?.["watchdog_last_outcome"] === "refreshed");
    const brought = due();
    broken.writeAuth(makeAuthJson(brought));
    await waitUntil("the mended home", () => broken.readStatusOrNull()?.["watchdog_last_outcome"] === "refreshed");
    expect((await end(started)).code).toBe(0);
    expect(existsSync(absent)).toBe(false);
    expect(good.readStatus()).toMatchObject({ daemon: null, next_check_at: null });
  });

  it("are refreshed a few at a time", async () => {
    let [current, most] = [0, 0];
    server.always({ delayMs: 200 });
    server.onPost = async () => {
      current += 1;
      most = Math.max(most, current);
      setTimeout(() => {
        current -= 1;
      }, 200);
    };
    const all = Array.from({ length: 12 }, () => newHome(due()).path);
    expect((await once(["--codex-home", ...all])).code).toBe(0);
    expect(server.posts).toHaveLength(12);
    expect(most).toBeLessThanOrEqual(4);
  });
});

describe("an event", () => {
  /** A hook that writes down what it is told, and then does what `body` says. */
  function hook(body = ""): { readonly path: string; told(): { event: string; state: string }[] } {
    const path = join(folder, `hook-${Math.random()}`);
    const log = `${path}.log`;
    writeFileSync(path, `#!/bin/sh\necho "$1 $(cat)" >>'${log}'\n${body}\n`);
    chmodSync(path, 0o755);
    return {
      path,
      told: () => {
        const lines = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
        return lines.map((line) => {
          const [event = "", ...rest] = line.split(" ");
          const message = JSON.parse(rest.join(" ")) as { event: string; state: string };
          expect(message.event).toBe(event);
          return message;
        });
      },
    };
  }

  it("is told on transitions only, without a token, and after a repair by hand too", async () => {
    const home = newHome(makeTokens({ expiresInSec: 60 }));
    const tokens = home.readTokens();
    const { path, told } = hook();
    server.script(REJECTED);
    const started = loop(["--on-event", path, "--min-refresh-interval", "0"], home);
    await waitUntil("the alarm", () => told().length === 1);
    started.child.kill("SIGHUP");
    const brought = due();
    home.writeAuth(makeAuthJson(brought));
    await waitUntil("the recovery", () => told().length === 2);
    expect((await end(started)).code).toBe(0);
    expect(told().map(({ event, state }) => [event, state])).toEqual([
      ["login_required", "login_required"],
      ["recovered", "ok"],
    ]);
    const secrets = [...Object.values(tokens), ...Object.values(brought), ...Object.values(home.readTokens())];
    expect(
      findLeak(
        readFileSync(`${path}.log`, "utf8"),
        secrets.filter((each) => each.length > 20),
      ),
    ).toBeNull();
  });

  it.each([
    ["fails", "exit 7", /ended with 7/],
    ["is not there", null, /cannot be run \(ENOENT\)/],
  ])("whose hook %s changes nothing, and is told again at the next start", async (_what, body, says) => {
    const home = newHome(due());
    const failing = body === null ? join(folder, "nothing") : hook(body).path;
    const { code, stderr } = await once(["--on-event", failing], home);
    expect(code).toBe(0);
    expect(stderr).toMatch(says);
    expect(home.readStatus()["event"]).toMatchObject({ name: "refreshed", is_delivered: false });
    const { path, told } = hook();
    await once(["--on-event", path], home);
    expect(told().map(({ event }) => event)).toEqual(["refreshed"]);
    await once(["--on-event", path], home);
    expect(told()).toHaveLength(1);
  });

  it("is raised once, also where no status can be written", async () => {
    const home = newHome(makeTokens({ expiresInSec: 60 }));
    mkdirSync(join(home.path, "auth_refresh_status.json"));
    const { path, told } = hook();
    server.always(REJECTED);
    const started = loop(["--on-event", path], home);
    await waitUntil("the alarm", () => told().length === 1);
    for (const looks of [2, 3]) {
      started.child.kill("SIGHUP");
      await waitUntil("a further look", () => started.stderr().split("cannot write the status").length > looks);
    }
    expect(told()).toHaveLength(1);
  });

  it("whose hook hangs waits for ten seconds, and leaves no process behind", async () => {
    const home = newHome(due());
    const pidFile = join(folder, "pid");
    const { path } = hook(`sleep 100 & echo $! >'${pidFile}'; wait`);
    const { code, stderr } = await once(["--on-event", path], home);
    expect(code).toBe(0);
    expect(stderr).toMatch(/still running after 10 s/);
    const pid = readFileSync(pidFile, "utf8").trim();
    await waitUntil(
      "its end",
      () => !existsSync(`/proc/${pid}`) || / Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8")),
    );
  });
});

describe("metrics and probes", () => {
  async function get(address: string, path: string, method = "GET"): Promise<[number, string]> {
    const response = await fetch(`http://${address}${path}`, { method });
    return [response.status, await response.text()];
  }

  async function addressOf({ stderr }: Running): Promise<string> {
    await waitUntil("the address", () => /listening on \S+/.test(stderr()));
    return /listening on (\S+)/.exec(stderr())?.[1] ?? "";
  }

  it("tell whether the loop lives, and whether the login is good", async () => {
    const home = newHome(due());
    const tokens = Object.values(home.readTokens());
    const started = loop(["--http", "0"], home);
    const address = await addressOf(started);
    expect(address).toMatch(/^127\.0\.0\.1:/);
    await waitUntil("the refresh", () => home.readStatusOrNull()?.["watchdog_last_outcome"] === "refreshed");
    expect(await get(address, "/livez")).toEqual([200, "ok\n"]);
    expect(await get(address, "/readyz")).toEqual([200, "ok\n"]);
    const [status, text] = await get(address, "/metrics");
    expect(status).toBe(200);
    expect(text).toContain(`codex_auth_healthy{codex_home="${home.path}"} 1`);
    expect(text).toContain(`codex_auth_cycles_total{codex_home="${home.path}",reason="refreshed"} 1`);
    expect(
      findLeak(
        text,
        [...tokens, ...Object.values(home.readTokens())].filter((each) => each.length > 20),
      ),
    ).toBeNull();

    home.removeAuth();
    await waitUntil("the logout", () => home.readStatus()["state"] === "idle");
    expect(await get(address, "/readyz")).toEqual([503, `${home.path}: idle (no_auth_json)\n`]);
    expect((await get(address, "/livez"))[0]).toBe(200);
    expect((await get(address, "/nothing"))[0]).toBe(404);
    expect((await get(address, "/metrics", "POST"))[0]).toBe(405);
    expect((await end(started)).code).toBe(0);
  });

  it("leave the login looked after when the port is taken, and say so", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const home = newHome(due());
    const started = loop(["--http", String(port)], home);
    await waitUntil("the refresh", () => home.readStatusOrNull()?.["watchdog_last_outcome"] === "refreshed");
    expect(started.stderr()).toMatch(/http: cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\): choose another port/);
    expect((await end(started)).code).toBe(0);
    taken.close();
  });

  it("are written to a file that others can read, by a single run too", async () => {
    const home = newHome(due());
    const file = join(folder, "codex.prom");
    expect((await once(["--metrics-file", file], home)).code).toBe(0);
    expect(statSync(file).mode & 0o777).toBe(0o644);
    expect(readFileSync(file, "utf8")).toContain(`codex_auth_state{codex_home="${home.path}",state="ok"} 1`);
    const nowhere = join(folder, "absent", "codex.prom");
    const { code, stderr } = await once(["--metrics-file", nowhere], home);
    expect(code).toBe(1);
    expect(stderr).toMatch(/metrics: cannot write the metrics .*ENOENT/);
  });
});

describe("the log", () => {
  it("is one JSON object a line when asked, with level and event", async () => {
    const { stderr } = await once(["--log-format", "json"], newHome(due()));
    const lines = stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toMatchObject([
      { level: "info", event: "refresh_starting" },
      { level: "info", event: "refreshed", message: expect.stringMatching(/^refresh: ok/) },
    ]);
    for (const { time } of lines) expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  it("says what goes on once, and each look when asked for debug", async () => {
    const home = newHome(makeTokens({ expiresInSec: 864_000 }));
    const [quiet, loud] = [loop(["--interval", "1"], home), loop(["--interval", "1", "--log-level", "debug"], home)];
    const looks = ({ stderr }: Running): number => messages(stderr()).filter((line) => line.startsWith("no-op")).length;
    await waitUntil("several looks", () => looks(loud) >= 3);
    expect(looks(quiet)).toBe(1);
    await Promise.all([end(quiet), end(loud)]);
  });

  it("of errors alone is empty when all goes well", async () => {
    const result = await once(["--log-level", "error"], newHome(due()));
    expect([result.code, result.stderr]).toEqual([0, ""]);
  });
});
