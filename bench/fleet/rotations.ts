import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readTicketText } from "../../src/core/ticket.js";
import { FleetScene } from "../../test/support/fleet.js";
import type { PostgresServer } from "../../test/support/postgres.js";
import type { Running, RunResult } from "../../test/support/program.js";
import { startTcpProxy, type TcpProxy } from "../../test/support/tcp-proxy.js";
import { TokenServer } from "../../test/support/token-server.js";
import { say, table } from "../figures.js";
import { startFollowers, stopAll, untilAllHold } from "./followers.js";

const SHORT_LIVED = { expiresInSec: 600, livesForSec: 600 };

const OWNER_COUNTS = [2, 5, 10, 20];

/** How often a run is killed, and how often its network breaks, as shares of all runs. */
const KILL_SHARE = 0.12;
const BREAK_SHARE = 0.25;

interface Tally {
  runs: number;
  kills: number;
  breaks: number;
  /** Killed between the request and the first synced byte of its answer: nobody can save that. */
  inWindow: number;
  lost: number;
}

/** Owners that all want to refresh at once and over again, on hosts that die and in a network that breaks. */
export async function benchRotations(server: PostgresServer, rotations: number, followerCount: number): Promise<void> {
  const tokenServer = await TokenServer.start(SHORT_LIVED);
  tokenServer.always({ delayMs: 20 });
  const scene = await FleetScene.open(server, tokenServer);
  const followers = await startFollowers(scene, followerCount, "30s");
  const rows: string[][] = [];
  let granted = 0;
  tokenServer.onPost = ({ refreshToken }) => {
    if (tokenServer.isActive(refreshToken)) granted += 1;
  };
  for (const ownerCount of OWNER_COUNTS) {
    await scene.logIn(SHORT_LIVED);
    const tally: Tally = { runs: 0, kills: 0, breaks: 0, inWindow: 0, lost: 0 };
    const before = { granted, posts: tokenServer.posts.length, reuse: tokenServer.reuseCount };
    const untilGranted = granted + rotations / OWNER_COUNTS.length;
    const sinceMs = Date.now();
    const isOver = (): boolean => granted >= untilGranted;
    await Promise.all(
      Array.from({ length: ownerCount }, (_none, index) => keepRefreshing(scene, `owner-${index}`, tally, isOver)),
    );
    // Whatever waits on a host that was killed last is brought home.
    for (let index = 0; index < ownerCount; index += 1) await scene.run(`owner-${index}`, ["--once"]);
    const isAlive = tokenServer.isActive(await scene.storedRefreshToken());
    rows.push([
      `${ownerCount}`,
      `${tally.runs}`,
      `${tally.kills}`,
      `${tally.breaks}`,
      `${granted - before.granted}`,
      `${tokenServer.posts.length - before.posts}`,
      `${tokenServer.reuseCount - before.reuse}`,
      `${tally.lost + (isAlive ? 0 : 1)}`,
      `${tally.inWindow}`,
      `${Math.round((Date.now() - sinceMs) / 1000)} s`,
    ]);
  }
  const heads = ["owners", "runs", "killed", "network breaks", "rotations", "POSTs", "reuse", "lost", "in the window"];
  say(`\n${table([...heads, "time"], rows)}`);
  const late = await untilAllHold(scene, followers);
  say(`${followerCount} followers: all hold the newest tokens ${(late / 1000).toFixed(1)} s after the last rotation`);
  await stopAll(followers);
  await tokenServer.stop();
  scene.remove();
}

/** One host: runs a forced refresh again and again, each one disturbed or not. */
async function keepRefreshing(scene: FleetScene, host: string, tally: Tally, isOver: () => boolean): Promise<void> {
  const proxy = await startTcpProxy(scene.server.port);
  // How long a run takes on this machine with this many others: a blow may fall at any moment of it.
  let paceMs = 1_000;
  while (!isOver()) {
    tally.runs += 1;
    const url = scene.url("codex_owner").replace(`:${scene.port}/`, `:${proxy.port}/`);
    const running = scene.start(host, ["--once", "--force"], "codex_owner", { CODEX_AUTH_STORE: url });
    const isKilled = Math.random() < KILL_SHARE;
    const sinceMs = Date.now();
    const atMs = Math.random() * paceMs;
    const [result] = await Promise.all([
      running.ended,
      isKilled ? killAt(running, atMs, tally) : disturb(proxy, atMs, tally),
    ]);
    if (!isKilled && result.code === 0) paceMs = Date.now() - sinceMs;
    await proxy.set("pass");
    proxy.cut();
    await judge(scene, host, result, tally);
  }
  await proxy.stop();
}

async function killAt(running: Running, afterMs: number, tally: Tally): Promise<void> {
  await sleep(afterMs);
  if (running.child.exitCode === null && running.child.kill("SIGKILL")) tally.kills += 1;
}

async function disturb(proxy: TcpProxy, afterMs: number, tally: Tally): Promise<void> {
  if (Math.random() >= BREAK_SHARE) return;
  tally.breaks += 1;
  const modes = ["reset", "stall", "drop"] as const;
  await sleep(afterMs);
  await proxy.set(modes[Math.floor(Math.random() * modes.length)] ?? "reset");
  await sleep(Math.random() * 1_000);
  await proxy.set("pass");
  // What was dropped makes the client wait for its time to be up: that is tried elsewhere.
  proxy.cut();
}

/** A login that a kill in the named window has taken is replaced before anybody asks for it in vain. */
async function judge(scene: FleetScene, host: string, { code, signal }: RunResult, tally: Tally): Promise<void> {
  if (code === 3) tally.lost += 1;
  if (signal !== "SIGKILL" || !hasUnansweredTicket(scene.home(host))) return;
  tally.inWindow += 1;
  await scene.logIn(SHORT_LIVED);
}

/** Whether a ticket says that its token has left, and nothing of an answer. */
function hasUnansweredTicket(home: string): boolean {
  const names = readdirSync(home).filter((name) => name.endsWith(".ticket"));
  return names.some((name) => readTicketText(readFileSync(join(home, name), "utf8")).state.kind === "dispatched");
}

async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
