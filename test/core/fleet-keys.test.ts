import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readKeys } from "../../src/core/fleet-keys.js";
import { check } from "../support/property.js";

const KEY = "_-3qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo";

function read(text: string): string[] | string {
  const keys = readKeys(text);
  return keys.kind === "keys" ? keys.keys.map(({ text: key }) => key.reveal()) : keys.problem;
}

describe("keys", () => {
  it.each([
    [KEY, [KEY]],
    [`${KEY}\n`, [KEY]],
    [`\r\n# the new one\r\n  ${KEY}  \r\n\r\n`, [KEY]],
    [`${KEY}=`, [KEY]],
    [KEY.replace("_", "/").replace("-", "+"), [KEY]],
    [`${KEY}\n${"A".repeat(43)}`, [KEY, "A".repeat(43)]],
  ])("%j are read", (text, keys) => {
    expect(read(text)).toEqual(keys);
  });

  it.each([
    ["", "holds no key"],
    ["# nothing\n", "holds no key"],
    ["short", "line 1 is no key"],
    [`${KEY}A`, "line 1 is no key"],
    [`${KEY}\n\nnot a key`, "line 3 is no key"],
    [`${KEY.slice(0, -1)}p`, "line 1 is no key"], // The last letter says more than 32 bytes can.
    [KEY.slice(1), "line 1 is no key"],
    [`${KEY} ${KEY}`, "line 1 is no key"],
  ])("%j are none, and nothing of it is repeated", (text, problem) => {
    const said = read(text);
    expect(said).toMatch(new RegExp(`^${problem}: .*store make-key`));
    if (text.length > 11) expect(said).not.toContain(text.slice(0, 11));
  });

  it("of any 32 bytes are read back", () => {
    check(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        expect(read(Buffer.from(bytes).toString("base64"))).toEqual([Buffer.from(bytes).toString("base64url")]);
      }),
    );
  });

  it("don't print themselves", () => {
    const text = randomBytes(32).toString("base64url");
    const keys = readKeys(text);
    expect(`${JSON.stringify(keys)}${inspect(keys, { depth: 9 })}`).not.toContain(text.slice(0, 12));
  });
});
