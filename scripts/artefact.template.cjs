#!/usr/bin/env node
// __TITLE__, in one file. The licences of what is in it stand at its end.
"use strict";

/** Where in the unpacked text each part begins and ends. */
const PLACES = new Map(__PLACES__);
const loaded = new Map();
let unpacked = null;

/** What the program gets for `require`: parts of this file, which only some runs need, or what Node has. */
function requirePart(name) {
  const place = PLACES.get(name);
  if (place === undefined) return require(name);
  if (!loaded.has(name)) loaded.set(name, load(name, place));
  return loaded.get(name);
}

function load(name, [start, end]) {
  unpacked ??= unpack();
  const Module = require("node:module");
  // The name is for stack traces: there is no such file.
  const filename = `${__filename}/${name.slice(2)}`;
  const part = new Module(filename, module);
  // Node's own way: what node:vm compiles can import nothing on Node 20 without a warning.
  part._compile(unpacked.latin1Slice(start, end), filename);
  return part.exports;
}

function unpack() {
  try {
    const bytes = require("node:zlib").brotliDecompressSync(Buffer.from(packed(), "base64"));
    if (bytes.length === __LENGTH__) return bytes;
    return end(`${__filename} is damaged: install it again`);
  } catch (error) {
    // Nothing is on its way yet: a refresh needs a part of what did not unpack.
    return end(`${__filename} is damaged (${error.code}): install it again`);
  }
}

/** Node itself would end with 1, which a start script would read as "nothing to do". */
function end(problem) {
  process.stderr.write(`codex-auth-watchdog: ${problem}\n`);
  process.exit(70);
}

try {
  // biome-ignore lint/correctness/noUnusedFunctionParameters: what is put in here uses it
  ((require) => {
    __PROGRAM__;
  })(requirePart);
} catch (error) {
  end(`cannot start (${error.code ?? error.name}): it needs Node __NODE__`);
}

function packed() {
  return __PACKED__;
}
