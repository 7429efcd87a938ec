/**
 * Beside the real Codex: how many logins a common start costs, with and without the watchdog; whether both live
 * together through many rotations and kills; what delegation takes; and what breaks without our care for Codex's file.
 *
 * Words select parts (`starts`, `together`, `loops`, `delegation`, `care`, `flock`; all without one). `--rounds` and `--rotations` change
 * how much of each. `CODEX_VERSIONS` chooses the releases.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installOnce } from "../scripts/npm-cache.mjs";
import { AppServer } from "../test/codex/stage.js";
import type { Home } from "../test/support/home.js";
import { makeAuthJson, makeTokens } from "../test/support/login.js";
import { NODE_PATH, PROGRAM_PATH, type Running, waitUntil } from "../test/support/program.js";
import { endStagesOnSignal, Stage } from "./daemon/stage.js";
import { describeMachine, median, say, table } from "./figures.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "5" }, rotations: { type: "string", default: "40" } },
});
const ROUNDS = Number(values.rounds);
const ROTATIONS = Number(values.rotations);

/** A token with this long to live, of three times as much in all, is due by our margin, and not yet by Codex's. */
const DUE_SEC = 330;

/** How our own requests call themselves. */
const OWN_NAME = "codex-auth-watchdog";

/** An answer takes a while, as over a network. */
const ANSWER_MS = 300;

interface Release {
  readonly version: string;
  readonly codex: string;
}

function putLogin(stage: Stage, home: Home, expiresInSec: number): void {
  home.writeAuth(makeAuthJson(stage.server.admit(makeTokens({ expiresInSec }))));
}

/** A Codex on this home that talks to nobody but the endpoint, which knows nothing of what else it asks. */
function openCodex(stage: Stage, home: Home, { codex }: Release): AppServer {
  writeFileSync(join(home.path, "config.toml"), `chatgpt_base_url = "${new URL("/backend-api", stage.server.url)}"\n`);
  const env = { HOME: home.path, CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: stage.server.url };
  return new AppServer(codex, home.path, env);
}

function startOnce(stage: Stage, home: Home, ...more: readonly string[]): Running {
  const env = { CODEX_REFRESH_TOKEN_URL_OVERRIDE: stage.server.url };
  return stage.start(NODE_PATH, [PROGRAM_PATH, "--once", "--codex-home", home.path, ...more], { env });
}

/** The same where the watchdog sees no Codex: in a container of its own, for instance. */
function startOnceApart(stage: Stage, home: Home): Running {
  const env = { CODEX_REFRESH_TOKEN_URL_OVERRIDE: stage.server.url };
  const apart = ["--pid", "--fork", "--mount-proc", NODE_PATH, PROGRAM_PATH, "--once", "--codex-home", home.path];
  return stage.start("unshare", apart, { env });
}

type Watchdog = "none" | "beside" | "apart";

/** All begin in one moment over an expired token. Returns whether the login lives on. */
async function startTogether(stage: Stage, release: Release, codexes: number, watchdog: Watchdog): Promise<boolean> {
  const [home] = stage.makeHomes(1);
  if (home === undefined) throw new Error("no home");
  putLogin(stage, home, -60);
  stage.server.always({ delayMs: ANSWER_MS });
  const servers = Array.from({ length: codexes }, () => openCodex(stage, home, release));
  const own = watchdog === "none" ? null : watchdog === "beside" ? startOnce(stage, home) : startOnceApart(stage, home);
  await Promise.all(servers.map((server) => server.initialize()));
  await Promise.all(servers.map((server) => server.request("account/read", { refreshToken: false })));
  await Promise.all(servers.map((server) => server.token()));
  await own?.ended;
  await Promise.all(servers.map((server) => server.end()));
  const isAlive = stage.server.isActive(home.readRefreshToken());
  home.remove();
  return isAlive;
}

async function benchStarts(releases: readonly Release[]): Promise<void> {
  const rows: string[][] = [];
  for (const release of releases) {
    for (const watchdog of ["none", "beside", "apart"] as const) {
      for (const codexes of watchdog === "none" ? [1, 2, 5, 10] : [1, 2, 5]) {
        const stage = await Stage.open();
        let lost = 0;
        for (let round = 0; round < ROUNDS; round += 1) {
          if (!(await startTogether(stage, release, codexes, watchdog))) lost += 1;
        }
        const posts = (stage.server.posts.length / ROUNDS).toFixed(1);
        await stage.close();
        rows.push([release.version, String(codexes), watchdog, `${lost} of ${ROUNDS}`, posts]);
      }
    }
  }
  say("\nA start in the same moment over an expired token\n");
  say(table(["Codex", "processes", "watchdog", "logins lost", "POSTs a start"], rows));
}

/** Whether a kill fell between the server's rotation and the first byte of the answer: what nobody can mend. */
function isInWindow({ server }: Stage, home: Home): boolean {
  const names = home.listAll().filter((name) => name.endsWith(".ticket"));
  const tickets = names.map((name) => readFileSync(join(home.path, name), "utf8"));
  const isDispatched = tickets.some((text) => text.includes('"dispatched"') && !text.includes('"answer"'));
  return isDispatched && !server.isActive(home.readRefreshToken());
}

/** Rotations by the watchdog, with kills of it and of every Codex, while several app-servers use the login. */
async function liveTogether(release: Release, codexes: number): Promise<string[]> {
  const stage = await Stage.open();
  const [home] = stage.makeHomes(1);
  if (home === undefined) throw new Error("no home");
  putLogin(stage, home, 3_600);
  const open = async (): Promise<AppServer> => {
    const server = openCodex(stage, home, release);
    // One after the other: two that make their databases at once can end with 1 (0.165.0).
    await server.initialize();
    await server.token();
    return server;
  };
  let servers: AppServer[] = [];
  for (let count = 0; count < codexes; count += 1) servers.push(await open());
  let [unread, unseen, kills, inWindow] = [0, 0, 0, 0];
  for (let turn = 0; turn < ROTATIONS; turn += 1) {
    const own = startOnce(stage, home, "--force");
    if (turn % 4 === 1) {
      // Somewhere in its work; the next one goes on where it ended.
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 400));
      own.child.kill("SIGKILL");
      await own.ended;
      kills += 1;
      if (isInWindow(stage, home)) {
        inWindow += 1;
        putLogin(stage, home, 3_600); // A person logs in again.
      } else await startOnce(stage, home).ended;
    } else await own.ended;
    if (turn % 5 === 2) {
      const [first, ...others] = servers;
      first?.kill();
      servers = [...others, await open()];
      kills += 1;
    }
    for (const server of servers) {
      await server.refresh();
      const shown = await server.token();
      if (shown === null) unread += 1;
      else if (shown !== home.readTokens()["access_token"]) unseen += 1;
    }
  }
  const isAlive = stage.server.isActive(home.readRefreshToken());
  const byCodex = stage.server.posts.filter(({ headers }) => !headers["user-agent"]?.startsWith(`${OWN_NAME}/`)).length;
  const { posts, reuseCount } = stage.server;
  await Promise.all(servers.map((server) => server.end()));
  await stage.close();
  const figures = [posts.length - byCodex, byCodex, reuseCount, unread, unseen, kills, inWindow].map(String);
  return [release.version, ...figures, isAlive ? "alive" : "LOST"];
}

async function benchTogether(releases: readonly Release[]): Promise<void> {
  const rows = [];
  for (const release of releases) rows.push(await liveTogether(release, 3));
  say(`\n${ROTATIONS} rotations with three app-servers on one home, each asked for a refresh after each\n`);
  const counts = ["POSTs by us", "by Codex", "reused", "unreadable", "not seen", "kills", "in the window"];
  say(table(["Codex", ...counts, "login"], rows));
}

/** What several loops and a crowd of app-servers have done to one login after the other. */
interface Shared {
  readonly kills: number;
  readonly unread: number;
  readonly unseen: number;
  readonly inWindow: number;
  readonly lost: number;
}

/**
 * Two loops beside three app-servers, on tokens that are due when they arrive and last for longer than Codex's own five
 * minutes: so the loops rotate, and Codex stays quiet. A new login every few seconds, because the brake lets the loops
 * rotate four times in an hour. Now and then one of the five is killed and begun anew.
 */
async function shareQuietly(stage: Stage, release: Release): Promise<Shared> {
  const [home] = stage.makeHomes(1);
  if (home === undefined) throw new Error("no home");
  const logIn = (): void =>
    home.writeAuth(makeAuthJson(stage.server.admit(makeTokens({ expiresInSec: DUE_SEC, livesForSec: 3 * DUE_SEC }))));
  const open = async (): Promise<AppServer> => {
    const server = openCodex(stage, home, release);
    await server.initialize();
    return server;
  };
  logIn();
  let servers = [await open(), await open(), await open()];
  const more = ["--min-refresh-interval", "1s"];
  let loops = [stage.startLoop([home.path], { after: more }), stage.startLoop([home.path], { after: more })];
  let [kills, unread, unseen, inWindow, lost] = [0, 0, 0, 0, 0];
  for (let turn = 0; turn < ROTATIONS; turn += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    if (turn % 5 === 1) {
      const [first, second] = loops;
      first?.child.kill("SIGKILL");
      await first?.ended;
      loops = [...(second === undefined ? [] : [second]), stage.startLoop([home.path], { after: more })];
      kills += 1;
    }
    if (turn % 5 === 3) {
      servers[0]?.kill();
      servers = [...servers.slice(1), await open()];
      kills += 1;
    }
    if (turn % 10 !== 9) continue;
    // Long enough for the loops to finish what they have begun, and a lock of one that was killed.
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    const isAlive = stage.server.isActive(home.readRefreshToken());
    if (!isAlive && isInWindow(stage, home)) inWindow += 1;
    else if (!isAlive) lost += 1;
    for (const server of isAlive ? servers : []) {
      await server.refresh();
      const shown = await server.token();
      if (shown === null) unread += 1;
      else if (shown !== home.readTokens()["access_token"]) unseen += 1;
    }
    logIn();
  }
  await Promise.all(loops.map((loop) => stage.end(loop)));
  await Promise.all(servers.map((server) => server.end()));
  return { kills, unread, unseen, inWindow, lost };
}

async function benchLoops(releases: readonly Release[]): Promise<void> {
  const rows: string[][] = [];
  for (const release of releases) {
    const stage = await Stage.open({ expiresInSec: DUE_SEC, livesForSec: 3 * DUE_SEC });
    const { kills, unread, unseen, inWindow, lost } = await shareQuietly(stage, release);
    const { posts, reuseCount } = stage.server;
    const own = posts.filter(({ headers }) => headers["user-agent"]?.startsWith(`${OWN_NAME}/`)).length;
    await stage.close();
    const figures = [own, posts.length - own, reuseCount, kills, unread, unseen, inWindow, lost];
    rows.push([release.version, ...figures.map(String)]);
  }
  say(`\nTwo loops and three app-servers on one home for ${ROTATIONS} s, a new login every ten\n`);
  const counts = ["POSTs by us", "by Codex", "reused", "kills", "unreadable", "not seen", "in the window", "lost"];
  say(table(["Codex", ...counts], rows));
}

async function benchDelegation(releases: readonly Release[]): Promise<void> {
  const stage = await Stage.open();
  const rows: string[][] = [];
  const ways: (readonly [string, readonly string[]])[] = [
    ["direct", []],
    ...releases.map(({ version, codex }) => [`via ${version}`, ["--via", "codex", "--codex-program", codex]] as const),
  ];
  const times = new Map<string, number[]>(ways.map(([name]) => [name, []]));
  for (let round = 0; round < 4 * ROUNDS; round += 1) {
    for (const [name, more] of ways) {
      const [home] = stage.makeHomes(1);
      if (home === undefined) throw new Error("no home");
      putLogin(stage, home, 3_600);
      writeFileSync(`${home.path}/config.toml`, `chatgpt_base_url = "${new URL("/backend-api", stage.server.url)}"\n`);
      const begunMs = performance.now();
      const { code, stderr } = await startOnce(stage, home, ...more).ended;
      if (code !== 0) throw new Error(`${name}: exit ${code}: ${stderr}`);
      times.get(name)?.push(performance.now() - begunMs);
      home.remove();
    }
  }
  const direct = median(times.get("direct") ?? []);
  for (const [name, list] of times) {
    rows.push([name, String(list.length), median(list).toFixed(0), (median(list) / direct).toFixed(2)]);
  }
  await stage.close();
  say("\nA due login, `--once`, in turn\n");
  say(table(["way", "runs", "median ms", "× direct"], rows));
}

/** What Codex makes of a file from which one of our cares for it was taken. */
async function benchCare(releases: readonly Release[]): Promise<void> {
  const cares: (readonly [string, (document: Record<string, unknown>) => void])[] = [
    ["as we write it", () => undefined],
    ["without tokens.account_id", (document) => Reflect.deleteProperty(document["tokens"] as object, "account_id")],
    ["without last_refresh", (document) => Reflect.deleteProperty(document, "last_refresh")],
  ];
  const rows: string[][] = [];
  for (const release of releases) {
    for (const [name, spoil] of cares) {
      const stage = await Stage.open();
      const [home] = stage.makeHomes(1);
      if (home === undefined) throw new Error("no home");
      putLogin(stage, home, 3_600);
      const server = openCodex(stage, home, release);
      await server.initialize();
      await server.token();
      await startOnce(stage, home, "--force").ended;
      const document = JSON.parse(readFileSync(home.authJsonPath, "utf8")) as Record<string, unknown>;
      spoil(document);
      home.writeAuth(JSON.stringify(document, null, 2));
      const rotated = home.readTokens();
      const before = stage.server.posts.length;
      await server.refresh();
      const shown = await server.token();
      const posts = stage.server.posts.length - before;
      const isSeen = shown === home.readTokens()["access_token"];
      const isAlive = stage.server.isActive(home.readRefreshToken());
      const isKept = home.readRefreshToken() === rotated["refresh_token"];
      rows.push([
        release.version,
        name,
        String(posts),
        isSeen ? "seen" : "not seen",
        isKept ? "kept" : "rotated",
        isAlive ? "alive" : "LOST",
      ]);
      await server.end();
      await stage.close();
    }
  }
  say("\nA running Codex is asked for a refresh after ours\n");
  say(table(["Codex", "our file", "its POSTs", "new token", "file", "login"], rows));
}

/** How long our rename is held back, so that a writer falls between our last look at the file and it. */
const RENAME_DELAY_MS = 800;

/**
 * A login by a Codex that locks and renames, as 0.166 and newer do, between our last comparison and our rename.
 *
 * @param hasFlock whether the watchdog finds flock(1)
 * @returns whether that login stands in the end
 */
async function logInBeforeOurRename(hasFlock: boolean): Promise<boolean> {
  const stage = await Stage.open();
  const [home] = stage.makeHomes(1);
  if (home === undefined) throw new Error("no home");
  putLogin(stage, home, 3_600);
  const renames = "rename,renameat,renameat2";
  const strace = [
    "-f",
    "-qq",
    ...["-o", join(stage.folder, "trace"), "-e", `trace=${renames}`],
    ...["-e", `inject=${renames}:delay_enter=${RENAME_DELAY_MS * 1000}`],
    ...[NODE_PATH, PROGRAM_PATH, "--once", "--force", "--codex-home", home.path],
  ];
  const bare = stage.makeFolder("bare");
  symlinkSync(execFileSync("sh", ["-c", "command -v strace"], { encoding: "utf8" }).trim(), join(bare, "strace"));
  const env = {
    CODEX_REFRESH_TOKEN_URL_OVERRIDE: stage.server.url,
    ...(hasFlock ? {} : { PATH: bare }),
  };
  const own = stage.start("strace", strace, { env });
  // The new text is staged under this name; the rename that follows is the one over auth.json.
  await waitUntil("the staged text", () => home.listAll().some((name) => /\.new\.\d+$/.test(name)));
  await new Promise((resolve) => setTimeout(resolve, RENAME_DELAY_MS / 2));
  const tokens = stage.server.admit(makeTokens({ expiresInSec: 864_000 }));
  writeFileSync(join(home.path, "new"), makeAuthJson(tokens, { lastRefreshAgoSec: 0 }), { mode: 0o600 });
  const locks = [join(home.path, "auth.lock"), "flock", `${home.authJsonPath}.lock`];
  await stage.start("flock", [...locks, "mv", join(home.path, "new"), home.authJsonPath]).ended;
  await own.ended;
  const isKept = home.readRefreshToken() === tokens.refresh_token;
  await stage.close();
  return isKept;
}

async function benchFlock(): Promise<void> {
  const rows: string[][] = [];
  for (const hasFlock of [true, false]) {
    let kept = 0;
    for (let round = 0; round < ROUNDS; round += 1) if (await logInBeforeOurRename(hasFlock)) kept += 1;
    rows.push([hasFlock ? "with flock" : "without", `${kept} of ${ROUNDS}`]);
  }
  say("\nA new login that is saved under Codex's locks between our last look and our rename\n");
  say(table(["our save", "login kept"], rows));
}

const parts = new Map([
  ["starts", benchStarts],
  ["together", benchTogether],
  ["loops", benchLoops],
  ["delegation", benchDelegation],
  ["care", benchCare],
  ["flock", benchFlock],
]);

endStagesOnSignal();
const versions = (process.env["CODEX_VERSIONS"] ?? "0.130.0 0.165.0 0.169.0").split(/\s+/);
const releases = versions.map((version) => ({
  version,
  codex: installOnce(`codex-${version}`, `@openai/codex@${version}`, join(".bin", "codex")),
}));
say(`node ${process.version}; ${describeMachine()}; Codex ${releases.map(({ version }) => version).join(", ")}`);
for (const name of positionals.length === 0 ? parts.keys() : positionals) {
  const part = parts.get(name);
  if (part === undefined) throw new Error(`no part is called ${name}; there are ${[...parts.keys()].join(", ")}`);
  await part(releases);
}
