import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import type { SecretSource } from "../cli/fleet-options.js";
import { describeFault } from "../core/fault.js";
import { readKeys, type SealKey } from "../core/fleet-keys.js";
import { Secret } from "../core/secret.js";
import { toFault } from "./errno.js";

export type KeysRead =
  | { readonly kind: "keys"; readonly keys: readonly SealKey[] }
  /** One line: what is wrong, where, and what to do. */
  | { readonly kind: "no-keys"; readonly message: string };

/** More than a list of keys, or a bearer token, can sensibly hold, bytes. */
const MAX_BYTES = 64 * 1024;

/** Reads the keys of one column from where they were said to be. */
export function readKeySource(source: SecretSource | null, column: "owner" | "follower"): KeysRead {
  if (source === null) {
    const name = `CODEX_AUTH_${column.toUpperCase()}_KEY`;
    const flag = `--${column}-key-file`;
    return { kind: "no-keys", message: `the ${column}'s key is missing: give ${flag}, ${name}_FILE or ${name}` };
  }
  const read = readSecret(source);
  if (read.kind === "no-secret") return { kind: "no-keys", message: read.message };
  const keys = readKeys(read.secret.reveal());
  const where = source.kind === "file" ? `${source.source}: ${source.path}` : `${source.source}`;
  return keys.kind === "keys" ? keys : { kind: "no-keys", message: `${where} ${keys.problem}` };
}

export type KeyPairRead =
  | { readonly kind: "keys"; readonly owner: readonly SealKey[]; readonly follower: readonly SealKey[] }
  | Extract<KeysRead, { kind: "no-keys" }>;

/** Both columns' keys. No key may be in both: a follower's would open the refresh token. */
export function readKeyPair(owner: SecretSource | null, follower: SecretSource | null): KeyPairRead {
  const owners = readKeySource(owner, "owner");
  if (owners.kind !== "keys") return owners;
  const followers = readKeySource(follower, "follower");
  if (followers.kind !== "keys") return followers;
  const isShared = owners.keys.some((key) => followers.keys.some(({ text }) => text.equals(key.text)));
  if (isShared) return { kind: "no-keys", message: SHARED_KEY };
  return { kind: "keys", owner: owners.keys, follower: followers.keys };
}

const SHARED_KEY =
  "the owner's keys and the follower's have one in common, which would open the refresh token for followers: make another one with store make-key";

export type SecretRead =
  | { readonly kind: "secret"; readonly secret: Secret }
  | { readonly kind: "no-secret"; readonly message: string };

/** The secret itself, or the content of its file. */
export function readSecret(source: SecretSource): SecretRead {
  if (source.kind === "text") return { kind: "secret", secret: source.text };
  const { path } = source;
  const refuse = (why: string): SecretRead => ({ kind: "no-secret", message: `${source.source}: ${why}` });
  let descriptor: number | null = null;
  try {
    // O_NONBLOCK: a FIFO in the file's place must not hold us up.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(descriptor);
    if (!stats.isFile()) return refuse(`${path} is no file`);
    if (stats.size > MAX_BYTES) return refuse(`${path} is too large for what it should hold`);
    return { kind: "secret", secret: new Secret(readFileSync(descriptor, "utf8")) };
  } catch (error) {
    return refuse(describeFault(toFault(error, "read", path)));
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}
