import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ajv } from "ajv";
import addFormats from "ajv-formats";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ARTEFACT, makeArtefact, NOTICES, SBOM } from "../support/artefact.js";

interface Component {
  readonly "bom-ref": string;
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses: readonly { readonly license: { readonly id: string } }[];
}

interface Sbom {
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const LOCK = readJson("package-lock.json") as { packages: Record<string, { integrity?: string }> };
const MANIFEST = readJson("package.json") as Manifest;

let folder: string;
let places: readonly string[];
let sbom: Sbom;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "watchdog-sbom-"));
  await makeArtefact(folder);
  sbom = JSON.parse(readFileSync(join(folder, SBOM), "utf8")) as Sbom;
  places = await listBundled();
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

it("is CycloneDX 1.6", () => {
  const validate = cycloneDx();

  expect(validate(sbom), JSON.stringify(validate.errors)).toBe(true);
  expect(validate({ ...sbom, components: [{ type: "library" }] })).toBe(false);
  expect(sbom).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.6" });
  expect(sbom).not.toHaveProperty("serialNumber");
  expect(sbom.metadata).not.toHaveProperty("timestamp");
});

it("names this program, and the hash of its one file", () => {
  const content = createHash("sha256")
    .update(readFileSync(join(folder, ARTEFACT)))
    .digest("hex");

  expect(sbom.metadata.component).toMatchObject({
    type: "application",
    name: MANIFEST.name,
    version: MANIFEST.version,
    purl: `pkg:npm/${MANIFEST.name}@${MANIFEST.version}`,
    licenses: [{ license: { id: "MIT" } }],
    hashes: [{ alg: "SHA-256", content }],
  });
});

it("lists exactly the packages that the bundler puts in, with the checksums of package-lock.json", () => {
  const expected = places.map((place) => {
    const { name, version, license } = readJson(join(place, "package.json")) as Manifest;
    const integrity = LOCK.packages[place]?.integrity ?? "none";
    return { name, version, license, integrity };
  });

  const listed = sbom.components.map(({ group, name, version, licenses, hashes }) => ({
    name: group === undefined ? name : `${group}/${name}`,
    version,
    license: licenses.map(({ license }) => license.id).join(),
    integrity: hashes.map(({ content }) => `sha512-${Buffer.from(content, "hex").toString("base64")}`).join(),
  }));
  const byName = (all: typeof expected): Record<string, (typeof expected)[number]> =>
    Object.fromEntries(all.map((each) => [`${each.name}@${each.version}`, each]));
  expect(byName(listed)).toEqual(byName(expected));
  expect(listed).toHaveLength(expected.length);
  expect(listed.length).toBeGreaterThan(20);
  for (const { purl, group, name, version } of sbom.components) {
    expect(purl).toBe(`pkg:npm/${group === undefined ? "" : `%40${group.slice(1)}/`}${name}@${version}`);
  }
});

it("goes with every licence text", () => {
  const notices = readFileSync(join(folder, NOTICES), "utf8");

  expect(notices).toBe(readFileSync(join(ROOT, "dist", NOTICES), "utf8"));
  for (const place of places) {
    const { name, version, license } = readJson(join(place, "package.json")) as Manifest;
    const file = readdirSync(join(ROOT, place)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? "" : readFileSync(join(ROOT, place, file), "utf8").trim();
    expect(notices, name).toContain(`${name} ${version} (${license})\n\n${text}`);
  }
});

it("says who needs whom, from this program to each package", () => {
  const needs = new Map(sbom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  const reached = new Set<string>();
  const follow = (ref: string): void => {
    if (reached.has(ref)) return;
    reached.add(ref);
    for (const next of needs.get(ref) ?? ["a ref that is not there"]) follow(next);
  };
  follow(sbom.metadata.component["bom-ref"]);

  const refs = [sbom.metadata.component, ...sbom.components].map((each) => each["bom-ref"]);
  expect(reached).toEqual(new Set(refs));
  expect(new Set(needs.keys())).toEqual(reached);
  // Two versions of one package: each goes with the one that asks for it.
  const parentOf = (start: string): string[] =>
    [...needs].filter(([, all]) => all.some((ref) => ref.startsWith(start))).map(([ref]) => ref.replace(/@[^@]*$/, ""));
  expect(parentOf("pkg:npm/signal-exit@3.")).toEqual(["pkg:npm/proper-lockfile"]);
  expect(parentOf("pkg:npm/signal-exit@4.")).toEqual(["pkg:npm/write-file-atomic"]);
});

/** Where the packages lie that the program consists of: bundled here anew, whole, without scripts/build.mjs. */
async function listBundled(): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ["src/main.ts"],
    bundle: true,
    platform: "node",
    format: "cjs",
    mainFields: ["module", "main"],
    external: ["graceful-fs"], // scripts/build.mjs leaves it out.
    write: false,
    metafile: true,
    logLevel: "error",
  });
  const found = Object.keys(metafile.inputs).map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? "");
  return [...new Set(found)].filter((place) => place !== "");
}

function cycloneDx(): ReturnType<Ajv["compile"]> {
  const require = createRequire(import.meta.url);
  const manifest = require.resolve("@cyclonedx/cyclonedx-library/package.json");
  const schema = (name: string): object =>
    JSON.parse(readFileSync(join(dirname(manifest), "res/schema", `${name}.SNAPSHOT.schema.json`), "utf8")) as object;
  const ajv = new Ajv({ strict: false, validateFormats: true, formats: { "idn-email": true, "iri-reference": true } });
  addFormats.default(ajv);
  for (const name of ["spdx", "jsf-0.82"])
    ajv.addSchema(schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  return ajv.compile(schema("bom-1.6"));
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(join(ROOT, path), "utf8"));
}
