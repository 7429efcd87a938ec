import { createHash } from "node:crypto";
import type { Secret } from "./secret.js";

/**
 * Names a refresh token without telling it: its SHA-256 as 64 hex digits.
 *
 * A refresh token has far more than 128 bits of chance in it, so the digest cannot be turned back. People
 * are shown the first 8 digits only.
 */
export function fingerprint(token: Secret): string {
  return createHash("sha256").update(token.reveal()).digest("hex");
}
