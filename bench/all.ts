/**
 * What the program costs, as ratios to what ran in turn with it in the same minutes: a bare Node, the shell script,
 * a file written without a sync. Prints tables, and writes bench/results.json and docs/bench/*.svg.
 *
 * Words select parts (`starts`, `race`, `idle`, `homes`, `commit`, `fleet`; all without one). `--rounds N` is for the
 * starts on the first Node (the others have two thirds of it), `--node 20,22` chooses Nodes, `--baseline PATH` says
 * where the shell script is. CPU and peak memory of single runs need python3, counted syncs strace, memory Linux.
 */
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { installNode, NODE_VERSIONS } from "../scripts/node-versions.mjs";
import { BASELINE_PATH } from "../test/support/baseline.js";
import { endStagesOnSignal } from "./daemon/stage.js";
import { describeHardware, describeMachine, say } from "./figures.js";
import { describeCommit, measureCommit } from "./parts/commit.js";
import { describeFleet, measureFleet } from "./parts/fleet.js";
import { describeHomes, measureHomes } from "./parts/homes.js";
import { describeIdle, measureIdle } from "./parts/idle.js";
import { describeRace, measureRace } from "./parts/race.js";
import { describeStarts, measureStarts, type NodeToMeasure } from "./parts/starts.js";
import { type Figures, originNow, PART_NAMES, type PartName, type Results, saveResults } from "./results.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "60" },
    node: { type: "string", default: "" },
    baseline: { type: "string", default: BASELINE_PATH },
  },
});

const rounds = Number(values.rounds);
if (!(Number.isInteger(rounds) && rounds > 0)) refuse(`--rounds ${values.rounds}: must be a whole number above 0`);

/** Ends a call that asks for what there is not. */
function refuse(problem: string): never {
  say(`bench: ${problem}`);
  process.exit(64);
}

/** Each part, as words that say how it is measured and how it is told. */
const parts: { readonly [Name in PartName]: Part<Figures[Name]> } = {
  starts: { measure: () => measureStarts(nodesToMeasure(), values.baseline), describe: describeStarts },
  race: { measure: () => measureRace([2, 10, 50, 100], 5), describe: describeRace },
  idle: { measure: () => measureIdle(3), describe: describeIdle },
  homes: { measure: () => measureHomes([1, 10, 100, 1_000]), describe: describeHomes },
  commit: { measure: () => measureCommit(300, tmpdir()), describe: describeCommit },
  fleet: { measure: () => measureFleet(20, 2, 100), describe: describeFleet },
};

interface Part<PartFigures> {
  readonly measure: () => Promise<PartFigures>;
  readonly describe: (figures: PartFigures) => string;
}

async function runPart<Name extends PartName>(name: Name): Promise<Results> {
  const startedMs = performance.now();
  const { measure, describe } = parts[name];
  const figures = await measure();
  say(describe(figures));
  return { [name]: { origin: originNow(startedMs), figures } };
}

/** The Nodes that npm has for this machine; this process's own where it has none. */
function nodesToMeasure(): NodeToMeasure[] {
  const majors = values.node === "" ? [] : values.node.split(",");
  const isAsked = (version: string): boolean => majors.length === 0 || majors.some((major) => isOf(version, major));
  const versions = NODE_VERSIONS.filter(isAsked);
  if (versions.length === 0) refuse(`--node ${values.node}: there are ${NODE_VERSIONS.join(", ")}`);
  const nodes = versions.flatMap((version) => {
    const path = installedNode(version);
    return path === null ? [] : [{ version, path }];
  });
  const own = { version: process.versions.node, path: process.execPath };
  const measured = nodes.length === 0 ? [own] : nodes;
  for (const { path } of measured) keepCode(path);
  return measured.map((node, index) => ({
    ...node,
    rounds: index === 0 ? rounds : Math.ceil((rounds * 2) / 3),
  }));
}

/** As a build by this Node would: in an image, the Node that builds is the one that runs. */
function keepCode(nodePath: string): void {
  const module = new URL("../../scripts/code-cache.mjs", import.meta.url);
  const code = `import { writeCodeCache } from ${JSON.stringify(module.href)}; await writeCodeCache(process.argv[1]);`;
  const args = ["--input-type=module", "-e", code, fileURLToPath(new URL("../..", import.meta.url))];
  if (spawnSync(nodePath, args, { stdio: "inherit" }).status !== 0) throw new Error(`${nodePath} keeps no code`);
}

function isOf(version: string, asked: string): boolean {
  return version === asked || version.startsWith(`${asked}.`);
}

/** Null when it can't be had, or does not run here. */
function installedNode(version: string): string | null {
  try {
    const path = installNode(version);
    if (spawnSync(path, ["-e", "0"]).status === 0) return path;
  } catch {
    // Said by npm itself.
  }
  say(`Node ${version} is left out: it can't be had here.`);
  return null;
}

const names = positionals.length === 0 ? PART_NAMES : positionals.map(partNamed);

function partNamed(word: string): PartName {
  const name = PART_NAMES.find((each) => each === word);
  return name ?? refuse(`no part is called ${word}; there are ${PART_NAMES.join(", ")}`);
}

endStagesOnSignal();
const startedMs = performance.now();
say(`node ${process.version}; ${describeMachine()}; ${describeHardware()}`);
for (const name of names) {
  const partStartedMs = performance.now();
  saveResults(await runPart(name));
  say(`\n(${name}: ${((performance.now() - partStartedMs) / 1000).toFixed(0)} s)`);
}
say(
  `\n${((performance.now() - startedMs) / 1000).toFixed(0)} s in all; bench/results.json and docs/bench/ are written.`,
);
