// The bill of materials of the one-file artefact, as CycloneDX 1.6 has it.

/**
 * Says what the artefact consists of: no date and no chance in it, so that the same sources give the same text.
 *
 * @param {{ name: string, version: string, description: string, license: string }} manifest the program's package.json
 * @param {{ packages: Record<string, any> }} lock package-lock.json
 * @param {readonly { name: string, version: string, license: string }[]} bundled whose code is in the file
 * @param {string} sha256 the hash of the file, in hex
 */
export function makeSbom(manifest, lock, bundled, sha256) {
  const needs = followLock(manifest, lock, new Map(bundled.map((each) => [purlOf(each), each])));
  const components = bundled.map((each) => {
    const need = needs.get(purlOf(each));
    if (need === undefined) throw new Error(`package-lock.json does not lead to ${purlOf(each)}: run npm ci`);
    return describe("library", each, readIntegrity(lock.packages[need.place]));
  });
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      lifecycles: [{ phase: "build" }],
      component: {
        ...describe("application", manifest, { alg: "SHA-256", content: sha256 }),
        description: manifest.description,
      },
    },
    components: components.sort(by("purl")),
    dependencies: [...needs].map(([ref, { dependsOn }]) => ({ ref, dependsOn })).sort(by("ref")),
  };
}

/** From the program to everything bundled: where the lock has it, and what of the bundled it needs. */
function followLock(manifest, lock, bundled) {
  const needs = new Map();
  const follow = (ref, place) => {
    if (needs.has(ref)) return;
    const { dependencies, devDependencies, optionalDependencies, peerDependencies } = lock.packages[place];
    // Everything that is bundled is a development dependency: users install nothing of it.
    const wanted = { ...dependencies, ...devDependencies, ...optionalDependencies, ...peerDependencies };
    const found = new Map();
    for (const name of Object.keys(wanted)) {
      const path = findInLock(lock, place, name);
      const purl = path === null ? null : purlOf({ name, version: lock.packages[path].version });
      if (bundled.has(purl)) found.set(purl, path);
    }
    needs.set(ref, { place, dependsOn: [...found.keys()].sort(compare) });
    for (const [purl, path] of found) follow(purl, path);
  };
  follow(purlOf(manifest), "");
  return needs;
}

/** Where a package at `place` finds the one that it asks for by name: below itself, or further up. */
function findInLock(lock, place, name) {
  for (let folder = place; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/node_modules/")))) {
    const path = folder === "" ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (lock.packages[path] !== undefined) return path;
    if (folder === "") return null;
  }
}

function describe(type, each, hash) {
  const [, group, name] = /^(?:(@[^/]+)\/)?(.+)$/.exec(each.name) ?? [];
  return {
    type,
    "bom-ref": purlOf(each),
    ...(group === undefined ? {} : { group }),
    name,
    version: each.version,
    hashes: [hash],
    licenses: [{ license: { id: each.license } }],
    purl: purlOf(each),
  };
}

function purlOf({ name, version }) {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

/** npm's checksum of the package, in the form that CycloneDX has for it. */
function readIntegrity({ integrity = "" }) {
  const [, base64] = /^sha512-(\S+)$/.exec(integrity) ?? [];
  if (base64 === undefined) throw new Error(`no SHA-512 in package-lock.json: ${integrity}`);
  return { alg: "SHA-512", content: Buffer.from(base64, "base64").toString("hex") };
}

function by(field) {
  return (one, other) => compare(one[field], other[field]);
}

/** By code units: no locale changes it. */
function compare(one, other) {
  return one < other ? -1 : 1;
}
