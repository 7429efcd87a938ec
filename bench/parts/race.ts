import { Home } from "../../test/support/home.js";
import { makeAuthJson, makeTokens } from "../../test/support/login.js";
import { PROGRAM_PATH } from "../../test/support/program.js";
import { TokenServer } from "../../test/support/token-server.js";
import { rounded, type Spread, spreadOf, table } from "../figures.js";
import { openStopwatch, type Spent, type Stopwatch } from "../stopwatch.js";

export interface RaceFigures {
  readonly rows: readonly {
    readonly processes: number;
    readonly rounds: number;
    /** Until the last of them had left. */
    readonly wallMs: Spread;
    readonly cpuMs: Spread | null;
    /** In each round. */
    readonly posts: number;
    /** How many left with each code, all rounds together. */
    readonly exits: Readonly<Record<string, number>>;
    /** As many `node -e 0`, started in the same way. */
    readonly bareWallMs: Spread;
    readonly bareCpuMs: Spread | null;
    readonly timesBare: { readonly wall: number; readonly cpu: number | null };
  }[];
}

interface Contest {
  readonly processes: number;
  readonly rounds: number;
  readonly ours: Spent[];
  readonly bare: Spent[];
}

/** So many at once take seconds: fewer rounds, and none to throw away, because the small ones have warmed the page cache. */
const MANY = 50;

/**
 * Many processes that are started at once on one home with a due login, in turn with as many bare Nodes.
 *
 * @param rounds of the small contests; the others have two
 */
export async function measureRace(counts: readonly number[], rounds: number): Promise<RaceFigures> {
  const server = await TokenServer.start();
  const home = new Home();
  const stopwatch = openStopwatch();
  const contests = counts.map(
    (processes): Contest => ({ processes, rounds: processes < MANY ? rounds : 2, ours: [], bare: [] }),
  );
  try {
    for (let round = 0; round <= rounds; round += 1) {
      const due = contests.filter((one) => round <= one.rounds && (round > 0 || one.processes < MANY));
      for (const contest of due) await contend(contest, { server, home, stopwatch });
      if (round > 0) continue; // The first round warms the page cache.
      for (const { ours, bare } of contests) ours.length = bare.length = 0;
    }
    return { rows: contests.map(figuresOf) };
  } finally {
    stopwatch.close();
    home.remove();
    await server.stop();
  }
}

interface Place {
  readonly server: TokenServer;
  readonly home: Home;
  readonly stopwatch: Stopwatch;
}

async function contend({ processes, ours, bare }: Contest, { server, home, stopwatch }: Place): Promise<void> {
  const env = { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
  const times = <T>(one: T): T[] => Array.from({ length: processes }, () => one);
  bare.push(await stopwatch.run(...times({ argv: [process.execPath, "-e", "0"] as const })));
  home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));
  server.posts.length = 0;
  ours.push(await stopwatch.run(...times({ argv: [process.execPath, PROGRAM_PATH, "--once"] as const, env })));
  // What the program is for: figures of a run that broke it would be worth nothing.
  if (server.posts.length !== 1) throw new Error(`${processes} processes sent ${server.posts.length} POSTs`);
}

function figuresOf({ processes, rounds, ours, bare }: Contest): RaceFigures["rows"][number] {
  const exits: Record<string, number> = {};
  for (const code of ours.flatMap(({ codes }) => codes)) exits[String(code)] = (exits[String(code)] ?? 0) + 1;
  const [wallMs, bareWallMs] = [wallOf(ours), wallOf(bare)];
  const [cpuMs, bareCpuMs] = [cpuOf(ours), cpuOf(bare)];
  const timesCpu = cpuMs === null || bareCpuMs === null ? null : rounded(cpuMs.median / bareCpuMs.median);
  const timesBare = { wall: rounded(wallMs.median / bareWallMs.median), cpu: timesCpu };
  return { processes, rounds, wallMs, cpuMs, posts: 1, exits, bareWallMs, bareCpuMs, timesBare };
}

function wallOf(list: readonly Spent[]): Spread {
  return spreadOf(list.map(({ wallMs }) => wallMs));
}

function cpuOf(list: readonly Spent[]): Spread | null {
  const values = list.map(({ cpuMs }) => cpuMs).filter((value) => value !== null);
  return values.length < list.length ? null : spreadOf(values);
}

export function describeRace({ rows }: RaceFigures): string {
  const cells = rows.map(({ processes, rounds, wallMs, cpuMs, posts, exits, bareWallMs, bareCpuMs, timesBare }) => [
    String(processes),
    String(rounds),
    String(posts),
    wallMs.median.toFixed(0),
    bareWallMs.median.toFixed(0),
    timesBare.wall.toFixed(2),
    cpuMs?.median.toFixed(0) ?? "",
    bareCpuMs?.median.toFixed(0) ?? "",
    timesBare.cpu?.toFixed(2) ?? "",
    Object.entries(exits)
      .map(([code, count]) => `${count} × ${code}`)
      .join(", "),
  ]);
  const head = [
    "processes",
    "rounds",
    "POSTs",
    "ms until all left",
    "bare Nodes",
    "×",
    "CPU ms",
    "bare Nodes",
    "×",
    "exits",
  ];
  return `\nProcesses started at once on one due login:\n\n${table(head, cells)}`;
}
