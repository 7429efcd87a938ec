import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const SRC = fileURLToPath(new URL("../../src", import.meta.url));

interface Import {
  readonly names: string;
  readonly from: string;
}

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name));
}

/** Every module that a text imports, statically, lazily or for its types. */
function importsOf(text: string): Import[] {
  const code = withoutComments(text);
  const named = [...code.matchAll(/\b(?:import|export)\s+([^"';]*?)\s*from\s*["']([^"']+)["']/g)];
  const bare = [...code.matchAll(/\bimport\s*\(?\s*["']([^"']+)["']/g)];
  return [
    ...named.map(([, names = "", from = ""]) => ({ names, from })),
    ...bare.map(([, from = ""]) => ({ names: "", from })),
  ];
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

describe("src/core", () => {
  const isAllowed = ({ names, from }: Import): boolean => {
    if (/^\.\/[a-z0-9-]+\.js$/.test(from)) return true;
    if (from === "jose") return names.replace(/\s/g, "") === "{decodeJwt}";
    return from === "jsonc-parser" || from === "node:crypto";
  };

  it.each(sources(join(SRC, "core")).map((path) => relative(SRC, path)))("%s does no input or output", (name) => {
    const imports = importsOf(readFileSync(join(SRC, name), "utf8"));
    expect(imports.filter((each) => !isAllowed(each))).toEqual([]);
  });

  it.each(sources(join(SRC, "core")).map((path) => relative(SRC, path)))(
    "%s asks for no clock and no chance",
    (name) => {
      const code = withoutComments(readFileSync(join(SRC, name), "utf8"));
      expect(code).not.toMatch(/\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bperformance\.|\bprocess\.|\bconsole\./);
    },
  );
});

it("only main.ts reads the arguments and the environment", () => {
  const readers = sources(SRC).filter((path) =>
    /\bprocess\s*\.\s*(env|argv)\b/.test(withoutComments(readFileSync(path, "utf8"))),
  );
  expect(readers.map((path) => relative(SRC, path))).toEqual(["main.ts"]);
});

it("nobody imports env or argv from node:process", () => {
  const importers = sources(SRC).filter((path) =>
    importsOf(readFileSync(path, "utf8")).some(({ from }) => /^(node:)?process$/.test(from)),
  );
  expect(importers).toEqual([]);
});
