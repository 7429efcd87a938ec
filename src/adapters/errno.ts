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
  EFBIG: "too-large",
  ENOENT: "missing",
};

/** The `errno` name of a system error, or null when the value is none. */
export function errnoOf(error: unknown): string | null {
  if (!(error instanceof Error) || !("code" in error)) return null;
  return typeof error.code === "string" && /^E[A-Z0-9]+$/.test(error.code) ? error.code : null;
}

/**
 * Translates a system error. What is none is a bug, and is thrown on.
 *
 * @param step what was tried, as words that follow "cannot"
 */
export function toFault(error: unknown, step: string, path: string): Fault {
  const code = errnoOf(error);
  if (code === null) throw error;
  return { kind: KINDS[code] ?? "io", step, path, code };
}
