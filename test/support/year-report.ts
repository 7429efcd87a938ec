import { readFileSync } from "node:fs";
import { bestShare, type Figures, type Scenario, simulateScript, simulateWatchdog } from "./simulation.js";

/** The simulated year: which scenarios, and how their figures are shown. What is shown is kept in docs/year.json. */
export interface YearRow {
  readonly life: string;
  readonly what: string;
  /** What a program could reach that knows the future. */
  readonly bestShare: number;
  readonly watchdog: Figures;
  readonly script: Figures;
}

export const YEAR_MARKS = { begin: "<!-- simulation: begin -->\n", end: "<!-- simulation: end -->" };

const HOUR_SEC = 3_600;

const LIVES = [
  { life: "1 h", livesForSec: HOUR_SEC },
  { life: "8 h", livesForSec: 8 * HOUR_SEC },
  { life: "10 d", livesForSec: 240 * HOUR_SEC },
];

const TROUBLES = [
  { what: "nothing special" },
  { what: "restarts", restarts: true },
  { what: "suspends", suspends: true },
  { what: "outages", outages: true },
  { what: "all three", restarts: true, suspends: true, outages: true },
  { what: "outages that answer 500", outages: "500" },
] as const;

export const YEAR_SCENARIOS: readonly (Scenario & Pick<YearRow, "life" | "what">)[] = LIVES.flatMap((life) =>
  TROUBLES.map((troubles) => ({ ...life, ...troubles, days: 365, seed: "a year" })),
);

export async function simulateYear(scenario: (typeof YEAR_SCENARIOS)[number]): Promise<YearRow> {
  const { life, what } = scenario;
  const [watchdog, script] = [await simulateWatchdog(scenario), await simulateScript(scenario)];
  return { life, what, bestShare: bestShare(scenario), watchdog, script };
}

const DOCS = new URL("../../docs/", import.meta.url);

export const YEAR_FILES = { rows: new URL("year.json", DOCS), plot: new URL("year.svg", DOCS) };

/** The rows that the last `npm run simulate` has saved. */
export function readYear(): YearRow[] {
  return JSON.parse(readFileSync(YEAR_FILES.rows, "utf8")) as YearRow[];
}

/** Rounded down, so that 100 % means all of it. */
function percent(share: number): string {
  return `${(Math.floor(share * 10_000) / 100).toFixed(2)} %`;
}

/** The README's table. */
export function renderYearTable(rows: readonly YearRow[]): string {
  const lines = rows.map(({ life, what, bestShare, watchdog, script }) =>
    [
      life,
      what,
      percent(bestShare),
      `**${percent(watchdog.validShare)}**`,
      percent(script.validShare),
      watchdog.posts,
      script.posts,
      watchdog.isLost ? 1 : 0,
      script.isLost ? 1 : 0,
    ].join(" | "),
  );
  return [
    "| token lives | what happens | best possible | valid | by the script | POSTs | by the script | lost | by the script |",
    "|---|---|---|---|---|---|---|---|---|",
    ...lines.map((line) => `| ${line} |`),
    "",
  ].join("\n");
}

/** Measures of the plot, in its own units. */
const WIDTH = 760;
const LABEL_WIDTH = 170;
const VALUE_WIDTH = 70;
const ROW_HEIGHT = 30;
const BAR_HEIGHT = 10;
const HEAD_HEIGHT = 40;
const LEGEND_HEIGHT = 60;

/** The colours hold on a white ground and on a black one; only the text changes with it. */
const STYLE = `
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .head { font-weight: 600 }
    .value { font-size: 11px }
    .track { fill: #8b949e; opacity: .2 }
    .watchdog { fill: #2f81f7 }
    .script { fill: #db8b2f }
    .best { stroke: #1f2328; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .best { stroke: #e6edf3 } }
  `;

/** A bar for each program and row, and a mark for what is possible. */
export function renderYearPlot(rows: readonly YearRow[]): string {
  const barWidth = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
  const x = (share: number): string => (LABEL_WIDTH + share * barWidth).toFixed(1);
  const bar = (kind: "watchdog" | "script", share: number, y: number): string[] => [
    `<rect class="track" x="${LABEL_WIDTH}" y="${y}" width="${barWidth}" height="${BAR_HEIGHT}"/>`,
    `<rect class="${kind}" x="${LABEL_WIDTH}" y="${y}" width="${(share * barWidth).toFixed(1)}" height="${BAR_HEIGHT}"/>`,
    `<text class="value" x="${WIDTH - VALUE_WIDTH + 8}" y="${y + BAR_HEIGHT - 1}">${percent(share)}</text>`,
  ];
  const shapes = [
    `<text class="head" x="0" y="18">Share of a year (awake) with a valid access token</text>`,
    `<rect class="watchdog" x="0" y="32" width="12" height="${BAR_HEIGHT}"/><text x="18" y="42">codex-auth-watchdog</text>`,
    `<rect class="script" x="${LABEL_WIDTH}" y="32" width="12" height="${BAR_HEIGHT}"/><text x="${LABEL_WIDTH + 18}" y="42">shell script</text>`,
    `<path class="best" d="M300 30v14"/><text x="308" y="42">best possible, knowing the future</text>`,
  ];
  let y = LEGEND_HEIGHT;
  let lastLife = "";
  for (const { life, what, bestShare, watchdog, script } of rows) {
    if (life !== lastLife) {
      shapes.push(`<text class="head" x="0" y="${y + 22}">The access token lives for ${life}</text>`);
      y += HEAD_HEIGHT;
      lastLife = life;
    }
    shapes.push(`<text x="0" y="${y + BAR_HEIGHT + 4}">${what}</text>`);
    shapes.push(...bar("watchdog", watchdog.validShare, y), ...bar("script", script.validShare, y + BAR_HEIGHT + 1));
    shapes.push(`<path class="best" d="M${x(bestShare)} ${y - 2}v${2 * BAR_HEIGHT + 5}"/>`);
    y += ROW_HEIGHT;
  }
  const title =
    "Share of a simulated year in which the access token was valid, for codex-auth-watchdog and the shell script";
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 4}" role="img" aria-label="${title}">`,
    `  <style>${STYLE}</style>`,
    ...shapes.map((shape) => `  ${shape}`),
    "</svg>",
    "",
  ].join("\n");
}
