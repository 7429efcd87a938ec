import fc from "fast-check";
import { expect, it } from "vitest";
import { toRfc3339 } from "../../src/core/rfc3339.js";

it("writes every time as Date does", () => {
  fc.assert(
    fc.property(fc.integer({ min: -8.64e15, max: 8.64e15 }), (ms) => {
      expect(toRfc3339(ms)).toBe(new Date(ms).toISOString());
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: -62_167_219_200_000, max: 253_402_300_799_999 }), (ms) => {
      expect(toRfc3339(ms)).toBe(new Date(ms).toISOString());
    }),
  );
});

it("refuses what is no time", () => {
  expect(() => toRfc3339(Number.NaN)).toThrow(RangeError);
  expect(() => toRfc3339(8.64e15 + 1)).toThrow(RangeError);
});
