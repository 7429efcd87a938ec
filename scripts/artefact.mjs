// Makes one file of what `npm run build` has put into dist/, for a machine with nothing but Node, and says what is in it.
// Usage: node scripts/artefact.mjs [OUTDIR], by default artefact/. The same sources give the same bytes.
import { isAscii } from "node:buffer";
import { createHash } from "node:crypto";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync, constants, createBrotliCompress } from "node:zlib";
import { readNotices } from "./notices.mjs";
import { makeSbom } from "./sbom.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = resolve(process.argv[2] ?? join(root, "artefact"));
const EVERY_RUN = "watchdog.cjs";

const read = async (path) => await readFile(join(root, path), "utf8");
const manifest = JSON.parse(await read("package.json"));
const notices = await read("dist/THIRD_PARTY_LICENSES.txt");
const file = await makeFile();
const sha256 = createHash("sha256").update(file).digest("hex");
const sbom = makeSbom(manifest, JSON.parse(await read("package-lock.json")), readNotices(notices), sha256);

const path = join(out, `${manifest.name}.cjs`);
try {
  await mkdir(out, { recursive: true });
  await writeFile(path, file);
  await chmod(path, 0o755); // Whatever the umask is.
  await writeFile(join(out, "THIRD_PARTY_LICENSES.txt"), notices);
  await writeFile(join(out, "sbom.cdx.json"), `${JSON.stringify(sbom, null, 2)}\n`);
  process.stdout.write(`${sha256}  ${path}\n`);
} catch (error) {
  process.stderr.write(`artefact: cannot write in ${out} (${error.code}): name another folder, or make room there\n`);
  process.exitCode = 1;
}

/** What every run needs stands in the file as it is, the rest packed: the parts share most of their code. */
async function makeFile() {
  const license = await read("LICENSE");
  const { places, packed } = await pack(await readLazyParts());
  const filled = {
    __TITLE__: `${manifest.name} ${manifest.version}`,
    __PLACES__: JSON.stringify(places),
    __PROGRAM__: await readPart(EVERY_RUN),
    __NODE__: manifest.engines.node,
    __PACKED__: JSON.stringify(packed.toString("base64")),
  };
  const template = await read("scripts/artefact.template.cjs");
  const code = template.replace(/__[A-Z]+__/g, (word) => filled[word]);
  return `${code}\n/*!\n${toComment(`${license}\n${"-".repeat(80)}\n\n${notices}`)}*/\n`;
}

/** The small ones first: who wants a part has to unpack all that stands before it. */
async function readLazyParts() {
  const names = (await readdir(join(root, "dist"))).filter((name) => name.endsWith(".cjs") && name !== EVERY_RUN);
  const parts = await Promise.all(names.map(async (name) => ({ name, text: await readPart(name) })));
  return parts.sort((one, other) => one.text.length - other.text.length || (one.name < other.name ? -1 : 1));
}

async function readPart(name) {
  const text = await read(join("dist", name));
  // The places count characters; and of a file with a single other one V8 keeps two bytes for each.
  if (!isAscii(Buffer.from(text))) throw new Error(`${name} is not ASCII`);
  if (/\b__dirname\b|\bimport\.meta\b|\brequire\.resolve\b/.test(text))
    throw new Error(`${name} may read a file beside it`);
  return text;
}

/** One stream, in which what several parts have a copy of is stored once, and which can be read up to each part's end. */
async function pack(parts) {
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS, // As far back as the copies lie.
  };
  const stream = createBrotliCompress({ params });
  const pieces = [];
  stream.on("data", (piece) => pieces.push(piece));
  const places = [];
  let start = 0;
  for (const { name, text } of parts) {
    stream.write(text);
    await new Promise((resolve) => stream.flush(resolve));
    places.push([`./${name}`, [start, text.length, Buffer.concat(pieces).length]]);
    start += text.length;
  }
  const packed = Buffer.concat(pieces);
  for (const [index, [name, [from, length, end]]] of places.entries()) {
    const bytes = brotliDecompressSync(packed.subarray(0, end), { finishFlush: constants.BROTLI_OPERATION_FLUSH });
    if (bytes.length !== from + length || !bytes.toString().endsWith(parts[index].text))
      throw new Error(`${name} is lost`);
  }
  return { places, packed };
}

/** ASCII, for the same reason, without the end of a comment; both as JavaScript would write them in a string. */
function toComment(text) {
  const spell = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return text.replace(/[\u0080-\uffff]|(?<=\*)\//g, spell);
}
