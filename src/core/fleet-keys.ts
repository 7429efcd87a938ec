import { Secret } from "./secret.js";

/** What seals and opens credentials in a store: 32 bytes for A256GCM (RFC 7518 §5.3). */
export interface SealKey {
  /** In base64url, without padding. */
  readonly text: Secret;
}

export type ReadKeys =
  /** At least one: the first seals, all of them open. */
  | { readonly kind: "keys"; readonly keys: readonly SealKey[] }
  /** In words that follow the name of the source. */
  | { readonly kind: "bad-keys"; readonly problem: string };

const KEY_BYTES = 32;

/**
 * Reads keys, one a line; blank lines, and those that begin with `#`, are passed over.
 *
 * Never quotes the text: half a key is a part of one.
 */
export function readKeys(text: string): ReadKeys {
  const keys: SealKey[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const word = line.trim();
    if (word === "" || word.startsWith("#")) continue;
    const canonical = toBase64url(word);
    if (canonical === null) return { kind: "bad-keys", problem: `line ${index + 1} is no key: ${MEND}` };
    keys.push({ text: new Secret(canonical) });
  }
  return keys.length === 0 ? { kind: "bad-keys", problem: `holds no key: ${MEND}` } : { kind: "keys", keys };
}

const MEND = "a key is what codex-auth-watchdog store make-key prints (32 bytes in base64url)";

/** Null for anything but 32 bytes; takes the plain alphabet and padding as well, as other tools write them. */
function toBase64url(word: string): string | null {
  if (!/^[\w+/-]{43}=?$/.test(word)) return null;
  const bytes = Buffer.from(word, "base64url");
  const canonical = bytes.toString("base64url");
  // The last letter carries two bits of nothing: another one there is a slip of the pen.
  const isExact = canonical === word.replace("=", "").replaceAll("+", "-").replaceAll("/", "_");
  return bytes.length === KEY_BYTES && isExact ? canonical : null;
}
