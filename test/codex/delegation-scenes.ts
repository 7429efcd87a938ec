// The built program, which lets this Codex refresh.
import type { Reply } from "../support/token-server.js";
import { count } from "./refresh-scenes.js";
import type { Stage } from "./stage.js";

/** Due by our margin of four hours, and far from Codex's own of five minutes, seconds. */
const DUE_SEC = 3_600;

async function delegate(stage: Stage): Promise<string> {
  const postsBefore = stage.postCount;
  const { code } = await stage.runWatchdog("--once", "--via", "codex", "--codex-program", stage.release.program);
  const left = (await stage.remainingProcesses()).map((each) => `, left behind: ${each}`);
  return `exit ${code}, ${count(stage.postCount - postsBefore)}${left.join("")}`;
}

export async function delegated(stage: Stage): Promise<string> {
  stage.logIn({ expiresInSec: DUE_SEC });
  return `${await delegate(stage)}, ${stage.isNewestSaved ? "saved" : "not saved"}`;
}

/** The same inside Codex's own window, where it refreshes before it is asked to: the request is ours then. */
export async function delegatedExpired(stage: Stage): Promise<string> {
  stage.logIn({ expiresInSec: -3_600 });
  const isSaved = `${await delegate(stage)}, ${stage.isNewestSaved ? "saved" : "not saved"}`;
  return `${isSaved}, ${stage.server.reuseCount} tokens sent again`;
}

/** Two runs: the second tells what the first has remembered. */
export function delegatedTwice(reply: Reply, expiresInSec: number = DUE_SEC): (stage: Stage) => Promise<string> {
  return async (stage) => {
    stage.logIn({ expiresInSec });
    stage.server.always(reply);
    return `${await delegate(stage)}; then ${await delegate(stage)}`;
  };
}
