import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Running, RunResult } from "../support/program.js";
import type { Depth, Row, Trial } from "./row.js";
import {
  inTurn,
  LOCK_NAME,
  LOCK_STALE_SEC,
  misbehaviour,
  moments,
  onScene,
  runLengthMs,
  type Scene,
  sleep,
} from "./scene.js";

/** How long the endpoint thinks where something is to happen meanwhile, milliseconds. */
const ANSWER_MS = 200;

function lockPath({ home }: Scene): string {
  return join(home.path, LOCK_NAME);
}

/** One of them refreshes, all the others find it done. */
function judgeCrowd(results: readonly RunResult[]): string | null {
  const codes = results.map(({ code }) => code).sort();
  const isAsMeant = codes[0] === 0 && codes.slice(1).every((code) => code === 1);
  return findMisbehaviour(results) ?? (isAsMeant ? null : `exit codes ${codes.join(",")}`);
}

function findMisbehaviour(results: readonly RunResult[]): string | null {
  return results.map(misbehaviour).find((found) => found !== null) ?? null;
}

/** How many processes, and how often. */
const CROWDS: Readonly<Record<Depth, Readonly<Record<number, number>>>> = {
  short: { 2: 2, 10: 1 },
  full: { 2: 20, 10: 10, 50: 3, 100: 2 },
};

async function crowd(scene: Scene, size: number): Promise<Trial> {
  const results = await Promise.all(Array.from({ length: size }, () => scene.run()));
  return await scene.judge(`${size} at once`, scene.subject === "script" ? null : judgeCrowd(results));
}

/** While the first waits for its answer its lock goes away, and a second comes. */
async function deleteLock(scene: Scene): Promise<Trial> {
  const others: Running[] = [];
  const beforeAnswer = (): void => {
    rmSync(lockPath(scene), { recursive: true });
    others.push(scene.start());
  };
  scene.server.script({ delayMs: 5 * ANSWER_MS, beforeAnswer });
  const first = await scene.run();
  const results = [first, ...(await Promise.all(others.map(({ ended }) => ended)))];
  // Both may say "refreshed": the second saves an answer that it finds in the ticket of the first.
  const defect = results.length === 2 ? findMisbehaviour(results) : "no request was sent";
  return await scene.judge("lock deleted", defect);
}

/** Stopped for longer than a lock lives; then continued while a competitor waits for it, or when that has ended. */
async function stopHolder(scene: Scene, afterMs: number, patienceMs: number): Promise<Trial> {
  scene.server.always({ delayMs: ANSWER_MS });
  const first = scene.start();
  await sleep(afterMs);
  first.child.kill("SIGSTOP");
  await sleep((LOCK_STALE_SEC + 1) * 1000);
  const second = scene.start();
  await Promise.race([second.ended, sleep(patienceMs)]);
  first.child.kill("SIGCONT");
  const results = await Promise.all([first.ended, second.ended]);
  const codes = results.map(({ code }) => code).join(" and ");
  return await scene.judge(`stopped after ${afterMs} ms: exit ${codes}`, findMisbehaviour(results));
}

/** A lock that nobody holds, and eight processes that all see that it is stale. */
async function takeOver(scene: Scene): Promise<Trial> {
  mkdirSync(lockPath(scene));
  scene.ageLock();
  const results = await Promise.all(Array.from({ length: 8 }, () => scene.run()));
  const codes = results.map(({ code }) => code).join(",");
  // Two may get in, and the second save the answer of the first.
  const defect = findMisbehaviour(results) ?? (/^[01](,[01])*$/.test(codes) ? null : `exit codes ${codes}`);
  return await scene.judge("stale lock", defect);
}

export const RACE_ROWS: readonly Row[] = [
  {
    name: "2, 10, 50 or 100 processes at once",
    needs: [],
    isComparable: true,
    run: async (subject, depth) => {
      const sizes = Object.entries(CROWDS[depth]).flatMap(([size, count]) => Array<number>(count).fill(Number(size)));
      return await inTurn(
        sizes.map((size) => () => onScene(subject, (scene) => crowd(scene, size))),
        1,
      );
    },
  },
  {
    name: "the lock deleted under its holder, and a competitor",
    needs: [],
    isComparable: false,
    run: async (subject, depth) =>
      await inTurn(Array.from({ length: depth === "full" ? 20 : 2 }, () => () => onScene(subject, deleteLock))),
  },
  {
    name: "the holder stopped until its lock is stale, a competitor, then continued",
    needs: [],
    isComparable: false,
    run: async (subject, depth) => {
      const all = moments(20, await runLengthMs(subject, ANSWER_MS));
      const trials = (depth === "full" ? all : all.slice(9, 10)).map((atMs, index) => () => {
        const patienceMs = index % 2 === 0 ? 3_000 : 100_000;
        return onScene(subject, (scene) => stopHolder(scene, atMs, patienceMs));
      });
      // Nearly all of the time they sleep.
      return await inTurn(trials, 5);
    },
  },
  {
    name: "8 processes that take over one stale lock",
    needs: [],
    isComparable: false,
    run: async (subject, depth) =>
      await inTurn(
        Array.from({ length: depth === "full" ? 200 : 2 }, () => () => onScene(subject, takeOver)),
        1,
      ),
  },
];
