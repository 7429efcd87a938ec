/**
 * What a fleet is like: whether a token is presented once by many owners in a bad network, how soon its followers have
 * the next tokens, what it costs the database, and whether a follower ever holds a refresh token.
 *
 * Words select parts (`rotations`, `latency`, `traffic`, `idle`, `leaks`; all without one). `--rotations`, `--followers`,
 * `--trials` and `--connections` change the defaults, with which all of it takes half an hour. The built program runs
 * against a real PostgreSQL and a loopback endpoint; the figures come from /proc, so this needs Linux.
 */
import { parseArgs } from "node:util";
import { startPostgres } from "../test/support/postgres.js";
import { describeMachine, say } from "./figures.js";
import { benchIdleFollowers } from "./fleet/idle.js";
import { benchFanOut } from "./fleet/latency.js";
import { searchForLeaks } from "./fleet/leaks.js";
import { benchRotations } from "./fleet/rotations.js";
import { benchTraffic } from "./fleet/traffic.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rotations: { type: "string", default: "500" },
    followers: { type: "string", default: "100" },
    trials: { type: "string", default: "10" },
    connections: { type: "string", default: "1000" },
  },
});

const followerCount = Number(values.followers);
const server = await startPostgres(18, { fsync: true, maxConnections: Number(values.connections) + 100 });
const parts = new Map<string, () => Promise<void>>([
  ["rotations", () => benchRotations(server, Number(values.rotations), followerCount)],
  ["latency", () => benchFanOut(server, Number(values.trials), followerCount)],
  ["traffic", () => benchTraffic(server)],
  ["idle", () => benchIdleFollowers(server, Number(values.connections))],
  ["leaks", () => searchForLeaks(server)],
]);

say(`node ${process.version}; PostgreSQL 18, fsync on; ${describeMachine()}`);
try {
  for (const name of positionals.length === 0 ? parts.keys() : positionals) {
    const part = parts.get(name);
    if (part === undefined) throw new Error(`no part is called ${name}; there are ${[...parts.keys()].join(", ")}`);
    await part();
  }
} finally {
  await server.stop();
}
