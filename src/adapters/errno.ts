import type { Fault, FaultKind } from "../core/fault.js";

const KINDS: Readonly<Record<string, FaultKind>> = {
  ENOSPC: "disk-full",
  EDQUOT: "disk-full",
  EROFS: "read-only",
  EACCES: "permission",
  EPERM: "permission",
  EBUSY: "busy-mount",
  EMFILE: "too-many-open-files",
  ENFILE: "too-many-open-files",
  EISDIR: "wrong-file-type",
  ENOTDIR: "not-a-directory",
  ENXIO: "wrong-file-type",
  ELOOP: "wrong-file-type",
  EFBIG: "file-size-limit",
  ENOENT: "missing",
  EADDRINUSE: "address-in-use",
  EADDRNOTAVAIL: "bad-address",
  ENOTFOUND: "bad-address",
};

/**
 * The `errno` name of a system error, or null when the value is none.
 *
 * libuv has no name for some of them, a full quota (EDQUOT) among them: those have a number alone.
 */
export function errnoOf(error: unknown): string | null {
  if (!(error instanceof Error) || !("code" in error)) return null;
  if (typeof error.code === "string" && /^E[A-Z0-9]+$/.test(error.code)) return error.code;
  if (!("errno" in error) || typeof error.errno !== "number") return null;
  const number = -error.errno;
  const { errno } = process.getBuiltinModule("node:os").constants;
  return Object.entries(errno).find(([, value]) => value === number)?.[0] ?? `E${number}`;
}

/** The part of the program that was to be loaded and is not there, as bin/watchdog.cjs names it; null for other errors. */
export function missingBundle(error: unknown): string | null {
  const { bundle } = Object(error) as { bundle?: unknown };
  return errnoOf(error) === "ENOENT" && typeof bundle === "string" ? bundle : null;
}

/**
 * Translates a system error. What is none is a bug, and is thrown on.
 *
 * @param step what was tried, as words that follow "cannot"
 */
export function toFault(error: unknown, step: string, path: string): Fault {
  const code = errnoOf(error);
  if (code === null) throw error;
  const bundle = missingBundle(error);
  if (bundle !== null) return { kind: "not-installed", step: "load", path: bundle, code };
  return { kind: KINDS[code] ?? "io", step, path, code };
}
