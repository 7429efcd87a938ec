import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Home } from "../test/support/home.js";
import { type Running, waitUntil } from "../test/support/program.js";

/** How long a cycle may take, milliseconds. */
const PATIENCE_MS = 60_000;

/** Has a loop run one cycle more on each of its homes: SIGHUP tells it to look now. Ends when all have been told. */
export async function nextCycle(loop: Running, homes: readonly Home[]): Promise<void> {
  const before = new Map(homes.map((home) => [home, statusMark(home)]));
  loop.child.kill("SIGHUP");
  const hasEnded = (home: Home): boolean => statusMark(home) !== before.get(home);
  const untilMs = performance.now() + PATIENCE_MS;
  for (const home of homes) {
    while (!hasEnded(home)) {
      if (loop.child.exitCode !== null) throw new Error(`the loop has ended: ${loop.stderr()}`);
      if (performance.now() > untilMs) throw new Error(`${home.path} has had no cycle in ${PATIENCE_MS} ms`);
      await sleep(1); // A cycle takes about as long.
    }
  }
}

/** Differs after each cycle, because each ends with a new status file. */
function statusMark(home: Home): string {
  const { ino, mtimeNs } = statSync(join(home.path, "auth_refresh_status.json"), { bigint: true });
  return `${ino} ${mtimeNs}`;
}

/** Until a loop has ended its first cycle on each of its homes. */
export async function untilHealthy(homes: readonly Home[]): Promise<void> {
  const waiting = new Set(homes);
  const allAre = (): boolean => {
    for (const home of waiting) {
      if (home.readStatusOrNull()?.["state"] !== "ok") return false;
      waiting.delete(home);
    }
    return true;
  };
  await waitUntil("each home is healthy", allAre, PATIENCE_MS);
}
