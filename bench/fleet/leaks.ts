import { closeSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { FleetScene } from "../../test/support/fleet.js";
import type { PostgresServer } from "../../test/support/postgres.js";
import { waitUntil } from "../../test/support/program.js";
import { TokenServer } from "../../test/support/token-server.js";
import { say, table } from "../figures.js";

/** How many characters of a token count as a find. */
const PIECE = 16;

/** Searches a running follower, its whole memory and its disk, for refresh tokens and for the owner's key. */
export async function searchForLeaks(server: PostgresServer): Promise<void> {
  const tokenServer = await TokenServer.start();
  const scene = await FleetScene.open(server, tokenServer);
  const first = await scene.logIn();
  const follower = scene.start("follower", ["follow", "--poll", "1s"], "codex_follower", {
    CODEX_AUTH_OWNER_KEY_FILE: "",
  });
  await waitUntil("a copy", () => follower.stderr().includes("copied"));
  await scene.run("owner", ["--once", "--force"]);
  await waitUntil("the next copy", () => follower.stderr().split("copied").length === 3);
  const pid = follower.child.pid ?? 0;
  const home = scene.home("follower");
  const access = (JSON.parse(readFileSync(join(home, "auth.json"), "utf8")) as { tokens: { access_token: string } })
    .tokens;
  const ownerKey = readFileSync(scene.path("owner.key"), "utf8").trim();
  const secrets: readonly (readonly [string, string])[] = [
    ["the refresh token that was put", first.refresh_token],
    ["the refresh token that is stored now", tokenServer.newestToken ?? ""],
    ["the owner's key", ownerKey],
    ["the access token (it must be found)", access.access_token],
  ];
  const places: readonly (readonly [string, Buffer])[] = [
    ["memory", readMemory(pid)],
    ["disk", Buffer.concat(readdirSync(home).map((name) => readFileSync(join(home, name))))],
    ["environment", readFileSync(`/proc/${pid}/environ`)],
    ["log", Buffer.from(follower.stderr())],
  ];
  const rows = secrets.map(([name, secret]) => [name, ...places.map(([, bytes]) => `${countPieces(bytes, secret)}`)]);
  say(`\nfinds in a follower (pieces of ${PIECE} characters, as bytes and as UTF-16)`);
  say(table(["", ...places.map(([name, { length }]) => `${name} (${Math.ceil(length / 1024)} KiB)`)], rows));
  follower.child.kill("SIGTERM");
  await follower.ended;
  await tokenServer.stop();
  scene.remove();
}

/** All that a core dump would hold. */
function readMemory(pid: number): Buffer {
  const descriptor = openSync(`/proc/${pid}/mem`, "r");
  const pieces: Buffer[] = [];
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const [, from = "", to = "", mode = ""] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? [];
    if (!mode.startsWith("rw")) continue;
    const [start, end] = [BigInt(`0x${from}`), BigInt(`0x${to}`)];
    // Node reserves terabytes of which it uses little: page by page what is there.
    const step = 1n << 20n;
    for (let at = start; at < end && end - start < 1n << 34n; at += step) {
      const bytes = Buffer.alloc(Number(end - at < step ? end - at : step));
      try {
        pieces.push(bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, at)));
      } catch {
        // Not backed by anything.
      }
    }
  }
  closeSync(descriptor);
  return Buffer.concat(pieces);
}

/** How many of a secret's pieces are somewhere in the bytes. A JWT's beginning is nobody's secret: the end counts. */
function countPieces(bytes: Buffer, secret: string): number {
  const end = secret.slice(-64);
  let found = 0;
  for (let at = 0; at + PIECE <= end.length; at += 1) {
    const piece = end.slice(at, at + PIECE);
    if (bytes.includes(piece, 0, "latin1") || bytes.includes(piece, 0, "utf16le")) found += 1;
  }
  return found;
}
