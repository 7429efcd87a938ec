import { describe, expect, it } from "vitest";
import { median, mostWithin, quantile, table } from "../../bench/figures.js";

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1).reverse();

describe("a quantile", () => {
  it("is the nearest rank, whatever the order: the 99th percentile of 100 values is not their largest", () => {
    expect(quantile(upTo(100), 0.99)).toBe(99);
    expect(quantile(upTo(101), 0.99)).toBe(100);
    expect(quantile(upTo(100), 0.07)).toBe(7);
    expect(quantile(upTo(10), 1)).toBe(10);
  });

  it("of a half is the median, also of one value", () => {
    expect(median([30, 10, 20])).toBe(20);
    expect(median([5])).toBe(5);
  });

  it("of nothing is no number", () => {
    expect(quantile([], 0.5)).toBeNaN();
  });
});

describe("the most moments within a stretch", () => {
  it("are counted wherever it begins, its end left out", () => {
    expect(mostWithin([0, 900, 1_000, 1_100, 1_899, 1_900], 1_000)).toBe(4);
    expect(mostWithin([0, 1_000, 2_000], 1_000)).toBe(1);
    expect(mostWithin([], 1_000)).toBe(0);
  });
});

it("makes a table with its figures to the right", () => {
  expect(table(["", "ms"], [["fast", "1"]])).toBe("|      | ms |\n| ---- | -: |\n| fast |  1 |");
});
