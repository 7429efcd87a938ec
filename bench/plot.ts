/** Plots as SVG text, on a white ground of their own so that they can be read on a dark page too. */

export interface Bar {
  readonly name: string;
  readonly value: number;
  /** Bars of one kind have one colour; the first kind that comes is ours. */
  readonly kind: string;
}

export interface BarPlot {
  readonly title: string;
  /** What the values are, with their unit. */
  readonly axis: string;
  readonly groups: readonly { readonly name: string; readonly bars: readonly Bar[] }[];
  /** A line across all bars, at a value that they are compared with. */
  readonly mark?: { readonly value: number; readonly name: string };
}

export interface LinePlot {
  readonly title: string;
  readonly xAxis: string;
  readonly yAxis: string;
  /** Whether equal distances along x are equal factors. */
  readonly isXLog?: boolean;
  readonly lines: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
}

/** Measures, in units of the plot. */
const WIDTH = 760;
const MARGIN = 16;
const TOP = 66;
const BOTTOM = 50;
const BAR = { labelWidth: 290, valueWidth: 60, height: 14, pitch: 20, groupHeight: 30 } as const;
const LINE = { left: 70, right: 50, height: 300 } as const;
const COLOURS = ["#0969da", "#8c959f", "#bc4c00", "#1a7f37"];
const STYLE = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title,.group{font-weight:600}.small{font-size:11px}";

/** Horizontal bars in groups, all on one scale that begins at 0. */
export function renderBars({ title, axis, groups, mark }: BarPlot): string {
  const bars = groups.flatMap((group) => group.bars);
  const kinds = [...new Set(bars.map(({ kind }) => kind))];
  const plotWidth = WIDTH - 2 * MARGIN - BAR.labelWidth - BAR.valueWidth;
  const left = MARGIN + BAR.labelWidth;
  const ticks = ticksUpTo(Math.max(...bars.map(({ value }) => value)));
  const scale = linear(ticks, left, left + plotWidth);
  const body: string[] = [];
  let y = TOP;
  for (const group of groups) {
    body.push(text(MARGIN, y + 18, group.name, `class="group"`));
    y += BAR.groupHeight;
    for (const { name, value, kind } of group.bars) {
      const width = fixed(scale(value) - left);
      body.push(text(left - 8, y + 12, name, `text-anchor="end"`));
      body.push(
        `<rect class="bar" x="${left}" y="${y}" width="${width}" height="${BAR.height}" fill="${colour(kinds.indexOf(kind))}"/>`,
        text(scale(value) + 6, y + 11, short(value), `class="small"`),
      );
      y += BAR.pitch;
    }
  }
  const grid = ticks.flatMap((tick) => [
    `<path d="M${fixed(scale(tick))} ${TOP}V${y}" stroke="#d0d7de"/>`,
    text(scale(tick), y + 18, short(tick), `class="small" text-anchor="middle"`),
  ]);
  const marks =
    mark === undefined
      ? []
      : [
          `<path d="M${fixed(scale(mark.value))} ${TOP}V${y}" stroke="#1f2328" stroke-dasharray="4 3"/>`,
          text(scale(mark.value) + 5, TOP + 12, mark.name, `class="small"`),
        ];
  const axisName = text(left + plotWidth / 2, y + 38, axis, `text-anchor="middle"`);
  return frame(title, y + BOTTOM, [...legend(kinds), ...grid, ...body, ...marks, axisName]);
}

/** Lines over numbers, from 0 up. */
export function renderLines({ title, xAxis, yAxis, isXLog = false, lines }: LinePlot): string {
  const points = lines.flatMap((line) => line.points);
  const [right, bottom] = [WIDTH - MARGIN - LINE.right, TOP + LINE.height];
  const left = MARGIN + LINE.left;
  const yTicks = ticksUpTo(Math.max(...points.map(([, y]) => y)));
  const yOf = linear(yTicks, bottom, TOP);
  const xs = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  const xTicks = isXLog ? xs : ticksUpTo(Math.max(...xs));
  const xOf = isXLog ? logarithmic(xs, left, right) : linear(xTicks, left, right);
  const grid = [
    ...yTicks.flatMap((tick) => [
      `<path d="M${left} ${fixed(yOf(tick))}H${right}" stroke="#d0d7de"/>`,
      text(left - 8, yOf(tick) + 4, short(tick), `class="small" text-anchor="end"`),
    ]),
    ...xTicks.map((tick) => text(xOf(tick), bottom + 18, short(tick), `class="small" text-anchor="middle"`)),
  ];
  const drawn = lines.flatMap(({ points: own }, index) => {
    const places = own.map(([x, y]) => `${fixed(xOf(x))},${fixed(yOf(y))}`);
    const [lastX, lastY] = own.at(-1) ?? [0, 0];
    return [
      `<polyline points="${places.join(" ")}" fill="none" stroke="${colour(index)}" stroke-width="2.5"/>`,
      ...own.map(([x, y]) => `<circle cx="${fixed(xOf(x))}" cy="${fixed(yOf(y))}" r="3.5" fill="${colour(index)}"/>`),
      text(xOf(lastX) + 9, yOf(lastY) + 4, short(lastY), `class="small"`),
    ];
  });
  const axes = [
    text((left + right) / 2, bottom + 38, xAxis, `text-anchor="middle"`),
    text(0, 0, yAxis, `text-anchor="middle" transform="translate(${MARGIN + 12} ${(TOP + bottom) / 2}) rotate(-90)"`),
  ];
  return frame(title, bottom + BOTTOM, [...legend(lines.map(({ name }) => name)), ...grid, ...drawn, ...axes]);
}

/**
 * Round numbers from 0 to just above the largest value, four to eight of them.
 *
 * @param largest above 0
 */
export function ticksUpTo(largest: number): number[] {
  const magnitude = 10 ** Math.floor(Math.log10(largest));
  const step =
    [0.2, 0.25, 0.5, 1, 2].map((factor) => factor * magnitude).find((size) => largest / size <= 7) ?? largest;
  // The products of decimal steps are a little off.
  return Array.from({ length: Math.ceil(largest / step) + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

type Scale = (value: number) => number;

function linear(ticks: readonly number[], from: number, to: number): Scale {
  const top = ticks.at(-1) ?? 1;
  return (value) => from + (value / top) * (to - from);
}

function logarithmic(xs: readonly number[], from: number, to: number): Scale {
  const [first, last] = [Math.log(xs[0] ?? 1), Math.log(xs.at(-1) ?? 1)];
  return (x) => from + ((Math.log(x) - first) / (last - first || 1)) * (to - from);
}

function frame(title: string, height: number, shapes: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(title)}">`,
    `  <style>${STYLE}</style>`,
    `  <rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `  ${text(MARGIN, 26, title, `class="title"`)}`,
    ...shapes.map((shape) => `  ${shape}`),
    "</svg>",
    "",
  ].join("\n");
}

function legend(names: readonly string[]): string[] {
  let x = MARGIN;
  return names.flatMap((name, index) => {
    const at = x;
    x += 36 + name.length * 7;
    return [`<rect x="${at}" y="38" width="12" height="12" fill="${colour(index)}"/>`, text(at + 18, 49, name)];
  });
}

function colour(index: number): string {
  return COLOURS[index % COLOURS.length] ?? "";
}

function text(x: number, y: number, words: string, attributes = ""): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}"${attributes === "" ? "" : ` ${attributes}`}>${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

function fixed(value: number): string {
  return String(Number(value.toFixed(2)));
}

/** Three digits are enough to read off; whole numbers stay whole. */
function short(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(3)));
}
