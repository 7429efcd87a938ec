import { createHash } from "node:crypto";
import { inspect } from "node:util";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeFault, describeUnreadable, type FaultKind } from "../../src/core/fault.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { isObject, parseObject } from "../../src/core/json.js";
import { isLoopbackHost } from "../../src/core/loopback.js";
import { Secret } from "../../src/core/secret.js";
import { check } from "../support/property.js";

describe("a secret", () => {
  const secret = new Secret("rt_do-not-show-this");

  it("prints itself nowhere", () => {
    const shown = [`${secret}`, JSON.stringify({ secret }), inspect({ secret }), inspect(secret, { showHidden: true })];
    expect(shown.join("\n")).not.toContain("do-not");
    expect(Object.keys(secret)).toEqual([]);
    expect(structuredClone({ ...secret })).toEqual({});
  });

  it("gives its text on request, and knows its equals", () => {
    expect(secret.reveal()).toBe("rt_do-not-show-this");
    expect(secret.equals(new Secret("rt_do-not-show-this"))).toBe(true);
    expect(secret.equals(new Secret("[secret]"))).toBe(false);
  });
});

it("a fingerprint is the token's SHA-256", () => {
  check(
    fc.property(fc.string({ unit: "binary" }), (token) => {
      expect(fingerprint(new Secret(token))).toBe(createHash("sha256").update(token, "utf8").digest("hex"));
    }),
  );
  expect(fingerprint(new Secret(""))).toMatch(/^[0-9a-f]{64}$/);
});

describe("a fault", () => {
  const KINDS: readonly FaultKind[] = [
    ...(["disk-full", "read-only", "permission", "busy-mount", "too-many-open-files"] as const),
    ...(["wrong-file-type", "too-large", "file-size-limit", "missing", "io"] as const),
  ];

  it.each(KINDS)("%s is told in one line, with its cure", (kind) => {
    const fault = { kind, step: "replace", path: "/home/a/auth.json", code: "EXXX" };
    expect(describeFault(fault)).toMatch(/^cannot replace \/home\/a\/auth\.json \(EXXX\): \w.+$/);
    expect(describeUnreadable(fault)).toMatch(/^cannot be read \(EXXX\): \w.+$/);
  });
});

describe("JSON", () => {
  it("is an object, or nothing", () => {
    expect(parseObject('{"a":1}')).toEqual({ a: 1 });
    for (const text of ["", "[]", "null", "7", '"a"', "{", "{'a':1}"]) expect(parseObject(text)).toBeNull();
    expect([{}, [], null, 7, "a", undefined].map(isObject)).toEqual([true, false, false, false, false, false]);
  });

  it("never throws", () => {
    check(
      fc.property(fc.string(), (text) => {
        parseObject(text);
      }),
    );
  });
});

describe("loopback", () => {
  const hostOf = (url: string): string => new URL(url).hostname;

  it.each([
    "http://localhost",
    "http://LOCALHOST:1",
    "http://127.0.0.1",
    "http://127.9.8.7",
    "http://[::1]",
    "http://127.1",
    "http://2130706433",
  ])("is %s", (url) => {
    expect(isLoopbackHost(hostOf(url))).toBe(true);
  });

  it.each([
    "http://example.com",
    "http://localhost.example.com",
    "http://127.0.0.1.example.com",
    "http://128.0.0.1",
    "http://0.0.0.0",
    "http://[::2]",
    "http://notlocalhost",
    "http://10.0.0.1",
  ])("is not %s", (url) => {
    expect(isLoopbackHost(hostOf(url))).toBe(false);
  });
});
