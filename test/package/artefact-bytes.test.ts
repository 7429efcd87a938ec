import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ARTEFACT, buildElsewhere, makeArtefact, NOTICES, SBOM } from "../support/artefact.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

let folder: string;
let made: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "watchdog-bytes-"));
  made = await makeArtefact(join(folder, "made"));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

it("are three files, of which one can be run", () => {
  expect(new Set(readdirSync(made))).toEqual(new Set([ARTEFACT, NOTICES, SBOM]));
  expect(statSync(join(made, ARTEFACT)).mode & 0o777).toBe(0o755);
});

it("has the same bytes when it is built again, elsewhere, in another zone and language", async () => {
  const copy = join(folder, "elsewhere", "checkout");
  const again = join(folder, "again");

  await buildElsewhere(copy, bundledPlaces());
  await makeArtefact(again, { checkout: copy, env: { TZ: "Asia/Tokyo", LC_ALL: "cs_CZ.UTF-8" } });

  for (const name of [ARTEFACT, NOTICES, SBOM]) {
    expect(readFileSync(join(again, name)).equals(readFileSync(join(made, name))), name).toBe(true);
  }
});

it("names no path of the machine that built it, and no token", () => {
  for (const name of [ARTEFACT, NOTICES, SBOM]) {
    const text = readFileSync(join(made, name), "utf8");
    expect(text.includes(ROOT), name).toBe(false);
    expect(text.match(/eyJ[\w-]{17,}\.|\brt_[\w-]{17,}/g), name).toBeNull();
  }
});

it("has the code of every run as it is in dist/, and every notice", () => {
  const text = readFileSync(join(made, ARTEFACT), "utf8");
  const [, comment = ""] = text.split("\n/*!\n");

  expect(text).toContain(readFileSync(join(ROOT, "dist/watchdog.cjs"), "utf8"));
  const written = comment.replace(/\\u([0-9a-f]{4})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  expect(written).toContain(readFileSync(join(ROOT, "LICENSE"), "utf8"));
  expect(written).toContain(readFileSync(join(made, NOTICES), "utf8"));
  expect(written).toContain("\u00a9"); // One that is not ASCII has come through.
});

/** Where the packages lie that the program consists of, as the notices tell them apart. */
function bundledPlaces(): string[] {
  const names = [...readFileSync(join(made, NOTICES), "utf8").matchAll(/^(\S+) \d[\w.-]* \([\w.-]+\)$/gm)];
  return names.map(([, name = ""]) => join("node_modules", name)).filter((place) => existsSync(join(ROOT, place)));
}
