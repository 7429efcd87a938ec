import { createHash, randomBytes } from "node:crypto";
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from "jose";
import type { SealKey } from "../core/fleet-keys.js";
import type { Opened, SealedPlace } from "../core/seal.js";
import { Secret } from "../core/secret.js";
import type { Sealer } from "../ports.js";

/** What a header of ours says beside algorithm and key. */
const TYPE = "codex-auth+jwe";

/** More than any auth.json of the file store, sealed. */
const MAX_SEALED_CHARS = 32 * 1024 * 1024;

/**
 * Seals as JWE (RFC 7516) with `dir` and A256GCM: the key itself encrypts, with a new random nonce each time. The place is
 * in the protected header, which the cipher authenticates.
 *
 * @param keys the first seals, all open
 */
export function joseSealer(keys: readonly SealKey[]): Sealer {
  const known = keys.map((key) => ({ id: keyIdOf(key), bytes: bytesOf(key) }));
  return {
    seal: async (text, { credentialId, version, column }) => {
      const [key] = known;
      if (key === undefined) throw new Error("a sealer without a key");
      const header = {
        alg: "dir",
        enc: "A256GCM",
        kid: key.id,
        typ: TYPE,
        cid: credentialId,
        ver: version,
        col: column,
      };
      const plain = new TextEncoder().encode(text.reveal());
      return await new CompactEncrypt(plain).setProtectedHeader(header).encrypt(key.bytes);
    },
    open: async (sealed, place) => {
      const keyId = readKeyId(sealed);
      if (keyId === null) return { kind: "tampered" };
      const key = known.find(({ id }) => id === keyId);
      return key === undefined ? { kind: "unknown-key", keyId } : await decrypt(sealed, key, place);
    },
  };
}

async function decrypt(
  sealed: string,
  key: { readonly id: string; readonly bytes: Uint8Array },
  { credentialId, version, column }: SealedPlace,
): Promise<Opened> {
  try {
    // Only what we seal with: neither another algorithm nor compression is ever tried.
    const { plaintext, protectedHeader } = await compactDecrypt(sealed, key.bytes, {
      keyManagementAlgorithms: ["dir"],
      contentEncryptionAlgorithms: ["A256GCM"],
      maxDecompressedLength: 0,
    });
    const { typ, cid, ver, col } = protectedHeader;
    const isHere = typ === TYPE && cid === credentialId && ver === version && col === column;
    if (!isHere) return { kind: "misplaced" };
    return { kind: "opened", text: new Secret(Buffer.from(plaintext).toString("utf8")), keyId: key.id };
  } catch {
    return { kind: "tampered" };
  }
}

/** The id of the key that a text says it was sealed with; null when it says none, or is nothing sealed. */
export function readKeyId(sealed: string): string | null {
  if (sealed.length > MAX_SEALED_CHARS) return null;
  try {
    const { kid } = decodeProtectedHeader(sealed);
    return typeof kid === "string" && /^[\w-]{16}$/.test(kid) ? kid : null;
  } catch {
    return null;
  }
}

/** A new key as `readKeys` reads it. */
export function makeKey(): Secret {
  return new Secret(randomBytes(32).toString("base64url"));
}

/** Names a key without telling it: 96 bits of its SHA-256. */
export function keyIdOf(key: SealKey): string {
  return createHash("sha256").update(bytesOf(key)).digest("base64url").slice(0, 16);
}

function bytesOf({ text }: SealKey): Uint8Array {
  return Buffer.from(text.reveal(), "base64url");
}
