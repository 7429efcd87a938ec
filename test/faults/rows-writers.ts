import { execFileSync } from "node:child_process";
import { closeSync, existsSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type LoginOptions, makeAuthJson, makeTokens } from "../support/login.js";
import type { Row, Trial } from "./row.js";
import { inTurn, misbehaviour, moments, onScene, runLengthMs, type Scene, sleep, spread } from "./scene.js";

/** How long the endpoint thinks, milliseconds: the request is the longest part of a cycle in life too. */
const ANSWER_MS = 100;

const OFFSETS = 20;

/** Between the halves of a torn write, milliseconds. */
const TEAR_MS = 5;

/** Writes into auth.json as somebody else does, and says what the good end is. */
type Writer = (scene: Scene) => Promise<void>;

/** A login that somebody has just made. */
function newLogin(scene: Scene, options: LoginOptions = {}): string {
  const tokens = scene.server.admit(makeTokens({ expiresInSec: 864_000, ...options }));
  scene.goodEnd = () => scene.home.readRefreshToken() === tokens.refresh_token;
  return makeAuthJson(tokens, { lastRefreshAgoSec: 0, ...options });
}

/** Codex up to 0.166: the file is cut to nothing and then written. */
async function truncateAndWrite({ home }: Scene, text: string): Promise<void> {
  const descriptor = openSync(home.authJsonPath, "w", 0o600);
  try {
    const half = Math.floor(text.length / 2);
    await sleep(TEAR_MS);
    writeSync(descriptor, text.slice(0, half));
    await sleep(TEAR_MS);
    writeSync(descriptor, text.slice(half));
  } finally {
    closeSync(descriptor);
  }
}

/** Codex from 0.169: a temporary file, renamed under a lock on `auth.json.lock`. */
function renameUnderLock({ home }: Scene, text: string): void {
  const temporary = join(home.path, "auth.json.of-codex");
  writeFileSync(temporary, text, { mode: 0o600 });
  execFileSync("flock", [join(home.path, "auth.json.lock"), "mv", temporary, home.authJsonPath]);
}

const WRITERS: Readonly<Record<string, Writer>> = {
  "a new login by a Codex that truncates and writes": (scene) => truncateAndWrite(scene, newLogin(scene)),
  "a new login by a Codex that locks and renames": async (scene) => renameUnderLock(scene, newLogin(scene)),
  "a login as somebody else": (scene) => truncateAndWrite(scene, newLogin(scene, { accountId: "acct-other" })),
  "a logout": async (scene) => {
    scene.goodEnd = () => !existsSync(scene.home.authJsonPath);
    rmSync(scene.home.authJsonPath, { force: true });
  },
  "a switch to an API key": async (scene) => {
    const text = JSON.stringify({ auth_mode: "apikey", OPENAI_API_KEY: "sk-test", tokens: null }, null, 2);
    scene.goodEnd = () => scene.home.readAuth() === text;
    await truncateAndWrite(scene, text);
  },
};

function writerRow(name: string, write: Writer): Row {
  const trial = async (scene: Scene, atMs: number): Promise<Trial> => {
    scene.server.always({ delayMs: ANSWER_MS });
    const running = scene.start();
    await sleep(atMs);
    await write(scene);
    const result = await running.ended;
    return await scene.judge(`${name} after ${atMs} ms: exit ${result.code}`, misbehaviour(result));
  };
  return {
    name: `${name}, at ${OFFSETS} moments`,
    needs: [],
    isComparable: true,
    run: async (subject, depth) => {
      const all = moments(OFFSETS, await runLengthMs(subject, ANSWER_MS));
      const chosen = depth === "full" ? all : spread(all, 4);
      return await inTurn(chosen.map((atMs) => () => onScene(subject, (scene) => trial(scene, atMs))));
    },
  };
}

/**
 * A backup of the same login, older than what was presented, put back during the request. Before it the backup
 * would be presented itself, and after the end nobody can know better.
 */
async function restoreBackup(scene: Scene, atMs: number): Promise<Trial> {
  const old = makeTokens({ expiresInSec: -600 });
  const backup = makeAuthJson(old, { lastRefreshAgoSec: 864_000 });
  const writes: Promise<void>[] = [];
  const beforeAnswer = (): void => void writes.push(sleep(atMs).then(() => truncateAndWrite(scene, backup)));
  scene.server.script({ delayMs: ANSWER_MS, beforeAnswer });
  const result = await scene.run();
  await Promise.all(writes);
  return await scene.judge(`backup ${atMs} ms into the request: exit ${result.code}`, misbehaviour(result));
}

export const WRITER_ROWS: readonly Row[] = [
  ...Object.entries(WRITERS).map(([name, writer]) => writerRow(name, writer)),
  {
    name: `an old backup restored, at ${OFFSETS} moments of the request`,
    needs: [],
    isComparable: true,
    run: async (subject, depth) => {
      // It must be there when the answer comes.
      const all = moments(OFFSETS, ANSWER_MS - 4 * TEAR_MS);
      const chosen = depth === "full" ? all : spread(all, 4);
      return await inTurn(chosen.map((atMs) => () => onScene(subject, (scene) => restoreBackup(scene, atMs))));
    },
  },
];
