#!/usr/bin/env node
// __TITLE__, in one file. The licences of what is in it stand at its end.
"use strict";

/** Of each part: where it begins and ends when it is unpacked, and how much of what is packed leads up to its end. */
const PLACES = new Map(__PLACES__);
const loaded = new Map();

/** What the program gets for `require`: parts of this file, which only some runs need, or what Node has. */
function requirePart(name) {
  const place = PLACES.get(name);
  if (place === undefined) return require(name);
  if (!loaded.has(name)) loaded.set(name, load(name, place));
  return loaded.get(name);
}

function load(name, place) {
  const Module = require("node:module");
  // The name is for stack traces: there is no such file.
  const filename = `${__filename}/${name.slice(2)}`;
  const part = new Module(filename, module);
  part.require = requirePart; // For the parts that ask for others.
  // Node's own way: what node:vm compiles can import nothing on Node 20 without a warning.
  part._compile(unpack(place), filename);
  return part.exports;
}

/** Ends the program when it can't. That stops no refresh: what one may ask for later is packed before its first part. */
function unpack([start, length, packedLength]) {
  const { brotliDecompressSync, constants } = require("node:zlib");
  try {
    const bytes = brotliDecompressSync(Buffer.from(packed(), "base64").subarray(0, packedLength), {
      finishFlush: constants.BROTLI_OPERATION_FLUSH, // It goes on behind this part.
      chunkSize: Math.max(start + length, constants.Z_MIN_CHUNK), // One piece: many small ones take twice as long.
    });
    if (bytes.length === start + length) return bytes.latin1Slice(start);
    return end(`${__filename} is damaged: install it again`);
  } catch (error) {
    return end(`${__filename} is damaged (${error.code}): install it again`);
  }
}

/** Node itself would end with 1, which a start script would read as "nothing to do". */
function end(problem) {
  process.stderr.write(`codex-auth-watchdog: ${problem}\n`);
  process.exit(70);
}

try {
  // biome-ignore lint/correctness/noUnusedFunctionParameters: the program, which scripts/artefact.mjs puts in here, calls it
  ((require) => {
    __PROGRAM__;
  })(requirePart);
} catch (error) {
  end(`cannot start (${error.code ?? error.name}): it needs Node __NODE__`);
}

function packed() {
  return __PACKED__;
}
