import { readClaims, type TokenClaims } from "./claims.js";
import { isObject, type JsonObject, parseObject } from "./json.js";
import { toRfc3339 } from "./rfc3339.js";
import { Secret } from "./secret.js";

/** The tokens of `auth.json`, spelled as in the file. */
export type TokenName = "id_token" | "access_token" | "refresh_token";

export const TOKEN_NAMES: readonly TokenName[] = ["id_token", "access_token", "refresh_token"];

/** A ChatGPT login as read from one text of `auth.json`: a copy that can't be refreshed, as a follower has it. */
export interface LoginCopy {
  /** The whole text that it was read from, tokens and all: a rewrite starts from this, so nothing gets lost. */
  readonly text: Secret;
  readonly accessClaims: TokenClaims;
  readonly idClaims: TokenClaims;
  /** Every account that the file names for this login: `tokens.account_id` and the tokens' own claims. */
  readonly accountIds: readonly string[];
  /** `last_refresh` as the file spells it; empty when it is absent or no RFC 3339 time. */
  readonly lastRefreshText: string;
  /** Milliseconds since 1970, or null when there is no readable `last_refresh`. */
  readonly lastRefreshMs: number | null;
}

/** A ChatGPT login that can be refreshed. */
export interface Credential extends LoginCopy {
  readonly refreshToken: Secret;
}

const MEND = "mend it, or log in again";

/** The reason for which a ChatGPT login without a refresh token is inert. */
export const NO_REFRESH_TOKEN = "no_refresh_token";

/** What a look at the store found. Each `problem` is said in words that follow the store's name. */
export type Reading =
  | { readonly kind: "login"; readonly credential: Credential }
  /** Readable, and none of our business. `reason` is the shell script's log word. */
  | {
      readonly kind: "inert";
      readonly reason: string;
      readonly lastRefreshText: string;
      readonly lastRefreshMs: number | null;
      /** A ChatGPT login whose refresh token is empty; null for anything else. */
      readonly copy: LoginCopy | null;
    }
  | { readonly kind: "absent" }
  /** No bytes: Codex up to 0.166 truncates the file before it writes, so this may last only a moment. */
  | { readonly kind: "empty"; readonly problem: string }
  /** Not JSON, or half of it: may be another program's write in progress. */
  | { readonly kind: "torn"; readonly problem: string }
  /** Out of reach, or of a shape that Codex could not read either. Waiting does not mend it. */
  | { readonly kind: "unreadable"; readonly problem: string };

/**
 * Reads the text of `auth.json`.
 *
 * Never throws, and never quotes the text: a parser's own message would, and the text holds tokens.
 *
 * @see CODEX.md "The file": modes, their order when `auth_mode` is absent (public source, autumn 2026)
 */
export function readCredential(text: string): Reading {
  if (text.trim() === "") return { kind: "empty", problem: "is empty" };
  if (text.startsWith("\uFEFF")) return unreadable("starts with a byte order mark, which Codex cannot read");
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return { kind: "torn", problem: `is not complete JSON; ${MEND}` };
  }
  if (!isObject(document)) return unreadable("is JSON, but not an object");

  const mode = resolveAuthMode(document);
  if (mode === null) return unreadable("has an auth_mode that is not a string");
  const written = typeof document["last_refresh"] === "string" ? document["last_refresh"] : "";
  const lastRefreshMs = parseRfc3339Ms(written);
  const lastRefreshText = lastRefreshMs === null ? "" : written;
  const inert = { kind: "inert", lastRefreshText, lastRefreshMs } as const;
  if (mode !== "chatgpt") return { ...inert, reason: `auth_mode=${mode}`, copy: null };

  const tokens = document["tokens"] ?? {};
  if (!isObject(tokens)) return unreadable("has tokens that are not an object");
  const refreshToken = tokens["refresh_token"] ?? "";
  const accessToken = tokens["access_token"] ?? "";
  if (typeof refreshToken !== "string") return unreadable("has a refresh_token that is not a string");
  if (typeof accessToken !== "string") return unreadable("has an access_token that is not a string");
  const copy = readCopy(text, tokens, { accessToken, lastRefreshText, lastRefreshMs });
  if (refreshToken === "") return { ...inert, reason: NO_REFRESH_TOKEN, copy: accessToken === "" ? null : copy };
  // Not by a spread, which would ask for everything at once.
  return { kind: "login", credential: Object.assign(copy, { refreshToken: new Secret(refreshToken) }) };
}

function readCopy(
  text: string,
  tokens: JsonObject,
  {
    accessToken,
    lastRefreshText,
    lastRefreshMs,
  }: { accessToken: string } & Pick<LoginCopy, "lastRefreshText" | "lastRefreshMs">,
): LoginCopy {
  const accessClaims = readClaims(accessToken);
  const idToken = typeof tokens["id_token"] === "string" ? tokens["id_token"] : "";
  const copy: LoginCopy = {
    text: new Secret(text),
    accessClaims,
    // Asked for only when something is due: decoding a second token is a tenth of what a fresh login costs.
    get idClaims() {
      return readClaims(idToken);
    },
    get accountIds() {
      return knownAccounts([tokens["account_id"], accessClaims.accountId, copy.idClaims.accountId]);
    },
    lastRefreshText,
    lastRefreshMs,
  };
  return copy;
}

/** What a reading says of a login, whether it can be refreshed from here or not; null when there is none. */
export function loginOf(reading: Reading): LoginCopy | null {
  if (reading.kind === "login") return reading.credential;
  return reading.kind === "inert" ? reading.copy : null;
}

/** What a credential itself says of its age, milliseconds since 1970; null where it says nothing. */
export interface Stamps {
  /** The access token's `iat`, by the server's clock. */
  readonly issuedAtMs: number | null;
  /** By the clock of whoever wrote the file. */
  readonly lastRefreshMs: number | null;
}

export function stampsOf({ accessClaims, lastRefreshMs }: LoginCopy): Stamps {
  return { issuedAtMs: accessClaims.issuedAtMs, lastRefreshMs };
}

/**
 * Compares the ages of two credentials of one account.
 *
 * The server's own clock decides where both have it: a `last_refresh` that was written while a machine's clock was
 * years ahead would make everything that comes after it look like an old backup.
 *
 * @returns negative when `a` is the older one, 0 when they are of the same age, null when nothing tells
 */
export function compareStamps(a: Stamps, b: Stamps): number | null {
  if (a.issuedAtMs !== null && b.issuedAtMs !== null && a.issuedAtMs !== b.issuedAtMs)
    return a.issuedAtMs - b.issuedAtMs;
  const [newestA, newestB] = [a, b].map(newestMs);
  return newestA == null || newestB == null ? null : newestA - newestB;
}

function newestMs({ issuedAtMs, lastRefreshMs }: Stamps): number | null {
  const stamps = [issuedAtMs, lastRefreshMs].filter((ms) => ms !== null);
  return stamps.length === 0 ? null : Math.max(...stamps);
}

/** The accounts among `candidates`, each once; what is no non-empty string is passed over. */
export function knownAccounts(candidates: readonly unknown[]): readonly string[] {
  return [...new Set(candidates.filter((id): id is string => typeof id === "string" && id !== ""))];
}

/**
 * Reads an RFC 3339 time, with any number of fraction digits (Codex 0.169 writes nine).
 *
 * A time without an offset counts as UTC, as it did for the shell script.
 *
 * @returns milliseconds since 1970, or null when the text is no such time
 */
export function parseRfc3339Ms(text: string): number | null {
  const form = /^(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):\d\d:\d\d)(?:\.(\d{1,30}))?([Zz]|[+-]\d\d:?\d\d)?$/;
  const [, date, time, fraction = "0", offset = "Z"] = form.exec(text) ?? [];
  const midnightMs = Date.parse(`${date}T00:00:00Z`);
  // Date.parse takes 30 February for 1 March.
  if (Number.isNaN(midnightMs) || !toRfc3339(midnightMs).startsWith(`${date}T`)) return null;
  const zone = offset.toUpperCase() === "Z" ? "Z" : offset.replace(/^(...):?/, "$1:");
  const ms = Date.parse(`${date}T${time}.${fraction.slice(0, 3).padEnd(3, "0")}${zone}`);
  return Number.isNaN(ms) ? null : ms;
}

/** What a file without auth_mode is taken for, by the first of these fields that it holds. */
const IMPLIED_MODES = [
  ["personal_access_token", "personalAccessToken"],
  ["bedrock_api_key", "bedrockApiKey"],
  ["bedrock_access_keys", "bedrockAccessKeys"],
  ["OPENAI_API_KEY", "apikey"],
] as const;

/** The mode in force, shown safely; null when the field is there but is no string. */
function resolveAuthMode(document: JsonObject): string | null {
  const mode = document["auth_mode"] ?? null;
  if (mode !== null) {
    if (typeof mode !== "string") return null;
    if (mode === "") return "none";
    // The value goes into the log: a name is shown, anything else (it could be a misplaced token) is not.
    return /^[A-Za-z_]{1,30}$/.test(mode) ? mode : "unrecognized";
  }
  const [, implied = "chatgpt"] = IMPLIED_MODES.find(([field]) => (document[field] ?? null) !== null) ?? [];
  return implied;
}

function unreadable(problem: string): Reading {
  return { kind: "unreadable", problem: `${problem}; ${MEND}` };
}

/** Which tokens differ between two states of one login. */
export function changedTokens(before: Credential, after: Credential): readonly TokenName[] {
  const [old, next] = [before, after].map(({ text }) => parseObject(text.reveal())?.["tokens"]);
  if (!isObject(old) || !isObject(next)) return [];
  return TOKEN_NAMES.filter((name) => old[name] !== next[name]);
}
