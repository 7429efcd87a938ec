import { chownSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { copyProgram } from "../support/program.js";
import type { Row, Trial } from "./row.js";
import {
  inTurn,
  misbehaviour,
  moments,
  onScene,
  runLengthMs,
  type Scene,
  Scene as Stage,
  sleep,
  spread,
} from "./scene.js";
import { listPoints, type Point, runInjected } from "./syscalls.js";

const AGENT_UID = 1000;
const ANSWER_MS = 100;
const DEBUGGER_PORT = 9229;

/** What this user could not remove or read in the home. */
function foreignFiles({ home }: Scene): string | null {
  const names = home.listAll().filter((name) => statSync(join(home.path, name)).uid !== AGENT_UID);
  return names.length === 0 ? null : `left as root's: ${names.join(", ")}`;
}

/** An operator probes as root, is killed, and then the agent's own user comes. */
async function probeAsRoot(scene: Scene, point: Point, programPath: string): Promise<Trial> {
  giveToAgent(scene);
  await runInjected(scene, point, "signal=KILL");
  return await scene.judge(`killed at ${point.call} #${point.count}`, null, { uid: AGENT_UID, programPath });
}

function giveToAgent({ home }: Scene): void {
  for (const path of [home.path, home.authJsonPath]) chownSync(path, AGENT_UID, AGENT_UID);
}

async function onCopy<T>(body: (programPath: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "watchdog-copy-"));
  try {
    return await body(copyProgram(directory));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function listPointsOfRoot(): Promise<readonly Point[]> {
  const scene = await Stage.open("watchdog");
  try {
    giveToAgent(scene);
    return await listPoints(scene);
  } finally {
    await scene.close();
  }
}

/** Nothing of ours may be open to others, whatever the umask says. */
function openToOthers({ home }: Scene): string | null {
  const names = home.list().filter((name) => {
    const stats = statSync(join(home.path, name));
    return stats.isFile() && (stats.mode & 0o777) !== 0o600;
  });
  return names.length === 0 ? null : `not 0600: ${names.join(", ")}`;
}

async function runWithUmask(scene: Scene, umask: string): Promise<Trial> {
  const result = await scene.run({ prelude: `umask ${umask}` });
  const defect = scene.subject === "watchdog" ? (misbehaviour(result) ?? openToOthers(scene)) : null;
  return await scene.judge(`umask ${umask}`, defect);
}

async function isPortOpen(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

async function signalTwice(scene: Scene, signal: NodeJS.Signals, atMs: number): Promise<Trial> {
  scene.server.always({ delayMs: ANSWER_MS });
  let isDebugged = false;
  // A signal before the program's first line is Node's own affair; by now the port must be closed again.
  scene.server.onPost = async () => {
    isDebugged = running.stderr().includes("Debugger listening") && (await isPortOpen(DEBUGGER_PORT));
  };
  const running = scene.start();
  await sleep(atMs);
  running.child.kill(signal);
  await sleep(5);
  running.child.kill(signal);
  const result = await running.ended;
  const defect = isDebugged ? "a debugger was opened" : misbehaviour(result);
  return await scene.judge(`${signal} after ${atMs} ms: exit ${result.code ?? result.signal}`, defect);
}

function signalRow(signal: NodeJS.Signals): Row {
  return {
    name: `${signal} twice, at 20 moments`,
    needs: [],
    isComparable: true,
    run: async (subject, depth) => {
      const all = moments(20, await runLengthMs(subject, ANSWER_MS));
      const chosen = depth === "full" ? all : spread(all, 4);
      const trials = chosen.map((atMs) => () => onScene(subject, (scene) => signalTwice(scene, signal, atMs)));
      return await inTurn(trials, 1); // All debuggers share one port.
    },
  };
}

/** For both subjects alike: the script has no lock between whose calls one could count. */
async function killAt(scene: Scene, atMs: number): Promise<Trial> {
  scene.server.always({ delayMs: ANSWER_MS });
  const running = scene.start({ isGroup: true });
  await sleep(atMs);
  try {
    process.kill(-(running.child.pid ?? 0), "SIGKILL");
  } catch {
    // It has ended already.
  }
  const result = await running.ended;
  // The endpoint may be at work still on what it has received.
  await sleep(2 * ANSWER_MS);
  return await scene.judge(`killed after ${atMs} ms`, result.signal === "SIGKILL" ? null : misbehaviour(result));
}

export const PEOPLE_ROWS: readonly Row[] = [
  {
    name: "kill -9 at 100 moments of a run",
    needs: [],
    isComparable: true,
    run: async (subject, depth) => {
      const all = moments(100, await runLengthMs(subject, ANSWER_MS));
      const chosen = depth === "full" ? all : spread(all, 4);
      return await inTurn(chosen.map((atMs) => () => onScene(subject, (scene) => killAt(scene, atMs))));
    },
  },
  ...(["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"] as const).map(signalRow),
  {
    name: "root probes the home of uid 1000 and is killed; uid 1000 goes on",
    needs: ["root", "strace"],
    isComparable: false,
    run: async (subject, depth) =>
      await onCopy(async (programPath) => {
        const points = spread(await listPointsOfRoot(), depth === "full" ? 200 : 4);
        const trial = async (scene: Scene, point: Point): Promise<Trial> => {
          const judged = await probeAsRoot(scene, point, programPath);
          return { ...judged, defect: judged.defect ?? foreignFiles(scene) };
        };
        return await inTurn(points.map((point) => () => onScene(subject, (scene) => trial(scene, point))));
      }),
  },
  ...["000", "077"].map(
    (umask): Row => ({
      name: `umask ${umask}`,
      needs: [],
      isComparable: true,
      run: async (subject) => [await onScene(subject, (scene) => runWithUmask(scene, umask))],
    }),
  ),
];
