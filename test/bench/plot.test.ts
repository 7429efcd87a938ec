import { describe, expect, it } from "vitest";
import { type Bar, renderBars, renderLines, ticksUpTo } from "../../bench/plot.js";

const bars = (...values: readonly number[]): string => {
  const list = values.map(
    (value, index): Bar => ({ name: `row ${index}`, value, kind: index === 0 ? "ours" : "bare" }),
  );
  return renderBars({ title: "A & B", axis: "time, ms", groups: [{ name: "first", bars: list }] });
};

const attribute = (name: string, tag: string): number => Number(new RegExp(` ${name}="([^"]*)"`).exec(tag)?.[1]);

const widthsOf = (svg: string): number[] =>
  [...svg.matchAll(/<rect class="bar"[^>]*>/g)].map(([tag]) => attribute("width", tag));

const circlesOf = (svg: string): (readonly [x: number, y: number])[] =>
  [...svg.matchAll(/<circle[^>]*>/g)].map(([tag]) => [attribute("cx", tag), attribute("cy", tag)]);

const lines = (points: readonly (readonly [number, number])[], isXLog = false): string =>
  renderLines({ title: "T", xAxis: "processes", yAxis: "time, s", isXLog, lines: [{ name: "one", points }] });

/** Each tag is closed by its own name, in turn, and nothing that would need escaping is left between them. */
function findFault(svg: string): string | null {
  const open: string[] = [];
  const rest = svg.replace(
    /<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g,
    (_tag, end, name, _attributes, single) => {
      if (end === "/") return open.pop() === name ? "" : `<${name} is not open>`;
      if (single === "") open.push(String(name));
      return "";
    },
  );
  if (open.length > 0) return `${open.join(", ")} not closed`;
  return /[<>]|&(?!amp;|lt;|gt;|quot;)/.exec(rest + svg.replace(/[<>]/g, ""))?.[0] ?? null;
}

describe("a plot", () => {
  it("is well-formed, whatever the names are", () => {
    for (const svg of [
      bars(1, 2),
      lines([
        [1, 2],
        [3, 4],
      ]),
    ])
      expect(findFault(svg)).toBeNull();
    expect(
      findFault(
        renderBars({ title: '<"&>', axis: "<", groups: [{ name: "&", bars: [{ name: "<b>", value: 1, kind: "<" }] }] }),
      ),
    ).toBeNull();
    expect(findFault("<svg><g></svg>")).not.toBeNull();
    expect(findFault("<svg>a & b</svg>")).not.toBeNull();
  });

  it("has a white ground, a title, and its axes with their units", () => {
    const svg = lines([[1, 1]]);
    expect(svg).toMatch(/<rect width="760" height="\d+" fill="#ffffff"\/>/);
    for (const words of ["T", "processes", "time, s"]) expect(svg).toContain(`>${words}</text>`);
    expect(bars(1)).toContain(">time, ms</text>");
    expect(bars(1)).toContain(">A &amp; B</text>");
  });
});

describe("bars", () => {
  it("are twice as long for twice the value, also in different groups", () => {
    const [one = 0, two = 0, three = 0] = widthsOf(bars(1.1, 2.2, 0.55));
    expect(two / one).toBeCloseTo(2, 2);
    expect(one / three).toBeCloseTo(2, 2);
  });

  it("end before the values at the right edge do", () => {
    expect(Math.max(...widthsOf(bars(0.3, 7, 99.9)))).toBeLessThan(760 - 290 - 60);
  });

  it("are compared with a line at its own value", () => {
    const bar: Bar = { name: "one", value: 2, kind: "ours" };
    const mark = { value: 2, name: "bare" };
    const svg = renderBars({ title: "", axis: "", groups: [{ name: "", bars: [bar] }], mark });
    const markX = Number(/<path d="M([\d.]+) [^>]*stroke-dasharray/.exec(svg)?.[1]);
    const barTag = /<rect class="bar"[^>]*>/.exec(svg)?.[0] ?? "";
    expect(markX).toBeCloseTo(attribute("x", barTag) + attribute("width", barTag), 1);
  });
});

describe("lines", () => {
  it("rise by equal steps for equal differences", () => {
    const [a, b, c] = circlesOf(
      lines([
        [1, 10],
        [2, 20],
        [3, 30],
      ]),
    );
    expect((b?.[0] ?? 0) - (a?.[0] ?? 0)).toBeCloseTo((c?.[0] ?? 0) - (b?.[0] ?? 0), 1);
    expect((a?.[1] ?? 0) - (b?.[1] ?? 0)).toBeCloseTo((b?.[1] ?? 0) - (c?.[1] ?? 0), 1);
    expect(b?.[1]).toBeLessThan(a?.[1] ?? 0);
  });

  it("go right by equal steps for equal factors where that is asked for", () => {
    const xs = circlesOf(
      lines(
        [
          [1, 1],
          [10, 1],
          [100, 1],
        ],
        true,
      ),
    ).map(([x]) => x);
    expect((xs[1] ?? 0) - (xs[0] ?? 0)).toBeCloseTo((xs[2] ?? 0) - (xs[1] ?? 0), 1);
  });
});

it("ticks are round, begin at 0 and reach beyond the largest value", () => {
  expect(ticksUpTo(5.8)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(ticksUpTo(0.3)).toEqual([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]);
  for (const largest of [0.07, 1, 9.99, 70.1, 1234]) {
    const ticks = ticksUpTo(largest);
    expect(ticks.at(-1)).toBeGreaterThanOrEqual(largest);
    expect(ticks.length).toBeGreaterThan(3);
    expect(ticks.length).toBeLessThan(10);
  }
});
