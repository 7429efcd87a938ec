import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { PROGRAM_PATH } from "../test/support/program.js";
import { describeHardware, describeMachine } from "./figures.js";
import type { CommitFigures } from "./parts/commit.js";
import type { FleetFigures } from "./parts/fleet.js";
import type { HomesFigures } from "./parts/homes.js";
import type { IdleFigures } from "./parts/idle.js";
import type { RaceFigures } from "./parts/race.js";
import type { StartsFigures } from "./parts/starts.js";
import { type BarPlot, type LinePlot, renderBars, renderLines } from "./plot.js";
import { BENCH_MARKS, renderReport } from "./report.js";

/** What each part has found, in the order in which they run. */
export interface Figures {
  readonly starts: StartsFigures;
  readonly race: RaceFigures;
  readonly idle: IdleFigures;
  readonly homes: HomesFigures;
  readonly commit: CommitFigures;
  readonly fleet: FleetFigures;
}

export type PartName = keyof Figures;

export const PART_NAMES: readonly PartName[] = ["starts", "race", "idle", "homes", "commit", "fleet"];

/** Where and when figures come from: a part that runs alone replaces its own, so each part says it. */
export interface Origin {
  readonly measuredAt: string;
  readonly program: string;
  readonly node: string;
  readonly kernel: string;
  readonly hardware: string;
  readonly tookSec: number;
}

export type Results = { readonly [Name in PartName]?: { readonly origin: Origin; readonly figures: Figures[Name] } };

const ROOT = join(dirname(PROGRAM_PATH), "..");
const RESULTS = join(ROOT, "bench", "results.json");
const README = join(ROOT, "README.md");
const PLOTS = join(ROOT, "docs", "bench");

export function originNow(startedMs: number): Origin {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  return {
    measuredAt: new Date().toISOString(),
    program: version,
    node: process.version,
    kernel: describeMachine(),
    hardware: describeHardware(),
    tookSec: Math.round((performance.now() - startedMs) / 1000),
  };
}

/**
 * Writes what was measured now over what stood there, draws the plots anew, and writes the README's tables. Parts that did
 * not run stay.
 */
export function saveResults(now: Results): void {
  const all = { ...readResults(), ...now };
  const ordered = Object.fromEntries(PART_NAMES.filter((name) => name in all).map((name) => [name, all[name]]));
  writeFileSync(RESULTS, `${JSON.stringify(ordered, null, 2)}\n`);
  mkdirSync(PLOTS, { recursive: true });
  for (const [name, svg] of plotsOf(all)) writeFileSync(join(PLOTS, `${name}.svg`), svg);
  const readme = readFileSync(README, "utf8");
  const [head, tail] = [readme.split(BENCH_MARKS.begin)[0], readme.split(BENCH_MARKS.end)[1]];
  writeFileSync(README, `${head}${BENCH_MARKS.begin}${renderReport(all)}${BENCH_MARKS.end}${tail}`);
}

/** What was saved last. */
export function readResults(): Results {
  return existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, "utf8")) as Results) : {};
}

/** The SVG text of each plot for which there are figures, by its name. */
export function plotsOf({ starts, race, idle, homes }: Results): Map<string, string> {
  const plots = new Map<string, string>();
  if (starts !== undefined) plots.set("starts", renderBars(startsPlot(starts.figures)));
  if (race !== undefined) plots.set("race", renderLines(racePlot(race.figures)));
  if (idle !== undefined) plots.set("memory", renderBars(memoryPlot(idle.figures)));
  if (homes !== undefined) plots.set("homes", renderLines(homesPlot(homes.figures)));
  return plots;
}

function startsPlot({ nodes }: StartsFigures): BarPlot {
  return {
    title: "One run of the program, beside an empty Node",
    axis: "wall time, × node -e 0 of the same Node (medians, run in turn)",
    groups: nodes.map(({ version, rows }) => ({
      name: `Node ${version}`,
      bars: rows
        .filter(({ name }) => name !== "node -e 0")
        .map(({ name, timesBare }) => ({
          name,
          value: timesBare.wall,
          kind: name.startsWith("shell script") ? "shell script" : "codex-auth-watchdog",
        })),
    })),
    mark: { value: 1, name: "node -e 0" },
  };
}

function racePlot({ rows }: RaceFigures): LinePlot {
  return {
    title: "Started at once on one due login: one of them refreshes, all leave",
    xAxis: "processes",
    yAxis: "seconds until the last has left",
    lines: [
      {
        name: "codex-auth-watchdog --once",
        points: rows.map(({ processes, wallMs }) => [processes, wallMs.median / 1000]),
      },
      { name: "node -e 0", points: rows.map(({ processes, bareWallMs }) => [processes, bareWallMs.median / 1000]) },
    ],
  };
}

function memoryPlot({ rows }: IdleFigures): BarPlot {
  return {
    title: "Resident memory of the idle loop, beside an idle Node",
    axis: "RSS, MiB",
    groups: rows.map(({ after, loop, bare }) => ({
      name: after.startsWith("then") ? `… ${after}` : `After ${after}`,
      bars: [
        { name: "the loop", value: loop.rssMib, kind: "codex-auth-watchdog" },
        { name: "bare Node", value: bare.rssMib, kind: "bare Node" },
      ],
    })),
  };
}

function homesPlot({ rows }: HomesFigures): LinePlot {
  return {
    title: "Resident memory of one process that looks after many homes",
    xAxis: "homes (each step is a factor)",
    yAxis: "RSS, MiB",
    isXLog: true,
    lines: [{ name: "one process", points: rows.map(({ homes, rssMib }) => [homes, rssMib]) }],
  };
}
