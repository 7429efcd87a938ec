import { isUtf8 } from "node:buffer";
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { type Reading, readCredential } from "../core/credential.js";
import { describeUnreadable, type Fault } from "../core/fault.js";
import { errnoOf, toFault } from "./errno.js";

/** More than any auth.json can sensibly hold, bytes; the largest that was tried is 5 MB. */
const MAX_BYTES = 16 * 1024 * 1024;

/** What a file holds: as bytes, null when they could not be had, and as what they say. */
export interface Content {
  readonly bytes: Buffer | null;
  readonly reading: Reading;
}

/** Reads auth.json; never throws for what lies there. */
export function readContent(path: string): Content {
  const unreadable = (fault: Fault): Content => ({
    bytes: null,
    reading: { kind: "unreadable", problem: describeUnreadable(fault) },
  });
  let descriptor: number | null = null;
  try {
    // O_NONBLOCK: a FIFO in the file's place must not hold us up.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(descriptor);
    const code = stats.isDirectory() ? "EISDIR" : "not a file";
    if (!stats.isFile()) return unreadable({ kind: "wrong-file-type", step: "read", path, code });
    if (stats.size > MAX_BYTES) return unreadable({ kind: "too-large", step: "read", path, code: "EFBIG" });
    const bytes = readFileSync(descriptor);
    const isText = isUtf8(bytes);
    return { bytes, reading: isText ? readCredential(bytes.toString("utf8")) : { kind: "torn", problem: NO_TEXT } };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return { bytes: null, reading: { kind: "absent" } };
    return unreadable(toFault(error, "read", path));
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}

const NO_TEXT = "is not UTF-8 text";
