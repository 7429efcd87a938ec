import type { PostgresAddress } from "../adapters/postgres.js";
import { isLoopbackHost } from "../core/loopback.js";
import { Secret } from "../core/secret.js";
import type { CommandName } from "./option-table.js";
import { type Environment, type Flags, type Given, nonBlank, readDuration, UsageError } from "./options.js";

/** What a fleet's calls can be told. */
export interface FleetSettings {
  /** Null for a follower of an https address, and for commands that need no database. */
  readonly store: PostgresAddress | null;
  /** Which login of the store. */
  readonly credentialId: string;
  readonly ownerKey: SecretSource | null;
  readonly followerKey: SecretSource | null;
  readonly follow: FollowSettings;
  readonly isWithRefreshToken: boolean;
  readonly ownerRole: string | null;
  readonly followerRole: string | null;
  readonly isPrint: boolean;
}

export interface FollowSettings {
  /** Null for a follower of the store. */
  readonly from: URL | null;
  readonly bearer: SecretSource | null;
  readonly pollSec: number;
  readonly isTakeOver: boolean;
}

/** A secret, or the file that holds it. */
export type SecretSource =
  | { readonly kind: "text"; readonly text: Secret; readonly source: string }
  | { readonly kind: "file"; readonly path: string; readonly source: string };

/** A follower of the store looks at least this often, seconds, whatever becomes of the database's notices. */
const MAX_STORE_POLL_SEC = 30;

interface Call {
  readonly flags: Flags;
  readonly env: Environment;
  readonly find: (name: string) => Given | null;
}

export type ParsedFleet =
  | { readonly kind: "fleet"; readonly fleet: FleetSettings }
  | { readonly kind: "usage-error"; readonly message: string };

/** Reads what a fleet's call says. A value, because an error of this file's bundle is no other bundle's `UsageError`. */
export function parseFleetSettings(command: CommandName, call: Call): ParsedFleet {
  try {
    return { kind: "fleet", fleet: readFleetSettings(command, call) };
  } catch (error) {
    if (error instanceof UsageError) return { kind: "usage-error", message: error.message };
    throw error;
  }
}

function readFleetSettings(command: CommandName, { flags, env, find }: Call): FleetSettings {
  const from = readSourceUrl(find("--from"));
  const follow: FollowSettings = {
    from,
    bearer: readSecretSource(find("--bearer-file"), env, "CODEX_AUTH_FOLLOW_BEARER"),
    pollSec: readDuration(find("--poll"), 1),
    isTakeOver: flags.has("--take-over"),
  };
  const store = readStoreAddress(flags, find("--store"), env);
  const needsStore = command !== "store make-key" && !(command === "store init" && flags.has("--print"));
  if (needsStore && store === null && from === null) {
    const also = command === "follow" ? ", or --from (or CODEX_AUTH_FOLLOW_URL)" : "";
    throw new UsageError(`say where the login is stored: --store (or CODEX_AUTH_STORE)${also}`);
  }
  if (store !== null && flags.has("--store") && flags.has("--from")) {
    throw new UsageError("--store and --from: give one of them");
  }
  // A flag says more than a variable that is there for other processes too.
  const isFromWeb = from !== null && !flags.has("--store");
  if (command === "follow" && !isFromWeb && follow.pollSec > MAX_STORE_POLL_SEC) {
    throw new UsageError(`--poll: a follower of the store looks every ${MAX_STORE_POLL_SEC} s at least`);
  }
  if (command === "run" && find("--via") !== null) {
    throw new UsageError("--via codex refreshes a file: it can't be asked for a login in --store");
  }
  if (command === "run" && (flags.get("--codex-home")?.length ?? 0) > 1) {
    throw new UsageError("--codex-home: with --store there is one, for this host's journal and status");
  }
  const credentialId = find("--credential")?.text ?? "";
  if (!/^[\w.@-]{1,100}$/.test(credentialId)) {
    throw new UsageError("--credential: a name is 1 to 100 letters, digits, and _ . @ -");
  }
  return {
    store: command === "follow" && isFromWeb ? null : store,
    credentialId,
    ownerKey: readSecretSource(find("--owner-key-file"), env, "CODEX_AUTH_OWNER_KEY"),
    followerKey: readSecretSource(find("--follower-key-file"), env, "CODEX_AUTH_FOLLOWER_KEY"),
    follow: isFromWeb ? follow : { ...follow, from: null },
    isWithRefreshToken: flags.has("--with-refresh-token"),
    ownerRole: readRole(flags, "--owner-role"),
    followerRole: readRole(flags, "--follower-role"),
    isPrint: flags.has("--print"),
  };
}

const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

function readStoreAddress(flags: Flags, given: Given | null, environment: Environment): PostgresAddress | null {
  if (given === null) return null;
  const { text, source } = given;
  const example = "such as postgres://USER@HOST/DATABASE?sslmode=verify-full";
  // Anything but the scheme may hold a password: not a part of it is repeated.
  if (!/^postgres(?:ql)?:\/\//.test(text) || !URL.canParse(text)) {
    throw new UsageError(`${source}: must be a PostgreSQL URL, ${example}`);
  }
  if (flags.has("--store") && (new URL(text).password !== "" || new URL(text).searchParams.has("password"))) {
    throw new UsageError(
      "--store: everybody on this machine can read a password there; put it in PGPASSFILE, PGPASSWORD or CODEX_AUTH_STORE",
    );
  }
  const sslMode = new URL(text).searchParams.get("sslmode") ?? nonBlank(environment["PGSSLMODE"]) ?? "prefer";
  if (!SSL_MODES.includes(sslMode)) throw new UsageError(`${source}: sslmode must be one of ${SSL_MODES.join(", ")}`);
  // A copy: the secrets in it are taken out of the process's own.
  return { url: new Secret(text), environment: { ...environment } };
}

/** The copy that a follower fetches holds an access token: https, or this very machine. */
function readSourceUrl(given: Given | null): URL | null {
  if (given === null) return null;
  const url = URL.canParse(given.text) ? new URL(given.text) : null;
  const isLocal = url?.protocol === "http:" && isLoopbackHost(url.hostname);
  if (url !== null && (url.protocol === "https:" || isLocal) && `${url.username}${url.password}` === "") return url;
  throw new UsageError(
    `${given.source}: must be an https URL, or http on loopback (127.0.0.1, [::1], localhost), without user name and password`,
  );
}

function readSecretSource(file: Given | null, env: Environment, variable: string): SecretSource | null {
  const text = nonBlank(env[variable]);
  if (text !== undefined && file?.source.startsWith("--") !== true) {
    return { kind: "text", text: new Secret(text), source: variable };
  }
  return file === null ? null : { kind: "file", path: file.text, source: file.source };
}

function readRole(flags: Flags, name: string): string | null {
  const [role] = flags.get(name) ?? [];
  if (role === undefined) return null;
  if (role !== "" && !role.includes("\0") && role.length <= 63) return role;
  throw new UsageError(`${name}: must be the name of a database role`);
}
