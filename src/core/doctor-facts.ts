import type { Reading } from "./credential.js";
import type { Fault } from "./fault.js";
import type { DaemonState } from "./health.js";
import type { HolderLife, Ticket } from "./ticket.js";

/** What is behind a name. */
export type FileKind = "file" | "directory" | "other";

/** A file or directory, and whose it is. */
export interface Owned {
  readonly path: string;
  readonly uid: number;
  /** The permission bits. */
  readonly mode: number;
}

export interface FileFacts extends Owned {
  readonly kind: FileKind;
  readonly linkCount: number;
  readonly changedAtMs: number;
  readonly isMountPoint: boolean;
  /** The same for two homes only if they share the file and what lies beside it. */
  readonly id: string;
}

export interface DirectoryFacts extends Owned {
  /** The type, as the mount table has it. */
  readonly fileSystem: string | null;
  readonly freeBytes: number | null;
}

/** A process, by the kernel's name for it: its arguments could hold anything. */
export interface ProcessFacts {
  readonly pid: number;
  /** Null when it has ended. */
  readonly command: string | null;
}

export interface CodexFacts extends ProcessFacts {
  readonly startedAtMs: number;
  /** Of the package that its program lies in; null when it lies in none. */
  readonly version: string | null;
  /** The variables in its environment that make Codex bypass auth.json. */
  readonly overrides: readonly string[];
}

export interface CodexLockFacts extends Owned {
  readonly kind: FileKind;
  readonly holders: readonly ProcessFacts[];
}

/** Our own lock: `holder` is for people, `untouchedMs` how long ago it was last touched. */
export interface OwnLockFacts {
  readonly holder: string;
  readonly life: HolderLife;
  readonly isStale: boolean;
  readonly untouchedMs: number;
}

/** What was seen of one CODEX_HOME. What could not be looked at is null or empty, and `reading` says why. */
export interface HomeFacts {
  readonly codexHome: string;
  readonly kind: "directory" | "missing" | "not-a-directory";
  /** The owner of the directory above, when auth.json lies in CODEX_HOME itself. */
  readonly parentUid: number | null;
  /** auth.json behind all symbolic links, whether it is there or not. */
  readonly path: string;
  readonly reading: Reading;
  /** `cli_auth_credentials_store` of config.toml. */
  readonly storeSetting: string;
  /** Where auth.json points, when it is a symbolic link. */
  readonly linkTarget: string | null;
  readonly file: FileFacts | null;
  /** Where `path` lies. */
  readonly directory: DirectoryFacts | null;
  /** What stands in the way of a save by this user. */
  readonly faults: readonly Fault[];
  readonly tickets: readonly Ticket[];
  readonly setAside: readonly string[];
  readonly codexLocks: readonly CodexLockFacts[];
  readonly ownLock: OwnLockFacts | null;
  /** The Codex processes that work with this home. */
  readonly codexes: readonly CodexFacts[];
  readonly loop: DaemonState;
  /** When a watchdog looked last, milliseconds since 1970; null when none has told so. */
  readonly lookedAtMs: number | null;
  /** What the login is a copy of, for people; null where it is the home's own. */
  readonly followed: string | null;
}

/** What was seen of the machine, and of the environment that a watchdog started here would have. */
export interface MachineFacts {
  /** The effective user; null on systems without. */
  readonly uid: number | null;
  readonly hasFlock: boolean;
  /** The codex command of the PATH; null when there is none, or it lies in no package. */
  readonly codex: { readonly path: string; readonly version: string } | null;
  /** Variables that are set and make Codex bypass auth.json. */
  readonly overrides: readonly string[];
  readonly caProblem: { readonly variable: string; readonly problem: string } | null;
  /** Variables that should hold a proxy's URL, and don't. */
  readonly brokenProxies: readonly string[];
  /** Where refresh tokens are sent instead of to OpenAI: scheme, host and port. */
  readonly endpointOrigin: string | null;
}
