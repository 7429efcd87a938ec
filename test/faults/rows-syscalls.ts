import { linkSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileTicketBook } from "../../src/adapters/file-ticket-book.js";
import { systemClock } from "../../src/adapters/system-clock.js";
import { readCredential } from "../../src/core/credential.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { onTmpfs } from "../support/mounts.js";
import type { Depth, Row, Trial } from "./row.js";
import { inTurn, misbehaviour, onScene, Scene, spread } from "./scene.js";
import { listPoints, type Point, runInjected } from "./syscalls.js";

/**
 * Calls that an injected error would change and a real one could not: `close` gives its descriptor back whatever it
 * returns, but the injected one does not happen at all.
 */
const NEVER_REFUSED = ["close"];

const ERRORS = ["ENOSPC", "EIO", "EROFS", "EACCES", "EBUSY", "EDQUOT", "EMFILE"];

/** A home in which an earlier run has received an answer, and was killed before it could save it. */
async function leaveAnswer(scene: Scene): Promise<void> {
  const { home, server, tokens } = scene;
  const reading = readCredential(home.readAuth());
  if (reading.kind !== "login") throw new Error(reading.kind);
  const { refreshToken, accountIds } = reading.credential;
  const presented = {
    fingerprint: fingerprint(refreshToken),
    accountIds,
    stamps: { issuedAtMs: null, lastRefreshMs: Date.now() - 3_600_000 },
  };
  const creation = await fileTicketBook(home.authJsonPath, systemClock).create(presented, 1);
  if (creation.kind !== "created") throw new Error(creation.kind);
  await creation.ticket.record({ event: "dispatched", atMs: Date.now() });
  const body = JSON.stringify({ refresh_token: tokens.refresh_token });
  const response = await fetch(server.url, { method: "POST", body });
  const base64 = Buffer.from(await response.text()).toString("base64");
  await creation.ticket.record({ event: "answer", httpStatus: response.status, base64 });
  await creation.ticket.close();
}

async function onFileSystem<T>(name: "ext4" | "tmpfs", body: (parent: string | undefined) => Promise<T>): Promise<T> {
  if (name === "ext4") return await body(undefined);
  const parent = mkdtempSync(join(tmpdir(), "watchdog-tmpfs-"));
  try {
    return await onTmpfs(parent, "size=64m", () => body(parent));
  } finally {
    // Right after an umount it was seen to be busy once.
    rmSync(parent, { recursive: true, maxRetries: 5 });
  }
}

async function pointsOf(prepare: (scene: Scene) => Promise<void>): Promise<readonly Point[]> {
  const scene = await Scene.open("watchdog");
  try {
    await prepare(scene);
    return await listPoints(scene);
  } finally {
    await scene.close();
  }
}

/** What lies in the home before the disturbed run. */
const PREPARATIONS = {
  "first run": async (): Promise<void> => undefined,
  "recovering run": leaveAnswer,
  // A second name makes the commit overwrite the file where it stands.
  "first run, in place": async ({ home }: Scene): Promise<void> =>
    linkSync(home.authJsonPath, join(home.path, "other-name")),
} as const;

function killRow(fileSystem: "ext4" | "tmpfs", run: keyof typeof PREPARATIONS): Row {
  const prepare = PREPARATIONS[run];
  return {
    name: `kill -9 at every system call between lock and unlock (${fileSystem}, ${run})`,
    needs: ["root", "strace"],
    isComparable: false,
    run: (_subject, depth) =>
      onFileSystem(fileSystem, async (parent) => {
        const points = await pointsOf(prepare);
        const chosen = depth === "full" ? points : spread(points, 8);
        const kill = async (scene: Scene, point: Point): Promise<Trial> => {
          await prepare(scene);
          const { result } = await runInjected(scene, point, "signal=KILL");
          const defect = result.signal === "SIGKILL" ? null : misbehaviour(result);
          return await scene.judge(`killed at ${show(point)}`, defect);
        };
        return await inTurn(chosen.map((point) => () => onScene("watchdog", (scene) => kill(scene, point), parent)));
      }),
  };
}

function show({ thread, call, count }: Point): string {
  return `${call} #${count} of the ${thread} thread`;
}

/** A refusal before anything was sent must keep the token unspent, and one after it the answer. */
async function refuse(scene: Scene, point: Point, error: string): Promise<Trial | null> {
  const { result, isOnFile } = await runInjected(scene, point, `error=${error}`);
  if (!isOnFile) return null; // No disk can refuse that.
  return await scene.judge(`${error} from ${show(point)}: exit ${result.code}`, misbehaviour(result));
}

function errorRow(error: string): Row {
  return {
    name: `every file call failing once with ${error}`,
    needs: ["root", "strace"],
    isComparable: false,
    run: async (_subject, depth: Depth) => {
      const points = (await pointsOf(async () => undefined)).filter(
        ({ call, isOnFile }) => isOnFile && !NEVER_REFUSED.includes(call),
      );
      const chosen = depth === "full" ? points : spread(points, 3);
      const trials = chosen.map((point) => () => onScene("watchdog", (scene) => refuse(scene, point, error)));
      return (await inTurn(trials)).filter((trial) => trial !== null);
    },
  };
}

export const SYSCALL_ROWS: readonly Row[] = [
  killRow("ext4", "first run"),
  killRow("ext4", "recovering run"),
  killRow("ext4", "first run, in place"),
  killRow("tmpfs", "first run"),
  killRow("tmpfs", "recovering run"),
  ...ERRORS.map(errorRow),
];
