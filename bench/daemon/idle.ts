import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Home } from "../../test/support/home.js";
import { type LoginOptions, makeAuthJson, makeTokens } from "../../test/support/login.js";
import { NODE_PATH, PROGRAM_PATH, waitUntil } from "../../test/support/program.js";
import { say, table } from "../figures.js";
import { asMib, readUsage, usagePerMinute } from "./process-figures.js";
import { pidOf, Stage } from "./stage.js";

const DAY_MS = 86_400_000;
const MINUTES_PER_DAY = 1_440;

/** For the start to be over, and the collection of what it leaves, which comes with the first tick, milliseconds. */
const SETTLING_MS = 40_000;

/** What the loop costs while nothing is to be done: for some real minutes, and for a week that passes in a jump. */
export async function benchIdle(minutes: number, days: number): Promise<void> {
  // Only its age makes this login due, once in a week: the server's own clock does not jump.
  const lastsSec = (days + 10) * (DAY_MS / 1000);
  const life: LoginOptions = { expiresInSec: lastsSec, livesForSec: lastsSec };
  const stage = await Stage.open(life);
  try {
    await realMinutes(stage, minutes, life);
    await jumpedDays(stage, days, life);
  } finally {
    await stage.close();
  }
}

/** Beside a Node that does nothing, twice a minute as well. */
async function realMinutes(stage: Stage, minutes: number, life: LoginOptions): Promise<void> {
  const home = freshHome(stage, life);
  const loop = stage.startLoop([home.path]);
  const bare = stage.start(NODE_PATH, ["-e", "setInterval(() => {}, 3e4)"]);
  await waitUntil("the status says ok", () => home.readStatusOrNull()?.["state"] === "ok");
  await sleep(SETTLING_MS);
  const pids = [pidOf(loop), pidOf(bare)];
  const from = pids.map(readUsage);
  await sleep(minutes * 60_000);
  const to = pids.map(readUsage);
  await Promise.all([stage.end(loop), stage.end(bare)]);

  say(`\nIdle for ${minutes} real minutes, one fresh login; a week is what these minutes make of it:\n`);
  const rows = ["the watchdog", "node -e 'setInterval(() => {}, 3e4)'"].map((name, index) => {
    const [before, after] = [from[index], to[index]];
    if (before === undefined || after === undefined) throw new Error("no figures");
    const { wakeUps, cpuMs } = usagePerMinute(before, after);
    return [
      name,
      wakeUps.toFixed(1),
      cpuMs.toFixed(2),
      ((cpuMs * MINUTES_PER_DAY * 7) / 1000).toFixed(1),
      ...[before.rssKib, after.rssKib, before.pssKib, after.pssKib].map(asMib),
    ];
  });
  const memory = ["RSS MiB, start", "end", "PSS MiB, start", "end"];
  say(table(["", "wake-ups/min", "CPU ms/min", "CPU s/week", ...memory], rows));
}

/** What bench/daemon/time-jump.cjs tells. */
interface Told {
  readonly jumpedMs: number;
  readonly sleepCount: number;
  readonly cycleCount: number;
  readonly cpuMs: number;
  readonly rssKib: number;
  readonly pssKib: number;
  readonly heapKib: number;
}

async function jumpedDays(stage: Stage, days: number, life: LoginOptions): Promise<void> {
  const home = freshHome(stage, life);
  const preload = join(dirname(PROGRAM_PATH), "..", "bench", "daemon", "time-jump.cjs");
  const running = stage.start(NODE_PATH, ["--require", preload, PROGRAM_PATH], {
    env: {
      CODEX_HOME: home.path,
      CODEX_REFRESH_TOKEN_URL_OVERRIDE: stage.server.url,
      TIME_JUMP_MS: String(days * DAY_MS),
    },
  });
  const { code, stdout, stderr } = await running.ended;
  const [start, end] = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Told);
  if (code !== 0 || start === undefined || end === undefined) throw new Error(`exit ${code}: ${stderr}`);

  say(`\nIdle for ${days} simulated days: the built program, its sleeps ended at once and its clocks set ahead:\n`);
  const jumpedDayCount = end.jumpedMs / DAY_MS;
  say(
    table(
      ["", "start", "end"],
      [
        ["days", (start.jumpedMs / DAY_MS).toFixed(1), jumpedDayCount.toFixed(1)],
        ["wake-ups of the loop", String(start.sleepCount), String(end.sleepCount)],
        ["cycles", String(start.cycleCount), String(end.cycleCount)],
        ["POSTs", "0", String(stage.server.posts.length)],
        ["CPU seconds", ...[start, end].map(({ cpuMs }) => (cpuMs / 1000).toFixed(2))],
        ["RSS MiB", ...[start, end].map(({ rssKib }) => asMib(rssKib))],
        ["PSS MiB", ...[start, end].map(({ pssKib }) => asMib(pssKib))],
        ["heap after a collection, MiB", ...[start, end].map(({ heapKib }) => (heapKib / 1024).toFixed(2))],
      ],
    ),
  );
}

function freshHome(stage: Stage, life: LoginOptions): Home {
  const [home] = stage.makeHomes(1);
  if (home === undefined) throw new Error("no home");
  home.writeAuth(makeAuthJson(stage.server.admit(makeTokens(life))));
  return home;
}
