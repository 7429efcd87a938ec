import { readClaims } from "./claims.js";
import { knownAccounts, TOKEN_NAMES, type TokenName } from "./credential.js";
import { isObject, parseObject } from "./json.js";
import type { GrantedTokens } from "./merge.js";
import { Secret } from "./secret.js";

/** Why the authorization server will not renew this login any more. */
export type RejectionCause =
  | "expired"
  | "reused"
  | "revoked"
  | "ended"
  | "other-account"
  | "lost-response"
  | "refused-by-codex"
  | "restored"
  | "unnamed";

/** Whether a rejection carried no code that we know: a proxy or a captive portal may have said it. */
export function isUncertain(cause: RejectionCause): boolean {
  return cause === "unnamed" || cause === "refused-by-codex";
}

/** A verdict on the refresh token itself: final until the file holds another token. */
export interface Rejection {
  readonly cause: RejectionCause;
  readonly httpStatus: number;
}

/** Why an answer settles nothing. */
export type RefusalCause = "rate-limit" | "unavailable" | "redirect" | "configuration" | "refused";

export interface Granted {
  readonly kind: "granted";
  readonly httpStatus: number;
  readonly tokens: GrantedTokens;
  /** The accounts that the granted tokens name. */
  readonly accountIds: readonly string[];
}

/** An answer that ends what the refresh token was good for. */
export type FinalResult = Granted | { readonly kind: "rejected"; readonly rejection: Rejection };

/** What an answer of the token endpoint means. */
export type GrantResult =
  | FinalResult
  /** The server says that it did not act on the request: the refresh token is unspent. */
  | { readonly kind: "refused"; readonly cause: RefusalCause }
  /** The server may or may not have spent the refresh token: 500, 502, 504, or a 2xx that nobody can read. */
  | { readonly kind: "ambiguous"; readonly cause: "server-error" | "bad-body" };

/**
 * Error codes that end a login, by what they mean. Those that begin with `refresh_token_` are Codex's own (newest
 * source, autumn 2026); the others are what further clients of the same endpoint treat as the end.
 */
const FINAL_CODES: readonly (readonly [RejectionCause, readonly string[]])[] = [
  ["expired", ["refresh_token_expired"]],
  ["reused", ["refresh_token_reused"]],
  ["revoked", ["refresh_token_invalidated", "invalid_refresh_token", "token_invalidated"]],
  ["ended", ["app_session_terminated", "access_denied"]],
  ["ended", ["account_deactivated", "account_suspended", "account_deleted"]],
];

/** Codes that blame the client's own settings (RFC 6749 §5.2): the login itself is not in doubt. */
const CONFIGURATION_CODES = ["invalid_client", "unauthorized_client", "invalid_scope"];

/**
 * Judges an answer of the token endpoint.
 *
 * @param httpStatus the status as received
 * @param body the body as received, of any kind; never throws on it
 * @see CODEX.md "How failures are judged"; RFC 6749 §5.1, §5.2
 */
export function judgeAnswer(httpStatus: number, body: string): GrantResult {
  if (httpStatus >= 200 && httpStatus < 300) return judgeSuccess(httpStatus, body);

  const code = errorCode(body) ?? "";
  const [cause] = FINAL_CODES.find(([, codes]) => codes.includes(code)) ?? [];
  if (cause !== undefined) return rejected(cause, httpStatus);
  if (CONFIGURATION_CODES.includes(code)) return { kind: "refused", cause: "configuration" };
  if (httpStatus === 401 || (httpStatus === 400 && code === "invalid_grant")) return rejected("unnamed", httpStatus);
  if (httpStatus === 429) return { kind: "refused", cause: "rate-limit" };
  // RFC 9110 §15.6.4: with a 503 the server says that it was not able to handle the request.
  if (httpStatus === 503) return { kind: "refused", cause: "unavailable" };
  if (httpStatus >= 500) return { kind: "ambiguous", cause: "server-error" };
  return { kind: "refused", cause: httpStatus < 400 ? "redirect" : "refused" };
}

/** The longest wait that a server can ask of us, in milliseconds. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/**
 * Reads a `Retry-After` header.
 *
 * @returns milliseconds to wait, at most one hour; null when the header is absent or unreadable
 * @see RFC 9110 §10.2.3 (seconds, or an HTTP date)
 */
export function parseRetryAfterMs(header: string | null, nowMs: number): number | null {
  if (header === null) return null;
  const text = header.trim();
  const waitMs = /^\d{1,10}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isNaN(waitMs) ? null : Math.min(Math.max(waitMs, 0), MAX_RETRY_AFTER_MS);
}

function judgeSuccess(httpStatus: number, body: string): GrantResult {
  const answer = parseObject(body);
  const granted = TOKEN_NAMES.flatMap((name): [TokenName, string][] => {
    const value = answer?.[name];
    return typeof value === "string" && value !== "" ? [[name, value]] : [];
  });
  if (granted.length === 0) return { kind: "ambiguous", cause: "bad-body" };
  return {
    kind: "granted",
    httpStatus,
    tokens: Object.fromEntries(granted.map(([name, value]) => [name, new Secret(value)])),
    accountIds: knownAccounts(granted.map(([, value]) => readClaims(value).accountId)),
  };
}

/** The beginning of a JSON object: every flat member whose end is in sight. What the break cut short is none. */
const WHOLE_MEMBERS =
  /^\s*\{(?:\s*"(?:[^"\\]|\\.)*"\s*:\s*(?:"(?:[^"\\]|\\.)*"|[\w.+-]+(?=\s*[,}]))\s*(?:,|$|(?=\})))*/;

/**
 * What can be kept of a grant whose connection broke in mid-answer: the tokens that arrived whole, when the new
 * refresh token is among them. The old one is spent by then; with the new one the others can be asked for.
 *
 * @returns null when the answer was no success, or broke off before the end of the refresh token
 */
export function salvageGrant(httpStatus: number, body: string): Granted | null {
  const [members = ""] = WHOLE_MEMBERS.exec(body) ?? [];
  if (body.startsWith("}", members.length)) return null; // Not cut short: what follows makes it no answer.
  const start = members.trimEnd().replace(/,$/, "");
  const result = judgeAnswer(httpStatus, `${start}}`);
  return result.kind === "granted" && result.tokens.refresh_token !== undefined ? result : null;
}

function rejected(cause: RejectionCause, httpStatus: number): GrantResult {
  return { kind: "rejected", rejection: { cause, httpStatus } };
}

/** The first of: a string `error`, `error.code`, a top-level `code`; in lower case. */
function errorCode(body: string): string | null {
  const answer = parseObject(body);
  const error = answer?.["error"];
  const candidates = [error, isObject(error) ? error["code"] : null, answer?.["code"]];
  return candidates.find((code) => typeof code === "string")?.toLowerCase() ?? null;
}
