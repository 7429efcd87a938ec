import { BARE } from "./parts/start-scene.js";
import type { Results } from "./results.js";

/** Between these lines of the README stands what the last `npm run bench` has found. */
export const BENCH_MARKS = { begin: "<!-- bench: begin -->\n", end: "<!-- bench: end -->" } as const;

/** The README's tables of saved figures; a part that has not run is left out. */
export function renderReport(results: Results): string {
  return [renderStarts(results), renderRest(results)].filter((table) => table !== "").join("\n");
}

function renderStarts({ starts }: Results): string {
  if (starts === undefined) return "";
  const { nodes } = starts.figures;
  const names = nodes[0]?.rows.map(({ name }) => name).filter((name) => name !== BARE) ?? [];
  const find = (index: number, name: string) => nodes[index]?.rows.find((row) => row.name === name);
  const cells = (name: string): string[] =>
    nodes.map((_node, index) => {
      const row = find(index, name);
      return row === undefined ? "" : `${row.timesBare.wall.toFixed(2)} (${row.wallMs.median.toFixed(0)} ms)`;
    });
  const bare = nodes.map((_node, index) => `${find(index, BARE)?.wallMs.median.toFixed(0)} ms`);
  return [
    line(["one run, × `node -e 0`", ...nodes.map(({ version }) => `Node ${version}`)]),
    line(["---", ...nodes.map(() => "---:")]),
    line([`\`${BARE}\``, ...bare]),
    ...names.map((name) => line([name, ...cells(name)])),
    "",
  ].join("\n");
}

function renderRest({ race, idle, homes, commit, fleet }: Results): string {
  const rows: string[][] = [];
  for (const { processes, timesBare } of race?.figures.rows ?? []) {
    const time = `${timesBare.wall.toFixed(1)} × the time of as many \`node -e 0\``;
    rows.push([`${processes} processes at once on one due login, until all have left`, `${time}; 1 request`]);
  }
  for (const { after, loop, bare, timesBare } of idle?.figures.rows ?? []) {
    const memory = `${loop.rssMib.toFixed(0)} MiB, ${timesBare.rss.toFixed(2)} × an idle Node (${bare.rssMib.toFixed(0)})`;
    rows.push([`the loop's memory, ${after.startsWith("then") ? after : `after ${after}`}`, memory]);
  }
  const most = homes?.figures.rows.at(-1);
  if (most !== undefined) {
    const cost = `${most.kibPerFurtherHome?.toFixed(0)} KiB, and ${most.cycleCpuMsPerHome.toFixed(2)} ms of CPU a cycle`;
    rows.push([`each further home in one process, of ${most.homes}`, cost]);
  }
  const saving = commit?.figures.steps.at(-1);
  if (commit !== undefined && saving !== undefined) {
    const syncs = commit.figures.syncs
      ?.filter(({ what }) => what !== "all")
      .reduce((sum, { fsync, fdatasync }) => sum + fsync + fdatasync, 0);
    const cost = `${saving.medianMs.toFixed(1)} ms, 99 % within ${saving.p99Ms.toFixed(1)} ms`;
    rows.push(["an answer's way to the disk, ticket and all", syncs === undefined ? cost : `${cost}; ${syncs} syncs`]);
  }
  for (const { name, storeMs, timesFile } of fleet?.figures.cycles ?? []) {
    const cost = `${storeMs.median.toFixed(0)} ms, ${timesFile.toFixed(1)} × that on a file`;
    rows.push([`\`--once\` on a login in PostgreSQL, ${name}`, cost]);
  }
  if (fleet !== undefined) {
    const { followers, medianMs, p99Ms } = fleet.figures.fanOut;
    const seconds = [medianMs, p99Ms].map((ms) => (ms / 1000).toFixed(2));
    rows.push([
      `from an owner's save to the files of ${followers} followers`,
      `${seconds[0]} s, 99 % within ${seconds[1]} s`,
    ]);
  }
  if (rows.length === 0) return "";
  return [line(["what", "measured"]), line(["---", "---"]), ...rows.map(line), ""].join("\n");
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
