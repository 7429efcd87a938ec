import { existsSync } from "node:fs";
import { median, rounded, type Spread, say, spreadOf, table } from "../figures.js";
import { openStopwatch, type Spent, type Stopwatch } from "../stopwatch.js";
import { BARE, DELAYS_MS, dueName, FRESH, type Row, SCRIPT, StartScene } from "./start-scene.js";

/** A Node to measure on, and for how many rounds. */
export interface NodeToMeasure {
  readonly version: string;
  readonly path: string;
  readonly rounds: number;
}

interface RowFigures {
  readonly name: string;
  readonly rounds: number;
  readonly wallMs: Spread;
  /** Null, like all that follows from it, where nothing could tell it. */
  readonly cpuMs: Spread | null;
  readonly peakMib: Spread | null;
  /** Medians, divided by those of `node -e 0`, of the same Node in the same rounds. */
  readonly timesBare: Ratios;
}

interface Ratios {
  readonly wall: number;
  readonly cpu: number | null;
  readonly peak: number | null;
}

export interface StartsFigures {
  readonly nodes: readonly {
    readonly version: string;
    readonly rows: readonly RowFigures[];
    /** What a refresh takes besides the start of a Node and the wait for the answer, milliseconds. */
    readonly dueBeyondBareAndRoundTripMs: readonly { readonly delayMs: number; readonly ms: number }[];
    /** Our medians divided by the shell script's; null without it. */
    readonly timesScript: { readonly fresh: Ratios; readonly due: Ratios } | null;
  }[];
  /** From a warm client in the bench itself, on a new connection. */
  readonly roundTripMs: readonly { readonly delayMs: number; readonly ms: Spread }[];
}

/** What one start of the program costs, in turn with a bare Node's and the shell script's. */
export async function measureStarts(nodes: readonly NodeToMeasure[], baselinePath: string): Promise<StartsFigures> {
  const scene = await StartScene.open();
  const stopwatch = openStopwatch();
  try {
    const script = existsSync(baselinePath) && stopwatch.tellsUsage ? scene.scriptRows(baselinePath) : [];
    if (script.length === 0) say("The shell script is left out: it is not here (--baseline PATH), or python3 is not.");
    const groups = nodes.map((node, index) => ({
      ...node,
      // The script uses no Node: once a round is enough.
      rows: [...scene.rows(node.path), ...(index === 0 ? script : [])],
    }));
    const roundTrips = DELAYS_MS.map((delayMs) => ({ delayMs, list: [] as number[] }));
    for (let round = 0; round <= Math.max(...nodes.map(({ rounds }) => rounds)); round += 1) {
      const due = groups.filter(({ rounds }) => round <= rounds).flatMap(({ rows }) => rows);
      for (const row of due) await runRow(row, stopwatch);
      for (const { delayMs, list } of roundTrips) list.push(await scene.roundTripMs(delayMs));
      if (round > 0) continue; // The first round warms the page cache, and the endpoint.
      for (const { spent } of due) spent.length = 0;
      for (const { list } of roundTrips) list.length = 0;
    }
    return {
      nodes: groups.map(({ version, rows }) => ({ version, ...figuresOf(rows, script, roundTrips) })),
      roundTripMs: roundTrips.map(({ delayMs, list }) => ({ delayMs, ms: spreadOf(list) })),
    };
  } finally {
    stopwatch.close();
    await scene.close();
  }
}

async function runRow({ name, command, code, prepare, spent }: Row, stopwatch: Stopwatch): Promise<void> {
  prepare?.();
  const one = await stopwatch.run(command);
  if (one.codes[0] !== code) throw new Error(`${name}: exit ${one.codes[0]} in place of ${code}`);
  spent.push(one);
}

interface RoundTrips {
  readonly delayMs: number;
  readonly list: readonly number[];
}

function figuresOf(
  rows: readonly Row[],
  script: readonly Row[],
  roundTrips: readonly RoundTrips[],
): Omit<StartsFigures["nodes"][number], "version"> {
  const named = (name: string): readonly Spent[] => [...rows, ...script].find((row) => row.name === name)?.spent ?? [];
  const bare = named(BARE);
  const wallMs = (name: string): number => median(named(name).map((spent) => spent.wallMs));
  return {
    rows: rows.map(({ name, spent }) => ({
      name,
      rounds: spent.length,
      wallMs: spreadOf(spent.map((one) => one.wallMs)),
      cpuMs: spreadOrNull(spent.map((one) => one.cpuMs)),
      peakMib: spreadOrNull(spent.map(({ peakKib }) => (peakKib === null ? null : peakKib / 1024))),
      timesBare: ratios(spent, bare),
    })),
    dueBeyondBareAndRoundTripMs: roundTrips.map(({ delayMs, list }) => ({
      delayMs,
      ms: rounded(wallMs(dueName(delayMs)) - wallMs(BARE) - median(list)),
    })),
    timesScript:
      script.length === 0
        ? null
        : { fresh: ratios(named(FRESH), named(SCRIPT.fresh)), due: ratios(named(dueName(0)), named(SCRIPT.due)) },
  };
}

function ratios(ours: readonly Spent[], theirs: readonly Spent[]): Ratios {
  const ratio = (of: (spent: Spent) => number | null): number | null => {
    const [our, their] = [ours, theirs].map((list) => spreadOrNull(list.map(of)));
    return our == null || their == null ? null : rounded(our.median / their.median);
  };
  return {
    wall: ratio(({ wallMs }) => wallMs) ?? Number.NaN,
    cpu: ratio(({ cpuMs }) => cpuMs),
    peak: ratio(({ peakKib }) => peakKib),
  };
}

/** Null when a value is missing, as all of them then are. */
function spreadOrNull(list: readonly (number | null)[]): Spread | null {
  const values = list.filter((value) => value !== null);
  return values.length < list.length ? null : spreadOf(values);
}

export function describeStarts({ nodes, roundTripMs }: StartsFigures): string {
  const hasUsage = nodes.every(({ rows }) => rows.every(({ cpuMs }) => cpuMs !== null));
  const head = ["", "rounds", "ms", "p90", "×"];
  const usage = hasUsage ? ["CPU ms", "×", "peak MiB", "×"] : [];
  const times = (value: number | null): string => value?.toFixed(2) ?? "";
  const tables = nodes.map(({ version, rows, timesScript, dueBeyondBareAndRoundTripMs }) => {
    const cells = rows.map(({ name, rounds, wallMs, cpuMs, peakMib, timesBare }) => {
      const first = [name, String(rounds), wallMs.median.toFixed(1), wallMs.p90.toFixed(1), times(timesBare.wall)];
      if (cpuMs === null || peakMib === null) return first;
      return [
        ...first,
        cpuMs.median.toFixed(1),
        times(timesBare.cpu),
        peakMib.median.toFixed(1),
        times(timesBare.peak),
      ];
    });
    const beyond = dueBeyondBareAndRoundTripMs.map(
      ({ delayMs, ms }) => `${ms.toFixed(1)} (answer after ${delayMs} ms)`,
    );
    const lines = [
      `\nNode ${version}; × is beside its own \`node -e 0\`:\n`,
      table([...head, ...usage], cells),
      `\nA refresh besides a bare Node and the round trip, ms: ${beyond.join(", ")}.`,
    ];
    for (const [what, { wall, cpu, peak }] of Object.entries(timesScript ?? {})) {
      lines.push(`${what} login: × ${times(wall)} the script's time, × ${times(cpu)} CPU, × ${times(peak)} memory.`);
    }
    return lines.join("\n");
  });
  const trips = roundTripMs.map(({ delayMs, ms }) => `${ms.median.toFixed(1)} (after ${delayMs} ms)`);
  return [...tables, `\nRound trip to the endpoint, ms: ${trips.join(", ")}.`].join("\n");
}
