import { spawn } from "node:child_process";
import { watch } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Home } from "../../test/support/home.js";
import { makeAuthJson, makeTokens } from "../../test/support/login.js";
import { NODE_PATH, waitUntil } from "../../test/support/program.js";
import { median, quantile, say, table } from "../figures.js";
import { Stage, type Wrapping } from "./stage.js";

/** How Codex saves a login: up to 0.166 in place, from 0.169 on beside it and renamed. */
type Way = "in place" | "renamed";

/** A program of its own that saves a login; it tells when it began. */
const WRITER = `
const fs = require("node:fs");
const [way, path] = process.argv.slice(1);
const text = fs.readFileSync(0);
const startedMs = performance.timeOrigin + performance.now();
if (way === "in place") fs.writeFileSync(path, text, { mode: 0o600 });
else {
  const staged = path.replace("auth.json", ".auth-bench");
  fs.writeFileSync(staged, text, { mode: 0o600 });
  fs.renameSync(staged, path);
}
fs.writeSync(1, String(startedMs));
`;

/** The loop looks this often where nothing tells it of a change, milliseconds. */
const TICK_MS = 30_000;

/** Longer than a broken loop needs to be told from a slow one, milliseconds. */
const PATIENCE_MS = 120_000;

/** From a new login that another program writes, in the place of a dead one, to a status that says `ok` for it. */
export async function benchLatency(trialCount: number): Promise<void> {
  const stage = await Stage.open();
  try {
    // Nobody admits the dead logins: the server refuses them.
    const rows = await trialsInTurn(stage, trialCount);
    for (const { name, wrapping, homesAt, way } of placesWithoutEvents(stage)) {
      const homes = stage.makeHomes(trialCount, homesAt.writer);
      rows.push({ name, way, latenciesMs: trialsAtOnce(stage, homes, wrapping, homesAt, way) });
    }
    const measured = await Promise.all(
      rows.map(async ({ name, way, latenciesMs }) => ({ name, way, list: await latenciesMs })),
    );
    say(`\nFrom a new login, written by another program over a dead one, to a status that says ok for it, seconds:\n`);
    const cell = (ms: number): string => (ms / 1000).toFixed(3);
    say(
      table(
        ["", "written", "trials", "median", "p99", "max"],
        measured.map(({ name, way, list }) => [
          name,
          way,
          String(list.length),
          ...[median(list), quantile(list, 0.99), quantile(list, 1)].map(cell),
        ]),
      ),
    );
  } finally {
    await stage.close();
  }
}

interface Row {
  readonly name: string;
  readonly way: Way;
  readonly latenciesMs: Promise<readonly number[]> | readonly number[];
}

/** One home, one login after another, both ways in turn. */
async function trialsInTurn(stage: Stage, trialCount: number): Promise<Row[]> {
  const [home] = stage.makeHomes(1);
  if (home === undefined) throw new Error("no home");
  writeDead(home);
  const loop = stage.startLoop([home.path]);
  const byWay = new Map<Way, number[]>([
    ["in place", []],
    ["renamed", []],
  ]);
  for (let trial = 0; trial < trialCount; trial += 1) {
    for (const [way, latenciesMs] of byWay) {
      await waitUntil("the dead login is told", () => stateOf(home) === "login_required");
      latenciesMs.push(await timeNewLogin(home, way));
      writeDead(home);
    }
  }
  await stage.end(loop);
  return [...byWay].map(([way, latenciesMs]) => ({ name: "with watch events", way, latenciesMs }));
}

/** Many homes of one process, each with a login at a moment of its own: without events a trial takes half a minute. */
async function trialsAtOnce(
  stage: Stage,
  homes: readonly Home[],
  wrapping: Wrapping,
  homesAt: Place["homesAt"],
  way: Way,
): Promise<number[]> {
  for (const home of homes) writeDead(home);
  const loop = stage.startLoop(
    homes.map(({ path }) => path.replace(homesAt.writer, homesAt.program)),
    wrapping,
  );
  const allTold = (): boolean => {
    if (loop.child.exitCode !== null) throw new Error(`the loop has ended: ${loop.stderr()}`);
    return homes.every((home) => stateOf(home) === "login_required");
  };
  await waitUntil("the dead logins are told", allTold, PATIENCE_MS);
  const latenciesMs = await Promise.all(
    homes.map(async (home) => {
      await sleep(Math.random() * TICK_MS);
      return await timeNewLogin(home, way);
    }),
  );
  await stage.end(loop);
  return latenciesMs;
}

interface Place {
  readonly name: string;
  readonly way: Way;
  readonly wrapping: Wrapping;
  /** The folder of the homes, as the writer and as the program see it. */
  readonly homesAt: { readonly writer: string; readonly program: string };
}

/** Where the program hears nothing of a change. */
function placesWithoutEvents(stage: Stage): Place[] {
  const inShell = (options: readonly string[], script: string, ...args: string[]): Wrapping => ({
    command: "unshare",
    before: [...options, "sh", "-euc", `${script}; shift ${args.length}; exec "$@"`, "sh", ...args, NODE_PATH],
  });
  // A user namespace has its own limit: there, every try to watch ends with EMFILE.
  const unwatched = inShell(["--user", "--map-root-user"], "echo 0 >/proc/sys/user/max_inotify_instances");
  const places = (["in place", "renamed"] as const).map((way): Place => {
    const folder = stage.makeFolder(`no-inotify-${way === "renamed" ? "renamed" : "in-place"}`);
    return { name: "no inotify left", way, wrapping: unwatched, homesAt: { writer: folder, program: folder } };
  });
  if (process.geteuid?.() !== 0) {
    say("overlayfs is left out: to mount it needs root");
    return places;
  }
  // What is written into the upper layer is seen through the mount, and no event tells of it. A file that is renamed
  // there stays hidden behind the mount's own cache, so only the one way can be shown.
  const [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map((name) => stage.makeFolder(name));
  if (lower === undefined || upper === undefined || work === undefined || merged === undefined) return places;
  const mount = 'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"';
  return [
    ...places,
    {
      name: "overlayfs, from below",
      way: "in place",
      wrapping: inShell(["--mount"], mount, lower, upper, work, merged),
      homesAt: { writer: upper, program: merged },
    },
  ];
}

/** A login that is due, and that the server refuses. */
function writeDead(home: Home): void {
  home.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 600 })));
}

function stateOf(home: Home): unknown {
  return home.readStatusOrNull()?.["state"];
}

/** @returns milliseconds from just before the write to the status, as a third program sees it */
async function timeNewLogin(home: Home, way: Way): Promise<number> {
  const tokens = makeTokens({ expiresInSec: 864_000 });
  const claims = JSON.parse(atob(tokens.access_token.split(".")[1] ?? "")) as { exp: number };
  const isHealthy = (): boolean => {
    const status = home.readStatusOrNull();
    const expiresAtMs = Date.parse(String(status?.["access_token_expires_at"]));
    return status?.["state"] === "ok" && expiresAtMs === claims.exp * 1000;
  };
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const endedMs = new Promise<number>((resolve, reject) => {
    const watcher = watch(home.path, () => {
      if (!isHealthy()) return;
      watcher.close();
      resolve(performance.timeOrigin + performance.now());
    });
    patience.addEventListener("abort", () => {
      watcher.close();
      reject(new Error(`the new login was not seen: ${JSON.stringify(home.readStatusOrNull())}`));
    });
  });
  const [startedMs, ended] = await Promise.all([writeLogin(home, way, makeAuthJson(tokens)), endedMs]);
  return ended - startedMs;
}

/** @returns when the writer began, milliseconds since 1970 */
async function writeLogin(home: Home, way: Way, text: string): Promise<number> {
  const child = spawn(NODE_PATH, ["-e", WRITER, way, home.authJsonPath], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(text);
  let stdout = "";
  for await (const chunk of child.stdout) stdout += String(chunk);
  return Number(stdout);
}
