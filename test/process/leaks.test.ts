import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { findLeak, makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import { fillDisk, onBindMount, onTmpfs } from "../support/mounts.js";
import { type Running, type RunOptions, type RunResult, startProgram, waitUntil } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

let server: TokenServer;
let home: Home;
let presented: Tokens;
/** Every token of the test, old and new. */
let secrets: string[];

beforeEach(async () => {
  server = await TokenServer.start();
  home = new Home();
  presented = server.admit(makeTokens({ expiresInSec: 60 }));
  secrets = Object.values(presented);
  home.writeAuth(makeAuthJson(presented));
});

afterEach(async () => {
  home.remove();
  await server.stop();
});

/** What one run showed to the outside, by the name of the place. */
type Exposure = Map<string, string>;

/** Runs `--once`, looks at the process and its files while the request is out, and at everything afterwards. */
async function expose(
  options: RunOptions = {},
  duringRequest: () => void = () => undefined,
): Promise<RunResult & { seen: Exposure }> {
  const seen: Exposure = new Map();
  let running: Running | null = null;
  server.onPost = () => {
    const pid = running?.child.pid;
    if (pid === undefined) throw new Error("a request came from nobody");
    for (const each of [pid, ...descendants(pid)]) {
      seen.set(`arguments of ${each}`, readFileSync(`/proc/${each}/cmdline`, "utf8"));
      seen.set(`environment of ${each}`, readFileSync(`/proc/${each}/environ`, "utf8"));
    }
    collectFiles(seen, "during the request");
    duringRequest();
  };
  running = startProgram({
    ...options,
    env: { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url, ...options.env },
  });
  const result = await running.ended;
  seen.set("stdout", result.stdout);
  seen.set("stderr", result.stderr);
  collectFiles(seen, "afterwards");
  return { ...result, seen };
}

/** Every file of the home but auth.json itself, with its name. */
function collectFiles(seen: Exposure, when: string): void {
  for (const name of readdirSync(home.path, { recursive: true, encoding: "utf8" })) {
    const path = join(home.path, name);
    seen.set(`name of ${name} ${when}`, name);
    if (name !== "auth.json" && statSync(path).isFile()) seen.set(`${name} ${when}`, readFileSync(path, "utf8"));
  }
}

function descendants(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    const children = readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").trim();
    const pids = children === "" ? [] : children.split(" ").map(Number);
    return pids.flatMap((child) => [child, ...descendants(child)]);
  });
}

/** A text, and what it holds in base64, hex or percent encoding: a disguise is no protection. */
function readings(text: string): string[] {
  const decoded = (pattern: RegExp, encoding: BufferEncoding): string[] =>
    (text.match(pattern) ?? []).flatMap((piece) =>
      [0, 1, 2, 3].map((start) => Buffer.from(piece.slice(start), encoding).toString("latin1")),
    );
  return [
    text,
    ...decoded(/[A-Za-z0-9+/=_-]{16,}/g, "base64"),
    ...decoded(/[0-9a-fA-F]{24,}/g, "hex"),
    text.replace(/%([0-9a-fA-F]{2})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
  ];
}

function expectNoLeak(seen: Exposure): void {
  expect(findLeaks(seen)).toEqual([]);
}

/** The places that show a piece of a token, each once, with what they show. */
function findLeaks(seen: Exposure): string[] {
  const everything = [...secrets, ...storedTokens()];
  const leaks = [...seen].flatMap(([place, text]) =>
    readings(text).flatMap((reading) => {
      const leak = findLeak(reading, everything);
      return leak === null ? [] : [`${place}: ${leak}`];
    }),
  );
  return [...new Set(leaks)];
}

function storedTokens(): string[] {
  try {
    const { id_token = "", access_token = "", refresh_token = "" } = home.readTokens();
    return [id_token, access_token, refresh_token].filter((token) => token !== "");
  } catch {
    return []; // A test that breaks the file names its tokens itself.
  }
}

/** New tokens that the server would grant, known to the scan. */
function grant(): Tokens {
  const granted = makeTokens({ expiresInSec: 864_000 });
  secrets.push(...Object.values(granted));
  return granted;
}

describe("the scan itself", () => {
  it.each(["utf8", "base64", "base64url", "hex"] as const)("finds a piece of a token in %s", (encoding) => {
    const piece = Buffer.from(`an error about ${presented.refresh_token.slice(20, 40)} in`).toString(encoding);
    expect(findLeaks(new Map([["here", `x=${piece}`]]))).toEqual([expect.stringMatching(/^here: characters/)]);
    expect(findLeaks(new Map([["here", `x=${piece.slice(0, 4)}`]]))).toEqual([]);
  });
});

describe("no 12 characters of a token show up outside auth.json", () => {
  it("when a login is refreshed", async () => {
    const { code, seen } = await expose();
    expect(code).toBe(0);
    expect(server.posts).toHaveLength(1);
    // The look during the request has seen something: the process, and the ticket beside the file.
    expect([...seen.keys()].some((place) => place.startsWith("arguments of"))).toBe(true);
    expect([...seen.keys()].some((place) => place.endsWith(".ticket during the request"))).toBe(true);
    expect(home.readRefreshToken()).not.toBe(presented.refresh_token);
    expectNoLeak(seen);
  });

  it("when a fresh login is refreshed by force", async () => {
    presented = server.admit(makeTokens({ expiresInSec: 864_000 }));
    secrets.push(...Object.values(presented));
    home.writeAuth(makeAuthJson(presented));
    const { code, seen } = await expose({ args: ["--once", "--force"] });
    expect(code).toBe(0);
    expectNoLeak(seen);
  });

  it.each([
    { status: 401, code: 3 },
    { status: 400, code: 2 },
    { status: 429, code: 2 },
    { status: 500, code: 2 },
    { status: 503, code: 2 },
    { status: 302, code: 2 },
  ])("when an answer with $status echoes the token", async ({ status, code }) => {
    server.always({
      status,
      headers: { location: `/?token=${presented.refresh_token}`, "retry-after": presented.refresh_token },
      body: {
        error: { code: `bad_${presented.refresh_token}`, message: `token ${presented.refresh_token} is bad` },
        request: presented,
      },
    });
    const result = await expose();
    expect(result.code, result.stderr).toBe(code);
    expectNoLeak(result.seen);
  });

  it("when an answer with 200 holds tokens where none belong", async () => {
    server.always({ status: 200, body: { data: grant(), error: presented.refresh_token } });
    const { code, seen } = await expose();
    expect(code).toBe(2);
    expectNoLeak(seen);
  });

  it.each(["half-body-reset", "whole-body-reset"] as const)(
    "when the connection breaks in the answer (%s)",
    async (fault) => {
      server.always({ status: 200, body: grant(), fault });
      const { code, seen } = await expose();
      expect(code).toBe(fault === "half-body-reset" ? 2 : 0);
      expectNoLeak(seen);
    },
  );

  it("when the answer is for another account", async () => {
    const foreign = makeTokens({ expiresInSec: 864_000, accountId: "acct-theirs" });
    secrets.push(...Object.values(foreign));
    server.always({ status: 200, body: foreign });
    const { code, seen } = await expose();
    expect(code).toBe(3);
    expectNoLeak(seen);
  });

  it.each([
    { name: "cut off", bend: (text: string) => text.slice(0, -40) },
    { name: "followed by more", bend: (text: string) => `${text}${text}` },
    { name: "no JSON from the first character on", bend: (text: string) => text.slice(1) },
    { name: "a JSON string of itself", bend: (text: string) => JSON.stringify(text) },
    { name: "a mode that is a token", bend: (text: string) => text.replace('"chatgpt"', '"TOKEN"') },
    { name: "a last_refresh that is a token", bend: (text: string) => text.replace(/\d{4}-\d\d[^"]*/, "TOKEN") },
  ])("when the file is broken: $name", async ({ bend }) => {
    home.writeAuth(bend(home.readAuth()).replaceAll("TOKEN", presented.refresh_token));
    const { seen } = await expose();
    expectNoLeak(seen);
  });

  it("when the home cannot be written", async () => {
    await onBindMount(home.path, home.path, "read-only", async () => {
      const { code, seen } = await expose();
      expect(code).toBe(2);
      expectNoLeak(seen);
    });
  });

  it("when the disk is full as the answer arrives", async () => {
    await onTmpfs(home.path, "size=512k", async () => {
      // More than the space that the ticket has kept free.
      home.writeAuth(JSON.stringify({ ...JSON.parse(makeAuthJson(presented)), filler: " ".repeat(100_000) }));
      server.always({ status: 200, body: grant() });
      const { code, stderr, seen } = await expose({}, () => fillDisk(home.path));
      expect(code, stderr).toBe(4);
      // The one place that may hold the new tokens now is the journal, which is as private as auth.json.
      const journals = [...seen.keys()].filter((place) => /^\..*\.ticket afterwards$/.test(place));
      expect(journals).toHaveLength(1);
      for (const place of journals) {
        const text = seen.get(place) ?? "";
        seen.delete(place);
        expect(readings(text).map((reading) => findLeak(reading, [presented.refresh_token]))).toEqual(
          readings(text).map(() => null),
        );
        expect(statSync(join(home.path, place.replace(" afterwards", ""))).mode & 0o777).toBe(0o600);
      }
      expectNoLeak(seen);
    });
  });

  it("when a clumsy setting holds a token", async () => {
    const token = presented.refresh_token;
    const url = `${server.url}?token=${token}#${token}`;
    const { code, seen } = await expose({ env: { CODEX_REFRESH_TOKEN_URL_OVERRIDE: url } });
    for (const place of seen.keys()) if (/^(environment|arguments) of/.test(place)) seen.delete(place);
    expect(code).toBe(0);
    expectNoLeak(seen);
  });
});

describe("an unexpected crash", () => {
  /** Runs code in the program's own process, with the file's text in hand, while the request is out. */
  async function crash(source: string): Promise<void> {
    const preload = join(home.path, "preload.mjs");
    writeFileSync(
      preload,
      `import { readFileSync } from "node:fs";
       const text = () => readFileSync(${JSON.stringify(home.authJsonPath)}, "utf8");
       const token = () => JSON.parse(text()).tokens.refresh_token;
       process.on("SIGUSR2", () => { ${source} });`,
    );
    server.always({ delayMs: 10_000 });
    const seen: Exposure = new Map();
    const running = startProgram({
      env: {
        CODEX_HOME: home.path,
        CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url,
        NODE_OPTIONS: `--import=${preload}`,
      },
    });
    await waitUntil("the POST", () => server.posts.length === 1);
    running.child.kill("SIGUSR2");
    const result = await running.ended;
    seen.set("stdout", result.stdout);
    seen.set("stderr", result.stderr);
    collectFiles(seen, "afterwards");
    expect(result.code, result.stderr).toBe(70);
    expect(result.stderr).toMatch(/a bug/);
    expectNoLeak(seen);
  }

  it.each([
    { name: "an error that quotes the file", source: "throw new Error(text());" },
    { name: "a rejection that quotes the file", source: "Promise.reject(new Error(text()));" },
    { name: "a string", source: "throw text();" },
    { name: "nothing at all", source: "throw undefined;" },
    { name: "an object", source: "throw { tokens: JSON.parse(text()) };" },
    { name: "an error with the token in its cause", source: "throw new Error('x', { cause: text() });" },
    {
      name: "an error with the token in a code",
      source: "throw Object.assign(new Error('x'), { code: token() });",
    },
    {
      name: "an error with the token in its name",
      source: "throw Object.assign(new Error('x'), { name: token() });",
    },
    {
      name: "an error whose message looks like a stack",
      source: "throw new Error('x\\n    at ' + token());",
    },
  ])("prints no token and leaves none behind ($name)", async ({ source }) => {
    await crash(source);
  });
});
