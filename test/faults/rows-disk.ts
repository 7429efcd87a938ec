import { execFileSync } from "node:child_process";
import {
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { fillDisk, onBindMount, onTmpfs } from "../support/mounts.js";
import type { Row, Subject, Trial } from "./row.js";
import { inTurn, misbehaviour, onScene, type Scene, sleep, spread } from "./scene.js";

const PAGE_BYTES = 4096;

/** Enough for the ticket's reserve, and full at once. */
const TMPFS = "size=512k";

async function onSmallDisk(subject: Subject, body: (scene: Scene) => Promise<Trial>): Promise<Trial> {
  const parent = mkdtempSync(join(tmpdir(), "watchdog-small-"));
  try {
    return await onTmpfs(parent, TMPFS, () => onScene(subject, body, parent));
  } finally {
    rmSync(parent, { recursive: true });
  }
}

/** Fills the disk but for some pages, which take a part of a write and not all of it. */
function fill({ home }: Scene, freePages: number): void {
  fillDisk(home.path);
  const filler = join(home.path, "filler");
  truncateSync(filler, statSync(filler).size - freePages * PAGE_BYTES);
}

/** One run on a full disk, and then somebody frees space. */
async function runOnFullDisk(scene: Scene, what: string, mayPost: boolean): Promise<Trial> {
  const result = await scene.run();
  const isSpent = !mayPost && result.code === 2 && scene.server.posts.length > 0;
  const filler = join(scene.home.path, "filler");
  const isSaved = scene.isGood();
  rmSync(filler, { force: true });
  const defect = isSpent ? "a token was presented that could not be saved" : misbehaviour(result);
  return await scene.judge(
    `${what}: exit ${result.code}, ${isSaved ? "good" : "not good"} before space was free`,
    defect,
  );
}

function diskRow(name: string, counts: readonly number[], disturb: (scene: Scene, count: number) => boolean): Row {
  return {
    name,
    needs: ["root"],
    isComparable: true,
    run: async (subject, depth) => {
      const chosen = depth === "full" ? counts : spread(counts, 3);
      const trial = async (scene: Scene, count: number): Promise<Trial> => {
        const mayPost = disturb(scene, count);
        return await runOnFullDisk(scene, `${name}, ${count}`, mayPost);
      };
      return await inTurn(chosen.map((count) => () => onSmallDisk(subject, (scene) => trial(scene, count))));
    },
  };
}

/** A write that reaches the (soft) limit is short, and the next one is refused (EFBIG). */
function limitFileSize(pid: number | undefined, limit: number | "unlimited"): void {
  execFileSync("prlimit", ["--pid", String(pid), `--fsize=${limit}:`]);
}

/** The program may keep the answer in memory alone, and then waits for somebody to raise the limit. */
async function writeShort(scene: Scene, limitBytes: number): Promise<Trial> {
  scene.server.script({ beforeAnswer: () => limitFileSize(running.child.pid, limitBytes) });
  const running = scene.start();
  let isOver = false;
  const ended = running.ended.finally(() => {
    isOver = true;
  });
  while (!isOver && !running.stderr().includes("in memory only")) await sleep(20);
  const isHeld = !isOver;
  if (isHeld) limitFileSize(running.child.pid, "unlimited");
  const result = await ended;
  return await scene.judge(`${limitBytes} bytes: exit ${result.code}${isHeld ? ", held" : ""}`, misbehaviour(result));
}

async function runWithSmallFiles(scene: Scene, limitKib: number): Promise<Trial> {
  const result = await scene.run({ prelude: `ulimit -f ${limitKib}` });
  const isSpent = result.code === 2 && scene.server.posts.length > 0;
  const defect = isSpent ? "a token was presented that could not be saved" : misbehaviour(result);
  return await scene.judge(`ulimit -f ${limitKib}: exit ${result.code}`, defect);
}

function limitRow(
  name: string,
  limits: readonly number[],
  trial: (scene: Scene, limit: number) => Promise<Trial>,
): Row {
  return {
    name,
    needs: [],
    isComparable: true,
    run: async (subject, depth) => {
      const chosen = depth === "full" ? limits : spread(limits, 4);
      return await inTurn(chosen.map((limit) => () => onScene(subject, (scene) => trial(scene, limit))));
    },
  };
}

function multiples(count: number, step: number): number[] {
  return upTo(count - 1).map((index) => index * step);
}

function upTo(last: number): number[] {
  return Array.from({ length: last + 1 }, (_none, index) => index);
}

/** Where auth.json may lie. The check says what has become of the arrangement, null when it is as it was. */
interface Ground {
  readonly name: string;
  lay(scene: Scene): () => string | null;
}

function linked(name: string, target: (scene: Scene) => string): Ground {
  return {
    name,
    lay: (scene) => {
      const { authJsonPath, path } = scene.home;
      mkdirSync(join(path, "elsewhere"));
      renameSync(authJsonPath, join(path, "elsewhere", "real.json"));
      symlinkSync("elsewhere/real.json", join(path, "step.json"));
      symlinkSync(target(scene), authJsonPath);
      return () => (lstatSync(authJsonPath).isSymbolicLink() ? null : "the symbolic link is gone");
    },
  };
}

const GROUNDS: readonly Ground[] = [
  linked("a relative symbolic link", () => "elsewhere/real.json"),
  linked("an absolute symbolic link", ({ home }) => join(home.path, "elsewhere", "real.json")),
  linked("a chain of symbolic links", () => "step.json"),
  {
    name: "a dangling symbolic link",
    lay: (scene) => {
      const { authJsonPath } = scene.home;
      rmSync(authJsonPath);
      symlinkSync("nowhere.json", authJsonPath);
      scene.goodEnd = () => linkTarget(authJsonPath) === "nowhere.json";
      return () => null;
    },
  },
  {
    name: "a symbolic link that is swapped during the request",
    lay: (scene) => {
      const { home, server } = scene;
      const others = server.admit(makeTokens({ expiresInSec: 864_000 }));
      const paths = ["first.json", "second.json"].map((name) => join(home.path, name));
      const [first = "", second = ""] = paths;
      renameSync(home.authJsonPath, first);
      writeFileSync(second, makeAuthJson(others, { lastRefreshAgoSec: 0 }), { mode: 0o600 });
      symlinkSync("first.json", home.authJsonPath);
      const beforeAnswer = (): void => {
        symlinkSync("second.json", join(home.path, "swapped"));
        renameSync(join(home.path, "swapped"), home.authJsonPath);
      };
      server.script({ beforeAnswer });
      scene.goodEnd = () => paths.every((path) => server.isActive(refreshTokenIn(path)));
      return () => (linkTarget(home.authJsonPath) === "second.json" ? null : "the link was swapped back");
    },
  },
  {
    name: "a file with two hard links",
    lay: ({ home }) => {
      const other = join(home.path, "other-name.json");
      linkSync(home.authJsonPath, other);
      return () => (statSync(other).ino === statSync(home.authJsonPath).ino ? null : "the hard link is cut");
    },
  },
];

function linkTarget(path: string): string | null {
  return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : null;
}

function refreshTokenIn(path: string): string {
  return String((JSON.parse(readFileSync(path, "utf8")) as { tokens: { refresh_token: string } }).tokens.refresh_token);
}

function groundRow({ name, lay }: Ground): Row {
  const trial = async (scene: Scene): Promise<Trial> => {
    const check = lay(scene);
    const result = await scene.run();
    const changed = check();
    const judged = await scene.judge(name, misbehaviour(result));
    return { ...judged, defect: judged.defect ?? changed };
  };
  return {
    name: `auth.json is ${name}`,
    needs: [],
    isComparable: true,
    run: async (subject) => [await onScene(subject, trial)],
  };
}

async function onFileMount(scene: Scene): Promise<Trial> {
  const source = join(scene.home.path, "mounted.json");
  writeFileSync(source, scene.home.readAuth(), { mode: 0o600 });
  return await onBindMount(source, scene.home.authJsonPath, "writable", async () => {
    const result = await scene.run();
    return await scene.judge("bind mount", misbehaviour(result));
  });
}

async function onReadOnlyMount(scene: Scene): Promise<Trial> {
  const { path } = scene.home;
  const result = await onBindMount(path, path, "read-only", () => scene.run());
  const isSpent = scene.server.posts.length > 0;
  return await scene.judge("read-only", isSpent ? "a token was presented on a read-only disk" : misbehaviour(result));
}

/** Node needs about twenty descriptors before our first line runs: with fewer it ends by itself. */
async function withFewFiles(scene: Scene, limit: number): Promise<Trial> {
  const result = await scene.run({ prelude: `ulimit -n ${limit}` });
  const isNodeItself = scene.server.posts.length === 0 && !result.stderr.includes("codex_auth_refresh");
  return await scene.judge(`ulimit -n ${limit}: exit ${result.code}`, isNodeItself ? null : misbehaviour(result));
}

function mountRow(name: string, trial: (scene: Scene) => Promise<Trial>): Row {
  return { name, needs: ["root"], isComparable: true, run: async (subject) => [await onScene(subject, trial)] };
}

export const DISK_ROWS: readonly Row[] = [
  diskRow("a disk with 0 to 30 free pages before the run", upTo(30), (scene, pages) => {
    fill(scene, pages);
    return false;
  }),
  diskRow("the disk full but for 0 to 19 pages during the request", upTo(19), (scene, pages) => {
    scene.server.script({ delayMs: 20, beforeAnswer: () => fill(scene, pages) });
    return true;
  }),
  diskRow("the disk full 0 to 19 ms after the answer", upTo(19), (scene, afterMs) => {
    scene.server.script({ beforeAnswer: () => void setTimeout(() => fill(scene, 0), afterMs) });
    return true;
  }),
  mountRow("a read-only mount", onReadOnlyMount),
  limitRow("short writes: files of at most 0 to 76 KiB before the run", multiples(20, 4), runWithSmallFiles),
  limitRow("short writes: files of at most 0 to 5,900 bytes during the request", multiples(60, 100), writeShort),
  limitRow(
    "18 to 28 open files allowed",
    upTo(10).map((count) => 18 + count),
    withFewFiles,
  ),
  ...GROUNDS.map(groundRow),
  mountRow("auth.json is a bind mount of the single file", onFileMount),
];
