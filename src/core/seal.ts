import type { Secret } from "./secret.js";

/** Where a sealed text stands: bound into it, so that it opens nowhere else. */
export interface SealedPlace {
  readonly credentialId: string;
  readonly version: number;
  /** `owner`: the whole login; `follower`: the same without its refresh token, for another key. */
  readonly column: "owner" | "follower";
}

export type Opened =
  | { readonly kind: "opened"; readonly text: Secret; readonly keyId: string }
  /** Sealed with a key that is not among ours. */
  | { readonly kind: "unknown-key"; readonly keyId: string }
  /** Not what the key has sealed, or nothing that was ever sealed. */
  | { readonly kind: "tampered" }
  /** Sealed by us, for another row, version or column. */
  | { readonly kind: "misplaced" };

/** Why a sealed text did not open, in words that follow the store's name; with what to do. */
export function describeUnopened(opened: Exclude<Opened, { kind: "opened" }>, column: SealedPlace["column"]): string {
  switch (opened.kind) {
    case "unknown-key":
      return `is sealed with the key ${opened.keyId}, which is not among ours; put that key into CODEX_AUTH_${column.toUpperCase()}_KEY_FILE`;
    case "tampered":
      return "was changed by somebody who has not its key; put the login again with codex-auth-watchdog store put";
    case "misplaced":
      return "holds what was sealed for another row or version; put the login again with codex-auth-watchdog store put";
  }
}
