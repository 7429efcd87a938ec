import { FleetScene } from "../../test/support/fleet.js";
import { Home } from "../../test/support/home.js";
import { makeAuthJson, makeTokens } from "../../test/support/login.js";
import { type PostgresServer, startPostgres } from "../../test/support/postgres.js";
import { PROGRAM_PATH } from "../../test/support/program.js";
import { TokenServer } from "../../test/support/token-server.js";
import { median, quantile, rounded, type Spread, spreadOf, table } from "../figures.js";
import { measureFanOut } from "../fleet/latency.js";
import { openStopwatch } from "../stopwatch.js";

export interface FleetFigures {
  readonly rounds: number;
  readonly cycles: readonly {
    readonly name: string;
    readonly fileMs: Spread;
    readonly storeMs: Spread;
    /** The store's median divided by the file's. */
    readonly timesFile: number;
  }[];
  /** From the owner's commit to the file of each follower. */
  readonly fanOut: {
    readonly followers: number;
    readonly trials: number;
    readonly medianMs: number;
    readonly p99Ms: number;
    readonly longestMs: number;
  };
}

/** `--once` on a login in PostgreSQL beside one in a file, in turn; then how soon followers have new tokens. */
export async function measureFleet(rounds: number, trials: number, followers: number): Promise<FleetFigures> {
  const server = await startPostgres(18, { fsync: true, maxConnections: followers + 100 });
  try {
    const cycles = await measureCycles(server, rounds);
    const latenciesMs = await measureFanOut(server, { trials, followerCount: followers, isNotified: true });
    const [medianMs, p99Ms, longestMs] = [median(latenciesMs), quantile(latenciesMs, 0.99), quantile(latenciesMs, 1)];
    return {
      rounds,
      cycles,
      fanOut: {
        followers,
        trials,
        medianMs: rounded(medianMs),
        p99Ms: rounded(p99Ms),
        longestMs: rounded(longestMs),
      },
    };
  } finally {
    await server.stop();
  }
}

async function measureCycles(server: PostgresServer, rounds: number): Promise<FleetFigures["cycles"]> {
  const tokenServer = await TokenServer.start();
  const scene = await FleetScene.open(server, tokenServer);
  const home = new Home();
  const stopwatch = openStopwatch();
  const times = {
    fresh: { file: [] as number[], store: [] as number[] },
    due: { file: [] as number[], store: [] as number[] },
  };
  const once = async (kind: keyof typeof times, at: "file" | "store"): Promise<void> => {
    // A login that is put into the store must be newer than the one there: forced, a refresh needs no new one.
    const args = kind === "due" ? ["--once", "--force"] : ["--once"];
    const env = at === "file" ? file : store;
    const { wallMs, codes } = await stopwatch.run({ argv: [process.execPath, PROGRAM_PATH, ...args], env });
    if (codes[0] !== (kind === "due" ? 0 : 1)) throw new Error(`${kind}, ${at}: exit ${codes[0]}`);
    times[kind][at].push(wallMs);
  };
  const file = { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: tokenServer.url };
  const store = scene.env("owner");
  try {
    home.writeAuth(makeAuthJson(tokenServer.admit(makeTokens({ expiresInSec: 60 }))));
    await scene.logIn();
    for (let round = 0; round <= rounds; round += 1) {
      await once("due", "file");
      await once("due", "store");
      await once("fresh", "file");
      await once("fresh", "store");
      if (round > 0) continue; // The first round warms the page cache.
      for (const { file: byFile, store: byStore } of Object.values(times)) byFile.length = byStore.length = 0;
    }
  } finally {
    stopwatch.close();
    home.remove();
    scene.remove();
    await tokenServer.stop();
  }
  return Object.entries(times).map(([name, lists]) => {
    const [fileMs, storeMs] = [spreadOf(lists.file), spreadOf(lists.store)];
    return { name, fileMs, storeMs, timesFile: rounded(storeMs.median / fileMs.median) };
  });
}

export function describeFleet({ rounds, cycles, fanOut }: FleetFigures): string {
  const cells = cycles.map(({ name, fileMs, storeMs, timesFile }) => [
    name,
    fileMs.median.toFixed(1),
    storeMs.median.toFixed(1),
    timesFile.toFixed(2),
  ]);
  const { followers, trials, medianMs, p99Ms, longestMs } = fanOut;
  return [
    `\n\`--once\` on a login in PostgreSQL 18 (fsync on), ${rounds} rounds:\n`,
    table(["login", "file, ms", "store, ms", "×"], cells),
    `\nFrom the owner's commit to the files of ${followers} followers (processes of their own), ${trials} trials:\n`,
    table(["median ms", "p99 ms", "longest ms"], [[medianMs, p99Ms, longestMs].map((ms) => ms.toFixed(0))]),
  ].join("\n");
}
