/** What the operating system refused. Adapters translate `errno` to one of these at the door. */
export type FaultKind =
  | "disk-full"
  | "read-only"
  | "permission"
  | "busy-mount"
  | "too-many-open-files"
  | "wrong-file-type"
  | "not-a-directory"
  | "too-large"
  | "file-size-limit"
  | "missing"
  | "address-in-use"
  | "bad-address"
  | "io";

/** A failed step: what was tried, where, and what the machine said. */
export interface Fault {
  readonly kind: FaultKind;
  /** The step that failed, as words that follow "cannot": `read`, `create the lock in`. */
  readonly step: string;
  readonly path: string;
  /** A short machine word such as `ENOSPC`, for those who look it up. Never text from a file. */
  readonly code: string;
}

const CURES: Readonly<Record<FaultKind, string>> = {
  "disk-full": "free some space",
  "read-only": "mount it writable",
  permission: "give this user the right to read and write there",
  "busy-mount": "mount the directory instead of the single file",
  "too-many-open-files": "raise the limit on open files",
  "wrong-file-type": "put a regular file there",
  "not-a-directory": "CODEX_HOME must be a directory",
  "too-large": "restore a real auth.json there",
  "file-size-limit": "raise the limit on file sizes (ulimit -f)",
  missing: "create it",
  "address-in-use": "choose another port, or end what listens there",
  "bad-address": "choose an address of this machine",
  io: "check the disk",
};

/** One line for people: what is wrong, where, what to do. */
export function describeFault(fault: Fault): string {
  return `cannot ${fault.step} ${fault.path} (${fault.code}): ${CURES[fault.kind]}`;
}

/** The same for a file that can't be read, in words that follow its name. */
export function describeUnreadable(fault: Fault): string {
  return `cannot be read (${fault.code}): ${CURES[fault.kind]}`;
}
