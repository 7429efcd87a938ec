/** What the operating system or the database refused. Adapters translate `errno` to one of these at the door. */
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
  | "bad-key"
  | "database-away"
  | "not-installed"
  | "database-login"
  | "database-missing"
  | "database-role"
  | "database-no-role"
  | "database-schema"
  | "database-full"
  | "database-tls"
  | "database-read-only"
  | "database"
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
  "bad-key": "put a key there that store make-key has printed",
  "database-away": "check that PostgreSQL runs there and can be reached",
  "not-installed": "build it, or install codex-auth-watchdog again",
  "database-login": "check the user, and the password in PGPASSWORD or PGPASSFILE",
  "database-missing": "create that database, or correct --store",
  "database-role": "grant this role what it needs: codex-auth-watchdog store init prints it",
  "database-no-role": "create that role",
  "database-schema": "run codex-auth-watchdog store init",
  "database-full": "raise the server's max_connections, or put a connection pooler before it",
  "database-tls": "check sslmode and sslrootcert in --store, and the server's certificate",
  "database-read-only": "connect to the primary server",
  database: "see the database's log",
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
