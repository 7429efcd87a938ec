import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { findLeak, makeAuthJson, makeJwt, makeRefreshToken, makeTokens } from "../support/login.js";
import { fillDisk, onBindMount, onTmpfs, run } from "../support/mounts.js";
import { copyProgram, messages, type RunResult, runProgram, startProgram, waitUntil } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

const SIDECAR = "auth_refresh_status.json";
const AGENT_UID = 1000;
const YEAR_SEC = 31_536_000;

let server: TokenServer;
let home: Home;

beforeEach(async () => {
  server = await TokenServer.start();
  home = new Home();
});

afterEach(async () => {
  home.remove();
  await server.stop();
});

function environment(codexHome = home.path): Record<string, string> {
  return { CODEX_HOME: codexHome, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
}

async function once({ codexHome, uid }: { codexHome?: string; uid?: number } = {}): Promise<RunResult> {
  const env = environment(codexHome);
  if (uid === undefined) return await runProgram({ env });
  const directory = mkdtempSync(join(tmpdir(), "watchdog-program-"));
  try {
    return await runProgram({ env, uid, programPath: copyProgram(directory) });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The text of a login that is about to expire and that the server would refresh. */
function dueLogin(): string {
  return makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 })));
}

/** The same, as a document to be bent out of shape. */
function dueDocument(): { tokens: Record<string, unknown> } & Record<string, unknown> {
  return JSON.parse(dueLogin()) as { tokens: Record<string, unknown> } & Record<string, unknown>;
}

function withTokens(change: Record<string, unknown>): string {
  const document = dueDocument();
  return JSON.stringify({ ...document, tokens: { ...document.tokens, ...change } });
}

/** One line and no more, without a stack trace; the status may add a line when it can't be written either. */
function onlyLine({ stdout, stderr }: RunResult, hasStatusLine = false): string {
  expect(stdout).toBe("");
  const lines = messages(stderr);
  const others = hasStatusLine ? lines.filter((line) => !line.startsWith("status: ")) : lines;
  expect(others, stderr).toHaveLength(1);
  const [line = ""] = others;
  expect(stderr).not.toMatch(/^ +at |node:internal|a bug:/m);
  return line;
}

/** Nothing was sent, and nothing but the sidecar is new in the home. */
function expectUntouched(before: readonly string[]): void {
  expect(server.posts).toHaveLength(0);
  expect(home.list().filter((name) => name !== SIDECAR)).toEqual(before);
}

describe("a home or a file that is not there", () => {
  it("ends with 1 and creates nothing when the home is absent", async () => {
    const absent = join(home.path, "no", "such", "home");
    const result = await once({ codexHome: absent });
    expect(result.code).toBe(1);
    expect(onlyLine(result)).toMatch(/^skip: .*no\/such\/home\/auth\.json absent or empty/);
    expect(home.list()).toEqual([]);
    expect(server.posts).toHaveLength(0);
  });

  it("ends with 1 when there is no auth.json, and says so in the sidecar", async () => {
    const result = await once();
    expect(result.code).toBe(1);
    expect(onlyLine(result)).toContain("absent or empty");
    expect(home.list()).toEqual([SIDECAR]);
    expect(home.readStatus()["watchdog_last_outcome"]).toBe("skip:no_auth_json");
  });

  it("ends with 1 on a dangling symbolic link, and leaves it as it is", async () => {
    const elsewhere = new Home();
    try {
      symlinkSync(elsewhere.authJsonPath, home.authJsonPath);
      const result = await once();
      expect(result.code).toBe(1);
      expect(onlyLine(result)).toContain("absent or empty");
      expect(readlinkSync(home.authJsonPath)).toBe(elsewhere.authJsonPath);
      expect(elsewhere.list()).toEqual([]);
      expectUntouched(["auth.json"]);
    } finally {
      elsewhere.remove();
    }
  });

  it("ends with 2 when CODEX_HOME is a file, and leaves that file alone", async () => {
    const file = join(home.path, "file");
    writeFileSync(file, "not a directory");
    const result = await once({ codexHome: file });
    expect(result.code).toBe(2);
    const line = onlyLine(result, true);
    expect(line).toContain(file);
    expect(line).toMatch(/directory|ENOTDIR/);
    expect(readFileSync(file, "utf8")).toBe("not a directory");
    expect(home.list()).toEqual(["file"]);
    expect(server.posts).toHaveLength(0);
  });
});

interface Unusable {
  readonly name: string;
  readonly text: () => string | Uint8Array;
  readonly code: 1 | 2;
  readonly says: RegExp;
}

const half = (text: string): string => text.slice(0, Math.floor(text.length / 2));

const UNUSABLE: readonly Unusable[] = [
  { name: "an empty file", text: () => "", code: 1, says: /absent or empty/ },
  { name: "a file of blanks", text: () => " \n\t\n", code: 1, says: /absent or empty/ },
  {
    name: "text that is no JSON",
    text: () => `not json ${makeRefreshToken()}`,
    code: 2,
    says: /not complete JSON/,
  },
  { name: "half of a login", text: () => half(dueLogin()), code: 2, says: /not complete JSON/ },
  { name: "a login with a second one behind it", text: () => dueLogin().repeat(2), code: 2, says: /JSON/ },
  { name: "a login without its last bracket", text: () => dueLogin().slice(0, -1), code: 2, says: /JSON/ },
  {
    name: "a text cut within a character",
    text: () => Buffer.from(`{"name": "Zoë`).subarray(0, -1),
    code: 2,
    says: /UTF-8/,
  },
  { name: "bytes that are no text", text: () => Buffer.alloc(4_096, 0xfe), code: 2, says: /UTF-8/ },
  { name: "NUL bytes", text: () => Buffer.alloc(4_096), code: 2, says: /JSON/ },
  { name: "a byte order mark", text: () => `\uFEFF${dueLogin()}`, code: 2, says: /byte order mark/ },
  { name: "17 MB of JSON", text: () => bigLogin(17_000_000), code: 2, says: /EFBIG|too (large|big)/ },
  { name: "an array", text: () => "[]", code: 2, says: /not an object/ },
  { name: "a string", text: () => `"${makeRefreshToken()}"`, code: 2, says: /not an object/ },
  { name: "a number", text: () => "42", code: 2, says: /not an object/ },
  { name: "null", text: () => "null", code: 2, says: /not an object/ },
  { name: "an empty object", text: () => "{}", code: 1, says: /no_refresh_token/ },
  {
    name: "an auth_mode that is a number",
    text: () => JSON.stringify({ ...dueDocument(), auth_mode: 42 }),
    code: 2,
    says: /auth_mode/,
  },
  {
    name: "an auth_mode that is an object",
    text: () => JSON.stringify({ ...dueDocument(), auth_mode: {} }),
    code: 2,
    says: /auth_mode/,
  },
  {
    name: "an auth_mode that is another one",
    text: () => JSON.stringify({ ...dueDocument(), auth_mode: "apikey" }),
    code: 1,
    says: /no-op: auth_mode=apikey/,
  },
  {
    name: "an auth_mode in the wrong case",
    text: () => JSON.stringify({ ...dueDocument(), auth_mode: "ChatGPT" }),
    code: 1,
    says: /no-op: auth_mode=ChatGPT/,
  },
  ...["text", 42, true, []].map((tokens) => ({
    name: `tokens that are ${JSON.stringify(tokens)}`,
    text: () => JSON.stringify({ ...dueDocument(), tokens }),
    code: 2 as const,
    says: /tokens/,
  })),
  {
    name: "tokens that are null",
    text: () => JSON.stringify({ ...dueDocument(), tokens: null }),
    code: 1,
    says: /no_refresh_token/,
  },
  ...[42, true, {}, ["rt"]].map((value) => ({
    name: `a refresh_token that is ${JSON.stringify(value)}`,
    text: () => withTokens({ refresh_token: value }),
    code: 2 as const,
    says: /refresh_token/,
  })),
  ...["", null].map((value) => ({
    name: `a refresh_token that is ${JSON.stringify(value)}`,
    text: () => withTokens({ refresh_token: value }),
    code: 1 as const,
    says: /no_refresh_token/,
  })),
  ...[42, {}, ["jwt"]].map((value) => ({
    name: `an access_token that is ${JSON.stringify(value)}`,
    text: () => withTokens({ access_token: value }),
    code: 2 as const,
    says: /access_token/,
  })),
  {
    name: "100,000 brackets in an unknown field of a due login",
    text: () => `{"deep": ${"[".repeat(100_000)}${"]".repeat(100_000)}, ${dueLogin().slice(1)}`,
    code: 2,
    says: /nested too deeply/,
  },
];

describe("a file that holds no login to refresh", () => {
  it.each(UNUSABLE)("sends nothing and changes nothing on $name (exit $code)", async ({ text, code, says }) => {
    const bytes = Buffer.from(text());
    home.writeAuth(bytes);
    const before = statSync(home.authJsonPath);
    const result = await once();
    expect(result.code, result.stderr).toBe(code);
    const line = onlyLine(result);
    expect(line).toMatch(says);
    if (code === 2) expect(line).toContain(home.authJsonPath);
    expect(readFileSync(home.authJsonPath).equals(bytes)).toBe(true);
    const after = statSync(home.authJsonPath);
    expect([after.ino, after.mtimeMs, after.mode]).toEqual([before.ino, before.mtimeMs, before.mode]);
    expectUntouched(["auth.json"]);
    expect(home.readStatus()["watchdog_last_outcome"]).toMatch(code === 1 ? /^skip/ : /^(skip|fail):/);
  });

  it("waits for a half-written file that another writer completes within 500 ms", async () => {
    // strictatime: the time of the last access tells when the program has read the half.
    await onTmpfs(home.path, "size=1m,strictatime", async () => {
      const text = dueLogin();
      home.writeAuth(half(text));
      utimesSync(home.authJsonPath, 1, 1);
      const running = startProgram({ env: environment() });
      await waitUntil("the first read", () => statSync(home.authJsonPath).atimeMs > 1_000);
      expect(server.posts).toHaveLength(0);
      home.writeAuth(text);
      const { code, stderr } = await running.ended;
      expect(code, stderr).toBe(0);
      expect(server.posts).toHaveLength(1);
      expect(server.isActive(home.readRefreshToken())).toBe(true);
      expect(home.list()).toEqual(["auth.json", SIDECAR]);
    });
  });

  it("waits for an empty file that another writer fills within 500 ms", async () => {
    await onTmpfs(home.path, "size=1m,strictatime", async () => {
      // A read of no bytes leaves the access time alone: one blank stands for the truncated file.
      home.writeAuth(" ");
      utimesSync(home.authJsonPath, 1, 1);
      const running = startProgram({ env: environment() });
      await waitUntil("the first read", () => statSync(home.authJsonPath).atimeMs > 1_000);
      home.writeAuth(dueLogin());
      const { code, stderr } = await running.ended;
      expect(code, stderr).toBe(0);
      expect(server.posts).toHaveLength(1);
    });
  });
});

describe("something else in the file's place", () => {
  it("names a directory", async () => {
    mkdirSync(home.authJsonPath);
    const result = await once();
    expect(result.code).toBe(2);
    const line = onlyLine(result);
    expect(line).toContain(home.authJsonPath);
    expect(line).toContain("(EISDIR)");
    expect(line).toContain("regular file");
    expectUntouched(["auth.json"]);
    expect(lstatSync(home.authJsonPath).isDirectory()).toBe(true);
  });

  it("does not hang on a FIFO", async () => {
    run("mkfifo", home.authJsonPath);
    const result = await once();
    expect(result.code).toBe(2);
    const line = onlyLine(result);
    expect(line).toContain(home.authJsonPath);
    expect(line).toContain("regular file");
    expectUntouched(["auth.json"]);
    expect(lstatSync(home.authJsonPath).isFIFO()).toBe(true);
  });

  it("names a socket", async () => {
    const listener = createServer();
    await new Promise<void>((resolve) => listener.listen(home.authJsonPath, resolve));
    try {
      const result = await once();
      expect(result.code).toBe(2);
      const line = onlyLine(result);
      expect(line).toContain(home.authJsonPath);
      expect(line).toContain("regular file");
      expectUntouched(["auth.json"]);
      expect(lstatSync(home.authJsonPath).isSocket()).toBe(true);
    } finally {
      await new Promise((resolve) => listener.close(resolve));
    }
  });

  it("names a symbolic link that points at itself", async () => {
    symlinkSync("auth.json", home.authJsonPath);
    const result = await once();
    expect(result.code).toBe(2);
    const line = onlyLine(result);
    expect(line).toContain(home.authJsonPath);
    expect(line).toContain("(ELOOP)");
    expectUntouched(["auth.json"]);
  });
});

describe("a login with odd values in it", () => {
  const nowSec = Math.floor(Date.now() / 1000);
  const account = { "https://api.openai.com/auth": { chatgpt_account_id: "acct-test" } };
  const isoIn = (sec: number): string => new Date((nowSec + sec) * 1000).toISOString();
  const justNow = isoIn(-3_600);
  const nineDaysAgo = isoIn(-9 * 86_400);

  const OPAQUE = "an-opaque-access-token";
  const withExp = (exp: unknown): string => makeJwt({ ...account, exp });
  const HUGE = 1e300;

  it.each<{ name: string; accessToken: unknown; lastRefresh: unknown; isDue: boolean }>([
    { name: "an access token without exp", accessToken: makeJwt(account), lastRefresh: justNow, isDue: false },
    {
      name: "an access token without exp in an old login",
      accessToken: makeJwt(account),
      lastRefresh: nineDaysAgo,
      isDue: true,
    },
    {
      name: "a float exp ahead",
      accessToken: withExp(nowSec + 864_000.5),
      lastRefresh: justNow,
      isDue: false,
    },
    { name: "a float exp that is near", accessToken: withExp(nowSec + 60.5), lastRefresh: justNow, isDue: true },
    { name: "exp as a string", accessToken: withExp(String(nowSec - 60)), lastRefresh: justNow, isDue: false },
    {
      name: "exp as a string in an old login",
      accessToken: withExp(String(nowSec + 864_000)),
      lastRefresh: nineDaysAgo,
      isDue: true,
    },
    { name: "a negative exp", accessToken: withExp(-1), lastRefresh: justNow, isDue: true },
    { name: "a zero exp", accessToken: withExp(0), lastRefresh: justNow, isDue: true },
    { name: "a huge exp", accessToken: withExp(HUGE), lastRefresh: justNow, isDue: false },
    { name: "a huge exp in an old login", accessToken: withExp(HUGE), lastRefresh: nineDaysAgo, isDue: true },
    {
      name: "exp in milliseconds in an old login",
      accessToken: withExp((nowSec + 60) * 1000),
      lastRefresh: nineDaysAgo,
      isDue: true,
    },
    { name: "exp as null", accessToken: withExp(null), lastRefresh: justNow, isDue: false },
    { name: "an opaque access token", accessToken: OPAQUE, lastRefresh: justNow, isDue: false },
    { name: "a JWT of garbage", accessToken: "a.%%%.c", lastRefresh: undefined, isDue: true },
    { name: "no access token", accessToken: undefined, lastRefresh: undefined, isDue: true },
    { name: "no access token in a young login", accessToken: undefined, lastRefresh: justNow, isDue: false },
    { name: "garbage as last_refresh", accessToken: OPAQUE, lastRefresh: "yesterday", isDue: true },
    {
      name: "garbage as last_refresh beside a good exp",
      accessToken: withExp(nowSec + 864_000),
      lastRefresh: "2026-99-99T99:99:99Z",
      isDue: false,
    },
    { name: "a number as last_refresh", accessToken: OPAQUE, lastRefresh: nowSec, isDue: true },
    { name: "an object as last_refresh", accessToken: OPAQUE, lastRefresh: { at: justNow }, isDue: true },
    { name: "a last_refresh in the future", accessToken: OPAQUE, lastRefresh: isoIn(YEAR_SEC), isDue: true },
    {
      name: "a last_refresh in the future beside a good exp",
      accessToken: withExp(nowSec + 864_000),
      lastRefresh: isoIn(YEAR_SEC),
      isDue: false,
    },
  ])("reads $name as due: $isDue", async ({ accessToken, lastRefresh, isDue }) => {
    const document = dueDocument();
    const text = JSON.stringify({
      ...document,
      last_refresh: lastRefresh,
      tokens: { ...document.tokens, access_token: accessToken },
    });
    home.writeAuth(text);
    const result = await once();
    expect(result.code, result.stderr).toBe(isDue ? 0 : 1);
    expect(server.posts).toHaveLength(isDue ? 1 : 0);
    expect(home.list()).toEqual(["auth.json", SIDECAR]);
    if (isDue) {
      expect(server.isActive(home.readRefreshToken())).toBe(true);
    } else {
      expect(onlyLine(result)).toMatch(/^no-op: fresh exp_in=(\d+|unknown)s age=(-?\d+|unknown)s$/);
      expect(home.readAuth()).toBe(text);
    }
  });

  it.each<{ name: string; change: Record<string, unknown> }>([
    { name: "id_token", change: { id_token: 42 } },
    { name: "account_id", change: { account_id: { id: 42 } } },
  ])("refreshes a login whose $name has the wrong type", async ({ change }) => {
    home.writeAuth(withTokens(change));
    expect((await once()).code).toBe(0);
    expect(server.posts).toHaveLength(1);
    expect(server.isActive(home.readRefreshToken())).toBe(true);
  });

  it("refreshes a login in 5 MB of JSON and keeps every byte of the rest", async () => {
    const text = bigLogin(5_000_000);
    home.writeAuth(text);
    const result = await once();
    expect(result.code, result.stderr).toBe(0);
    expect(server.posts).toHaveLength(1);
    expect(server.isActive(home.readRefreshToken())).toBe(true);
    const filler = (json: string): string => JSON.stringify((JSON.parse(json) as { filler: string[] }).filler);
    expect(filler(home.readAuth()) === filler(text)).toBe(true);
    expect(home.list()).toEqual(["auth.json", SIDECAR]);
  });
});

/** A due login with an unknown field of about that many bytes, in many small values. */
function bigLogin(bytes: number): string {
  const filler = Array.from({ length: Math.ceil(bytes / 100) }, (_, index) => `${index} `.padEnd(97, "x"));
  return JSON.stringify({ filler, ...dueDocument() });
}

describe("a place where nothing can be saved", () => {
  /** The login is due, the POST would work, the save would not: so nothing may be sent. */
  async function expectNoPost(options: { uid?: number; says: RegExp[]; hasStatusLine: boolean }): Promise<void> {
    const bytes = readFileSync(home.authJsonPath);
    const before = home.list();
    const result = await once(options.uid === undefined ? {} : { uid: options.uid });
    expect(result.code, result.stderr).toBe(2);
    const line = onlyLine(result, options.hasStatusLine);
    for (const words of options.says) expect(line).toMatch(words);
    expect(line).toMatch(/nothing was sent/);
    expect(readFileSync(home.authJsonPath).equals(bytes)).toBe(true);
    expectUntouched(before);
  }

  it("sends nothing from a home that belongs to root when it runs as the agent", async () => {
    home.writeAuth(dueLogin());
    chownSync(home.authJsonPath, AGENT_UID, AGENT_UID);
    chmodSync(home.path, 0o555);
    await expectNoPost({
      uid: AGENT_UID,
      says: [/EACCES/, new RegExp(home.path), /give this user the right/],
      hasStatusLine: true,
    });
  });

  it("sends nothing from a read-only mount, not even as root", async () => {
    home.writeAuth(dueLogin());
    await onBindMount(home.path, home.path, "read-only", () =>
      expectNoPost({
        says: [/EROFS/, new RegExp(home.path), /mount it writable/],
        hasStatusLine: true,
      }),
    );
  });

  it("sends nothing when the disk is full", async () => {
    await onTmpfs(home.path, "size=256k", async () => {
      home.writeAuth(dueLogin());
      fillDisk(home.path);
      await expectNoPost({
        says: [/ENOSPC/, new RegExp(home.path), /free some space/],
        hasStatusLine: true,
      });
    });
  });

  it("sends nothing when the disk has room for less than an answer", async () => {
    await onTmpfs(home.path, "size=256k", async () => {
      home.writeAuth(dueLogin());
      fillDisk(home.path);
      const filler = join(home.path, "filler");
      run("truncate", "--size=-16384", filler);
      await expectNoPost({ says: [/ENOSPC/, /free some space/], hasStatusLine: false });
    });
  });

  it("sends nothing when the disk has no inode left", async () => {
    await onTmpfs(home.path, "size=1m,nr_inodes=3", async () => {
      home.writeAuth(dueLogin());
      writeFileSync(join(home.path, "the-last-one"), "");
      await expectNoPost({ says: [/ENOSPC/, /free some space/], hasStatusLine: true });
    });
  });

  it("writes through a single-file bind mount, and sends nothing when that is read-only", async () => {
    const elsewhere = new Home();
    try {
      elsewhere.writeAuth(dueLogin());
      home.writeAuth("");
      await onBindMount(elsewhere.authJsonPath, home.authJsonPath, "read-only", () =>
        expectNoPost({ says: [/EROFS/, new RegExp(home.authJsonPath), /mount it writable/], hasStatusLine: false }),
      );
      const { ino } = statSync(elsewhere.authJsonPath);
      await onBindMount(elsewhere.authJsonPath, home.authJsonPath, "writable", async () => {
        const { code, stderr } = await once();
        expect(code, stderr).toBe(0);
      });
      expect(statSync(elsewhere.authJsonPath).ino).toBe(ino);
      expect(server.isActive(elsewhere.readRefreshToken())).toBe(true);
      expect(home.list()).toEqual(["auth.json", SIDECAR]);
    } finally {
      elsewhere.remove();
    }
  });

  it("sends nothing when the file cannot be read", async () => {
    const login = dueLogin();
    home.writeAuth(login);
    chmodSync(home.authJsonPath, 0o000);
    chownSync(home.authJsonPath, AGENT_UID, AGENT_UID);
    chownSync(home.path, AGENT_UID, AGENT_UID);
    await expectNoPost({
      uid: AGENT_UID,
      says: [/EACCES/, /cannot (be )?read/, new RegExp(home.authJsonPath), /give this user the right/],
      hasStatusLine: false,
    });
    expect(statSync(home.authJsonPath).mode & 0o777).toBe(0);
  });

  it("sends nothing when the home cannot even be entered", async () => {
    home.writeAuth(dueLogin());
    await expectNoPost({
      uid: AGENT_UID,
      says: [/EACCES/, new RegExp(home.path), /give this user the right/],
      hasStatusLine: true,
    });
  });

  it("still says that a login is fresh when nothing can be written", async () => {
    home.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 864_000 })));
    await onBindMount(home.path, home.path, "read-only", async () => {
      const result = await once();
      expect(result.code).toBe(1);
      expect(onlyLine(result, true)).toMatch(/^no-op: fresh/);
    });
  });
});

describe("an auth.json that is a symbolic link", () => {
  it("updates the target, keeps the link, and does its bookkeeping beside the target", async () => {
    const elsewhere = new Home();
    try {
      elsewhere.writeAuth(dueLogin());
      symlinkSync(elsewhere.authJsonPath, home.authJsonPath);
      const during: { target: string[]; link: string[] } = { target: [], link: [] };
      server.onPost = () => {
        during.target = elsewhere.list();
        during.link = home.list();
      };
      const result = await once();
      expect(result.code, result.stderr).toBe(0);
      expect(during.target.length).toBeGreaterThan(1);
      expect(during.link).toEqual(["auth.json"]);
      expect(readlinkSync(home.authJsonPath)).toBe(elsewhere.authJsonPath);
      expect(server.isActive(elsewhere.readRefreshToken())).toBe(true);
      expect(statSync(elsewhere.authJsonPath).mode & 0o777).toBe(0o600);
      expect(elsewhere.list()).toEqual(["auth.json"]);
      expect(home.list()).toEqual(["auth.json", SIDECAR]);
    } finally {
      elsewhere.remove();
    }
  });

  it("spends the token once when a second copy runs on the target itself", async () => {
    const elsewhere = new Home();
    try {
      elsewhere.writeAuth(dueLogin());
      symlinkSync(elsewhere.authJsonPath, home.authJsonPath);
      server.always({ delayMs: 300 });
      const results = await Promise.all([once(), once({ codexHome: realpathSync(elsewhere.path) })]);
      expect(results.map(({ code }) => code).sort()).toEqual([0, 1]);
      expect(server.posts).toHaveLength(1);
    } finally {
      elsewhere.remove();
    }
  });
});

describe("a call that cannot be meant", () => {
  const secretUrl = "https://user:pa55-w0rd-pa55-w0rd@127.0.0.1/oauth/token";
  const flags = (...args: string[]): { args: string[]; env: Record<string, string> } => ({ args, env: {} });
  const variable = (name: string, value: string): { args: string[]; env: Record<string, string> } => ({
    args: [],
    env: { [name]: value },
  });
  const URL_VARIABLE = "CODEX_REFRESH_TOKEN_URL_OVERRIDE";

  it.each<{ name: string; call: { args: string[]; env: Record<string, string> }; says: RegExp }>([
    { name: "an unknown flag", call: flags("--frobnicate"), says: /--frobnicate/ },
    { name: "an unknown short flag", call: flags("-z"), says: /-z/ },
    { name: "a flag that is misspelt", call: flags("--onec"), says: /--onec/ },
    { name: "an argument too many", call: flags("now"), says: /commands are status, check, wait, doctor/ },
    { name: "a word behind a command", call: flags("status", "now"), says: /commands are/ },
    { name: "an option before a command", call: flags("--once", "status"), says: /status before its options/ },
    { name: "an option of another command", call: flags("status", "--force"), says: /--force/ },
    { name: "--http without a port", call: flags("--http", "localhost"), says: /--http.*127\.0\.0\.1:9464/ },
    { name: "--http with a port that there is not", call: flags("--http", "::1:70000"), says: /--http/ },
    { name: "a log format of its own", call: flags("--log-format", "xml"), says: /--log-format.*text, json/ },
    {
      name: "a log level of its own",
      call: flags("--log-level", "loud"),
      says: /--log-level.*error, warn, info, debug/,
    },
    ...["abc", "", " ", "-5", "1.5", "0", "1e3", "5x", "NaN", "99999999999d", "0x10"].map((value) => ({
      name: `--interval=${JSON.stringify(value)}`,
      call: flags(`--interval=${value}`),
      says: /--interval/,
    })),
    { name: "--interval without a value", call: flags("--interval"), says: /--interval/ },
    { name: "a bad --safety-margin", call: flags("--safety-margin", "soon"), says: /--safety-margin/ },
    { name: "a bad --stale-after", call: flags("--stale-after", "a week"), says: /--stale-after/ },
    ...[
      "CODEX_AUTH_REFRESH_INTERVAL_SECONDS",
      "CODEX_AUTH_SAFETY_MARGIN_SECONDS",
      "CODEX_AUTH_STALE_AFTER_SECONDS",
    ].flatMap((name) =>
      ["six hours", "-1", "1.5"].map((value) => ({
        name: `${name}=${value}`,
        call: variable(name, value),
        says: new RegExp(name),
      })),
    ),
    ...["http://example.com/oauth/token", "http://127.0.0.1.example.com/", "http://10.0.0.1/", "ftp://127.0.0.1/"]
      .concat(["file:///etc/passwd", "http://localhost.example/"])
      .map((url) => ({ name: url, call: variable(URL_VARIABLE, url), says: /https/ })),
    { name: "an override that is no URL", call: variable(URL_VARIABLE, "auth.openai.com"), says: /URL/ },
    { name: "a URL with a password", call: variable(URL_VARIABLE, secretUrl), says: /password/ },
    {
      name: "a loopback URL with a user",
      call: variable(URL_VARIABLE, "http://user@127.0.0.1/"),
      says: /user name/,
    },
    {
      name: "a command behind --codex-home",
      call: flags("--codex-home", "/a", "status"),
      says: /--codex-home.*'status' first/,
    },
    { name: "an empty --codex-home", call: flags("--codex-home="), says: /--codex-home/ },
  ])("refuses $name with 64, before anything happens", async ({ call, says }) => {
    home.writeAuth(dueLogin());
    const { code, stdout, stderr } = await runProgram({
      args: ["--once", ...call.args],
      env: { ...environment(), ...call.env },
    });
    expect(code, stderr).toBe(64);
    expect(stdout).toBe("");
    const [line = "", hint, ...rest] = stderr.trimEnd().split("\n");
    expect(line).toMatch(/^codex-auth-watchdog: /);
    expect(line).toMatch(says);
    expect(hint).toContain("--help");
    expect(rest).toEqual([]);
    expect(findLeak(stderr, ["pa55-w0rd-pa55-w0rd"])).toBe(null);
    expectUntouched(["auth.json"]);
    expect(home.list()).toEqual(["auth.json"]);
  });

  it("refuses a loop in the same way", async () => {
    const { code } = await runProgram({ args: ["--interval", "often"], env: environment() });
    expect(code).toBe(64);
    expect(home.list()).toEqual([]);
  });

  it("takes a blank variable as one that is not set", async () => {
    home.writeAuth(dueLogin());
    const { code, stderr } = await runProgram({
      env: { ...environment(), CODEX_AUTH_SAFETY_MARGIN_SECONDS: "", CODEX_AUTH_STALE_AFTER_SECONDS: " " },
    });
    expect(code, stderr).toBe(0);
  });

  it.each(["--help", "-h"])("answers %s with 0 and touches nothing", async (flag) => {
    const { code, stdout, stderr } = await runProgram({ args: [flag], env: environment() });
    expect(code).toBe(0);
    expect(stdout).toContain("Usage: codex-auth-watchdog");
    for (const option of ["--once", "--force", "--codex-home", "--interval", "--safety-margin"]) {
      expect(stdout).toContain(option);
    }
    expect(stderr).toBe("");
    expect(home.list()).toEqual([]);
  });

  it("answers --version with the version of the package", async () => {
    const { code, stdout } = await runProgram({ args: ["--version"], env: environment() });
    const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
    expect(code).toBe(0);
    expect(stdout.trim()).toBe((JSON.parse(manifest) as { version: string }).version);
    expect(home.list()).toEqual([]);
  });

  it("leaves the default home alone when the call is wrong", async () => {
    const userHome = mkdtempSync(join(tmpdir(), "watchdog-user-"));
    try {
      const { code } = await runProgram({ args: ["--wrong"], env: { HOME: userHome } });
      expect(code).toBe(64);
      expect(readdirSync(userHome)).toEqual([]);
      expect(existsSync(join(userHome, ".codex"))).toBe(false);
    } finally {
      rmSync(userHome, { recursive: true, force: true });
    }
  });
});
