import { decodeJwt } from "jose";
import { isObject } from "./json.js";

/** What the watchdog reads from a JWT. Times are milliseconds since 1970; what is absent or unusable is null. */
export interface TokenClaims {
  readonly expiresAtMs: number | null;
  readonly issuedAtMs: number | null;
  /** The ChatGPT account (workspace) that the token was issued for. */
  readonly accountId: string | null;
  /** Who logged in, as an id token says it. */
  readonly email: string | null;
  /** What the account pays for: `plus`, `pro`, `team` … */
  readonly plan: string | null;
}

const NO_CLAIMS: TokenClaims = { expiresAtMs: null, issuedAtMs: null, accountId: null, email: null, plan: null };

/** What a name may look like that goes to a terminal or a log: a claim can hold anything, a token too. */
const SHOWN_EMAIL = /^[^\s@\p{C}]{1,64}@[^\s@\p{C}]{1,100}$/u;
const SHOWN_PLAN = /^[\w-]{1,30}$/;

/** The last second that RFC 3339 can write; a NumericDate past it is a mistake, not a date. */
const LAST_USABLE_SEC = 253_402_300_799;

/** The claim in which the authorization server names the account (seen in tokens of Codex 0.130 to 0.169). */
const AUTH_CLAIM = "https://api.openai.com/auth";

/**
 * Reads when a token was issued, when it expires and for whom, without checking its signature.
 *
 * The answers only decide when to ask for a new token and whose it is; they never grant access.
 *
 * @param token a compact JWT, or an opaque string
 * @returns the claims, each null when the token does not carry it in a usable form; never throws
 * @see RFC 7519 §2 (NumericDate: seconds, possibly fractional), §4.1.4 (`exp`), §4.1.6 (`iat`)
 */
export function readClaims(token: string): TokenClaims {
  let payload: Record<string, unknown>;
  try {
    payload = decodeJwt(token);
  } catch {
    return NO_CLAIMS;
  }
  const auth = payload[AUTH_CLAIM];
  const { chatgpt_account_id: accountId, chatgpt_plan_type: plan } = isObject(auth) ? auth : {};
  return {
    expiresAtMs: numericDateMs(payload["exp"]),
    issuedAtMs: numericDateMs(payload["iat"]),
    accountId: typeof accountId === "string" && accountId !== "" ? accountId : null,
    email: shown(payload["email"], SHOWN_EMAIL),
    plan: shown(plan, SHOWN_PLAN),
  };
}

function shown(value: unknown, form: RegExp): string | null {
  return typeof value === "string" && form.test(value) ? value : null;
}

function numericDateMs(value: unknown): number | null {
  if (typeof value !== "number" || !Number.isFinite(value) || value > LAST_USABLE_SEC) return null;
  return Math.max(Math.floor(value * 1000), 0); // Before 1970 is long ago, and has no date that RFC 3339 could write.
}
