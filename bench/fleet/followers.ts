import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { FleetScene } from "../../test/support/fleet.js";
import type { Running } from "../../test/support/program.js";

export interface FollowerProcess {
  readonly home: string;
  readonly running: Running;
}

const started = new Set<Running>();
// Also when a part of the bench fails.
process.on("exit", () => {
  for (const { child } of started) child.kill("SIGKILL");
});

/** How many are started at once: the machine is small. */
const BATCH = 10;

/** Followers as processes of their own, started one after the other. */
export async function startFollowers(scene: FleetScene, count: number, poll: string): Promise<FollowerProcess[]> {
  const followers: FollowerProcess[] = [];
  for (let index = 0; index < count; index += 1) {
    const host = `follower-${index}`;
    const args = ["follow", "--poll", poll, "--log-level", "error"];
    const running = scene.start(host, args, "codex_follower");
    started.add(running);
    followers.push({ home: scene.home(host), running });
    if (index % BATCH === BATCH - 1) await new Promise((resolve) => setTimeout(resolve, 1_500));
  }
  return followers;
}

export async function stopAll(followers: readonly FollowerProcess[]): Promise<void> {
  for (const { running } of followers) running.child.kill("SIGTERM");
  await Promise.all(followers.map(({ running }) => running.ended));
  for (const { running } of followers) started.delete(running);
}

/** The access token that a home holds; empty while there is none. */
function accessTokenIn(home: string): string {
  const path = join(home, "auth.json");
  if (!existsSync(path)) return "";
  return (JSON.parse(readFileSync(path, "utf8")) as { tokens: { access_token: string } }).tokens.access_token;
}

/** When a home got the copy that it holds, milliseconds since 1970. */
export function copiedAtMs(home: string): number {
  return statSync(join(home, "auth.json")).mtimeMs;
}

/**
 * Waits until all hold what the store holds.
 *
 * @returns how long that took, milliseconds
 */
export async function untilAllHold(scene: FleetScene, followers: readonly FollowerProcess[]): Promise<number> {
  const sinceMs = Date.now();
  const { stdout } = await scene.run("admin", ["store", "get"], "postgres");
  const newest = (JSON.parse(stdout) as { tokens: { access_token: string } }).tokens.access_token;
  let missing = [...followers];
  while (missing.length > 0) {
    missing = missing.filter(({ home }) => accessTokenIn(home) !== newest);
    if (Date.now() - sinceMs > 120_000) throw new Error(`${missing.length} followers don't get the newest tokens`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return Date.now() - sinceMs;
}
