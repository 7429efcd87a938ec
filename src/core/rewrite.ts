import type { Rewrite } from "./ticket.js";

const SPACE = 0x20;

/**
 * Whether a file holds what a write in place leaves behind when it is cut short: bytes of the new text and bytes
 * of the old one, each at its own place, and blanks where the room for a longer text was taken.
 *
 * What any other program writes differs in its tokens, and is never taken for that.
 */
export function isMixOf(bytes: Uint8Array, { from, to }: Rewrite): boolean {
  const [old, next] = [Buffer.from(from.reveal()), Buffer.from(to.reveal())];
  if (bytes.length < Math.min(old.length, next.length) || bytes.length > Math.max(old.length, next.length))
    return false;
  if (old.equals(bytes) || next.equals(bytes)) return false;
  return bytes.every((byte, index) => byte === next[index] || byte === (old[index] ?? SPACE));
}
