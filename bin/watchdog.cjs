#!/usr/bin/env node
const { readFileSync } = require("node:fs");
const { Script } = require("node:vm");

const DIST = `${__dirname}/../dist/`;

/**
 * What `npm run build` has let V8 keep of its work, for one version of V8: compiled code, a third of a run's time. Without
 * it everything runs as well, later by a few milliseconds.
 */
const CACHE = `${DIST}cache/${process.versions.v8}-${process.arch}/`;

const loaded = new Map();

/** Loads a bundle, once, and for it the others that it asks for. */
function load(name) {
  const known = loaded.get(name);
  if (known !== undefined) return known.exports;
  const filename = DIST + name;
  const code = readBundle(filename);
  const script = new Script(`(function(exports,require,module,__filename,__dirname){${code}\n})`, {
    filename: `codex-auth-watchdog/dist/${name}`, // For the lines of a bug report: where it lies is nobody's business.
    cachedData: readCache(code),
  });
  const module = { exports: {} };
  loaded.set(name, module);
  const loadNext = (id) => (id.startsWith("./") ? load(id.slice(2)) : require(id));
  script.runInThisContext().call(module.exports, module.exports, loadNext, module, filename, DIST);
  return module.exports;
}

/** The bundles are ASCII. What is missing is named in the error, for whoever tells of it. */
function readBundle(filename) {
  try {
    return readFileSync(filename, "latin1");
  } catch (error) {
    throw Object.assign(error, { bundle: filename.slice(__dirname.length + "/../".length) });
  }
}

/**
 * By the hash of the code, with which each bundle begins: another code's cache would run as that. It is kept twice in its
 * file, because V8 looks at its length alone: of 60 single bits turned over 15 ended the program, and one made it lie.
 */
function readCache(code) {
  try {
    const twice = readFileSync(CACHE + code.slice(2, 16));
    const [once, again] = [twice.subarray(0, twice.length / 2), twice.subarray(twice.length / 2)];
    return once.equals(again) ? once : undefined;
  } catch {
    return undefined;
  }
}

try {
  load("watchdog.cjs");
} catch (error) {
  // Node itself ends with 1 when it cannot load a program, which a start script would read as "nothing to do".
  process.stderr.write(
    `codex-auth-watchdog: cannot load ${error.bundle ?? "dist/watchdog.cjs"} (${error.code}): build it, or install it again\n`,
  );
  process.exit(70);
}
