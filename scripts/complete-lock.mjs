// Completes package-lock.json after an `npm install` against a registry that lacks the packages for other platforms
// (`npm ci` then refuses the lock: "Missing: @rollup/rollup-darwin-x64@ from lock file"). Each optional package that
// the lock names but does not describe gets the entry that npm would have written, without its checksum.
import { readFileSync, writeFileSync } from "node:fs";

const SYSTEMS = new Set(["android", "darwin", "freebsd", "linux", "openbsd", "openharmony", "win32"]);
const path = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(path, "utf8"));

const added = [];
for (const [owner, { optionalDependencies = {}, dev }] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies)) {
    if (!isDescribed(owner, name)) {
      lock.packages[`node_modules/${name}`] = { version, ...(dev ? { dev } : {}), optional: true, ...platformOf(name) };
      added.push(name);
    }
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added.length} entries added to package-lock.json\n`);

/** Whether the lock describes a package at a place where its owner would find it. */
function isDescribed(owner, name) {
  for (let folder = owner; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/node_modules/")))) {
    if (lock.packages[folder === "" ? `node_modules/${name}` : `${folder}/node_modules/${name}`]) return true;
    if (folder === "") return false;
  }
}

/** Reads `@rollup/rollup-linux-arm64-musl` as npm reads that package's `os`, `cpu` and `libc`. */
function platformOf(name) {
  const words = name.split(/[/-]/);
  const at = words.findIndex((word) => SYSTEMS.has(word));
  if (at === -1) throw new Error(`no platform in the name ${name}`);
  const [os, cpu = "", abi = ""] = words.slice(at);
  const libc = abi.startsWith("musl") ? "musl" : abi.startsWith("gnu") && os === "linux" ? "glibc" : null;
  return { cpu: [cpu], ...(libc ? { libc: [libc] } : {}), os: [os] };
}
