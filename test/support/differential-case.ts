import { createHash } from "node:crypto";
import fc from "fast-check";
import { makeTokens, type Tokens } from "./login.js";
import type { Reply } from "./token-server.js";

/**
 * One input of the differential test, as plain data: it can be printed, changed in one place by an intended
 * difference, and rendered to the same bytes for both programs. Times are in seconds relative to the run.
 *
 * `undefined` as a field's value means that the field is absent.
 */
export interface Case {
  readonly name: string;
  readonly file: FileKind;
  readonly layout: "as-codex" | "compact" | "crlf" | "key-twice";
  readonly authMode: unknown;
  /** Further top-level fields. */
  readonly companions: Readonly<Record<string, unknown>>;
  readonly tokens: "object" | { readonly instead: unknown };
  readonly refreshToken: "valid" | { readonly instead: unknown };
  readonly idToken: "valid" | { readonly instead: unknown };
  readonly accountId: unknown;
  readonly accessToken: AccessToken;
  readonly lastRefresh: LastRefresh;
  /** What the environment sets; null leaves the default. */
  readonly safetyMargin: string | null;
  readonly staleAfter: string | null;
  /** The text of config.toml, null when there is none. */
  readonly config: string | null;
  readonly answer: Answer;
}

export type FileKind =
  | "login"
  | "linked-login"
  | "world-readable-login"
  | "absent"
  | "absent-home"
  | "dangling-link"
  | "directory"
  | "empty"
  | "blank"
  | "truncated"
  | "byte-order-mark"
  | "not-utf8"
  | { readonly text: string };

export type AccessToken =
  | {
      readonly kind: "jwt";
      readonly exp: NumericDate;
      /** Null: no `iat`. */
      readonly iat: { readonly beforeExpSec: number } | { readonly literal: string } | null;
      /** A JWT has three; what is more is made up. */
      readonly parts: number;
    }
  | { readonly kind: "payload"; readonly payload: string }
  | { readonly kind: "value"; readonly value: unknown };

/** A claim as JSON text, so that it can be a number that JavaScript does not hold; null: no such claim. */
export type NumericDate = { readonly inSec: number; readonly fraction?: string } | { readonly literal: string } | null;

export type LastRefresh = { readonly agoSec: number; readonly format: LastRefreshFormat } | { readonly value: unknown };

export type LastRefreshFormat =
  | "nanoseconds"
  | "milliseconds"
  | "no-fraction"
  | "no-offset"
  | "offset"
  | "offset-without-colon"
  | "date-only"
  | "basic"
  | "blank-for-T"
  | "offset-hours-only";

export type Answer =
  | { readonly kind: "refused-connection" }
  | {
      readonly kind: "http";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body: AnswerBody;
      readonly fault?: "reset" | "half-body-end" | "whole-body-end";
    };

export type AnswerBody =
  | { readonly kind: "text"; readonly text: string | null }
  /** The granted tokens under `names`, then `overrides` on top (`undefined` takes a field away). */
  | {
      readonly kind: "tokens";
      readonly names: readonly (keyof Tokens)[];
      readonly account: "same" | "another";
      readonly overrides: Readonly<Record<string, unknown>>;
    };

/** Everything in a case that is made by chance: both programs, and every variant of a case, get the same. */
export interface Vault {
  readonly nowSec: number;
  readonly login: Tokens;
  readonly granted: Tokens;
  readonly grantedToAnother: Tokens;
}

export function fillVault(): Vault {
  return {
    nowSec: Math.floor(Date.now() / 1000),
    login: makeTokens(),
    granted: makeTokens({ expiresInSec: 864_000 }),
    grantedToAnother: makeTokens({ expiresInSec: 864_000, accountId: "acct-another" }),
  };
}

export const HOUR = 3_600;
const DAY = 86_400;

const ALL_TOKENS = ["id_token", "access_token", "refresh_token"] as const;

/** The most usual case of all: a login that is due, and a server that rotates it. */
const DUE_LOGIN: Case = {
  name: "a due login",
  file: "login",
  layout: "as-codex",
  authMode: "chatgpt",
  companions: { OPENAI_API_KEY: null },
  tokens: "object",
  refreshToken: "valid",
  idToken: "valid",
  accountId: "acct-test",
  accessToken: { kind: "jwt", exp: { inSec: HOUR }, iat: { beforeExpSec: 10 * DAY }, parts: 3 },
  lastRefresh: { agoSec: 6 * DAY, format: "nanoseconds" },
  safetyMargin: null,
  staleAfter: null,
  config: null,
  answer: ok(),
};

/** The bytes of auth.json. Only for the kinds of file that have any. */
export function renderFile(input: Case, vault: Vault): Uint8Array {
  const { file } = input;
  if (typeof file === "object") return Buffer.from(file.text);
  const text = renderLogin(input, vault);
  switch (file) {
    case "empty":
      return Buffer.alloc(0);
    case "blank":
      return Buffer.from(" \n\n");
    case "truncated":
      return Buffer.from(text.slice(0, Math.floor(text.length * 0.6)));
    case "byte-order-mark":
      return Buffer.from(`\uFEFF${text}`);
    case "not-utf8":
      return Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.from(`,"note":"caf\u00e9"}`, "latin1")]);
    default:
      return Buffer.from(text);
  }
}

function renderLogin(input: Case, vault: Vault): string {
  const tokens = {
    id_token: input.idToken === "valid" ? vault.login.id_token : input.idToken.instead,
    access_token: renderAccessToken(input.accessToken, vault.nowSec),
    refresh_token: input.refreshToken === "valid" ? vault.login.refresh_token : input.refreshToken.instead,
    account_id: input.accountId,
  };
  const document = {
    auth_mode: input.authMode,
    ...input.companions,
    tokens: input.tokens === "object" ? tokens : input.tokens.instead,
    last_refresh: renderLastRefresh(input.lastRefresh, vault.nowSec),
  };
  switch (input.layout) {
    case "as-codex":
      return JSON.stringify(document, null, 2);
    case "compact":
      return `${JSON.stringify(document)}\n`;
    case "crlf":
      return JSON.stringify(document, null, 4).replaceAll("\n", "\r\n");
    case "key-twice":
      // Both programs' readers take the last of two equal keys.
      return JSON.stringify(document, null, 2).replace("{", '{ "tokens": {"refresh_token": "rt_the-first"},');
  }
}

function renderAccessToken(token: AccessToken, nowSec: number): unknown {
  switch (token.kind) {
    case "value":
      return token.value;
    case "payload":
      return joinParts(token.payload, 3);
    case "jwt": {
      const { exp, iat } = token;
      const claims = [`"https://api.openai.com/auth":{"chatgpt_account_id":"acct-test"}`];
      if (exp !== null) claims.push(`"exp":${renderNumericDate(exp, nowSec)}`);
      if (iat !== null) {
        const base = exp !== null && "inSec" in exp ? exp.inSec : 0;
        claims.push(`"iat":${"literal" in iat ? iat.literal : nowSec + base - iat.beforeExpSec}`);
      }
      return joinParts(`{${claims.join(",")}}`, token.parts);
    }
  }
}

function renderNumericDate(date: Exclude<NumericDate, null>, nowSec: number): string {
  return "literal" in date ? date.literal : `${nowSec + date.inSec}${date.fraction ?? ""}`;
}

/** A compact serialization with as many parts as asked for; its signature follows from the payload. */
function joinParts(payload: string, parts: number): string {
  const encode = (text: string): string => Buffer.from(text).toString("base64url");
  const signature = createHash("sha512").update(payload).digest("base64url");
  return [encode('{"alg":"RS256","typ":"JWT"}'), encode(payload), signature, signature, signature]
    .slice(0, parts)
    .join(".");
}

export function renderLastRefresh(lastRefresh: LastRefresh, nowSec: number): unknown {
  if ("value" in lastRefresh) return lastRefresh.value;
  const iso = new Date((nowSec - lastRefresh.agoSec) * 1000).toISOString();
  const seconds = iso.slice(0, 19);
  switch (lastRefresh.format) {
    case "nanoseconds":
      return iso.replace("Z", "116652Z");
    case "milliseconds":
      return iso;
    case "no-fraction":
      return `${seconds}Z`;
    case "no-offset":
      return seconds;
    case "offset":
      return `${shift(nowSec - lastRefresh.agoSec, 2)}+02:00`;
    case "offset-without-colon":
      return `${shift(nowSec - lastRefresh.agoSec, -8)}-0800`;
    case "offset-hours-only":
      return `${shift(nowSec - lastRefresh.agoSec, 2)}+02`;
    case "date-only":
      return iso.slice(0, 10);
    case "basic":
      return `${seconds.replace(/[-:]/g, "")}Z`;
    case "blank-for-T":
      return `${seconds.replace("T", " ")}Z`;
  }
}

/** The wall clock of a zone that is so many hours ahead. */
function shift(sec: number, hours: number): string {
  return new Date((sec + hours * HOUR) * 1000).toISOString().slice(0, 19);
}

/** What the server does; null when nothing listens there. */
export function renderAnswer(answer: Answer, vault: Vault): Reply | null {
  if (answer.kind === "refused-connection") return null;
  return {
    status: answer.status,
    headers: { "content-type": "application/json", ...answer.headers },
    body: renderBody(answer.body, vault),
    ...(answer.fault === undefined ? {} : { fault: answer.fault }),
  };
}

function renderBody(body: AnswerBody, vault: Vault): string | null {
  if (body.kind === "text") return body.text;
  const source = body.account === "same" ? vault.granted : vault.grantedToAnother;
  return JSON.stringify({
    ...Object.fromEntries(body.names.map((name) => [name, source[name]])),
    ...body.overrides,
  });
}

export function environmentOf(input: Case): Record<string, string> {
  return {
    ...(input.safetyMargin === null ? {} : { CODEX_AUTH_SAFETY_MARGIN_SECONDS: input.safetyMargin }),
    ...(input.staleAfter === null ? {} : { CODEX_AUTH_STALE_AFTER_SECONDS: input.staleAfter }),
  };
}

function ok(names: readonly (keyof Tokens)[] = ALL_TOKENS, overrides: Readonly<Record<string, unknown>> = {}): Answer {
  return { kind: "http", status: 200, body: { kind: "tokens", names, account: "same", overrides } };
}

function says(status: number, text: string | null, headers: Readonly<Record<string, string>> = {}): Answer {
  return { kind: "http", status, headers, body: { kind: "text", text } };
}

const html = { "content-type": "text/html" };
const CHALLENGE = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>ray</body></html>";

const AUTH_MODES: readonly unknown[] = [
  undefined,
  null,
  "",
  "apikey",
  "chatgptAuthTokens",
  "headers",
  "ChatGPT",
  "chatgpt_auth_tokens",
  "somethingNew",
  5,
  0,
  true,
  false,
  {},
];

const COMPANIONS: readonly Readonly<Record<string, unknown>>[] = [
  {},
  { OPENAI_API_KEY: "sk-made-up" },
  { OPENAI_API_KEY: null, personal_access_token: "pat-made-up" },
  { OPENAI_API_KEY: null, bedrock_api_key: { key: "made-up" } },
  { OPENAI_API_KEY: null, added_by_somebody: { deep: [1, 2.5, { x: null }] }, last: "caf\u00e9 \u{1f511}" },
];

const TOKENS: readonly Case["tokens"][] = [undefined, null, "", "text", 5, 0, [], {}].map((instead) => ({
  instead,
}));

const REFRESH_TOKENS: readonly Case["refreshToken"][] = [
  undefined,
  null,
  "",
  "rt with blanks",
  "rt_\u00fcml\u00e4ut",
  'rt_"quote\\',
  5,
  0,
  true,
  false,
  [],
  {},
].map((instead) => ({ instead }));

const ID_TOKENS: readonly Case["idToken"][] = [undefined, null, "", "not.a.jwt", 5].map((instead) => ({
  instead,
}));

const ACCOUNT_IDS: readonly unknown[] = [undefined, null, "", 5, "acct-else"];

function jwt(
  exp: NumericDate,
  iat: Extract<AccessToken, { kind: "jwt" }>["iat"] = { beforeExpSec: 10 * DAY },
  parts = 3,
): AccessToken {
  return { kind: "jwt", exp, iat, parts };
}

/** Around the margin of 4 h, and far from it; never within a minute of a boundary, because runs take time. */
const EXPIRIES_SEC: readonly number[] = [
  10 * DAY,
  5 * HOUR,
  4 * HOUR + 600,
  4 * HOUR - 600,
  HOUR,
  360,
  60,
  -60,
  -HOUR,
  -400 * DAY,
];

const ACCESS_TOKENS: readonly AccessToken[] = [
  ...EXPIRIES_SEC.map((inSec) => jwt({ inSec })),
  jwt({ inSec: 10 * DAY }, null),
  jwt({ inSec: HOUR }, null),
  // Short lives: an hour, eight hours, twelve hours.
  jwt({ inSec: 50 * 60 }, { beforeExpSec: HOUR }),
  jwt({ inSec: 30 * 60 }, { beforeExpSec: HOUR }),
  jwt({ inSec: 10 * 60 }, { beforeExpSec: HOUR }),
  jwt({ inSec: -10 * 60 }, { beforeExpSec: HOUR }),
  jwt({ inSec: 3 * HOUR }, { beforeExpSec: 8 * HOUR }),
  jwt({ inSec: 2 * HOUR }, { beforeExpSec: 8 * HOUR }),
  jwt({ inSec: 5 * HOUR }, { beforeExpSec: 8 * HOUR }),
  jwt({ inSec: 3 * HOUR }, { beforeExpSec: 13 * HOUR }),
  // An `iat` that says nothing.
  jwt({ inSec: HOUR }, { beforeExpSec: -HOUR }),
  jwt({ inSec: HOUR }, { literal: '"yesterday"' }),
  jwt({ inSec: HOUR }, { literal: "null" }),
  // Every kind of `exp`.
  jwt({ inSec: 10 * DAY, fraction: ".75" }),
  jwt({ inSec: HOUR, fraction: ".25" }),
  jwt(null),
  jwt(null, null),
  jwt({ literal: "null" }),
  jwt({ literal: "true" }),
  jwt({ literal: "false" }),
  jwt({ literal: '"1900000000"' }),
  jwt({ literal: "[1]" }),
  jwt({ literal: "0" }),
  jwt({ literal: "-1" }),
  jwt({ literal: "1.8e9" }),
  jwt({ literal: "1790000000000" }),
  jwt({ literal: "1e300" }),
  jwt({ literal: "1e400" }),
  jwt({ literal: "NaN" }),
  // Not three parts.
  jwt({ inSec: HOUR }, null, 1),
  jwt({ inSec: HOUR }, null, 2),
  jwt({ inSec: HOUR }, null, 4),
  jwt({ inSec: 10 * DAY }, null, 4),
  jwt({ inSec: 10 * DAY }, null, 5),
  { kind: "payload", payload: "[]" },
  { kind: "payload", payload: '"text"' },
  { kind: "payload", payload: "null" },
  { kind: "payload", payload: "" },
  { kind: "value", value: undefined },
  { kind: "value", value: null },
  { kind: "value", value: "" },
  { kind: "value", value: "opaque-access-token" },
  { kind: "value", value: "..." },
  { kind: "value", value: "a.%%%.c" },
  { kind: "value", value: 5 },
  { kind: "value", value: 0 },
  { kind: "value", value: true },
  { kind: "value", value: [] },
  { kind: "value", value: {} },
];

const LAST_REFRESHES: readonly LastRefresh[] = [
  { agoSec: 0, format: "nanoseconds" },
  { agoSec: 6 * DAY, format: "milliseconds" },
  { agoSec: 7 * DAY - 600, format: "nanoseconds" },
  { agoSec: 7 * DAY + 600, format: "nanoseconds" },
  { agoSec: 8 * DAY, format: "nanoseconds" },
  { agoSec: 400 * DAY, format: "no-fraction" },
  { agoSec: -DAY, format: "nanoseconds" },
  { agoSec: -3_650 * DAY, format: "milliseconds" },
  { agoSec: 8 * DAY, format: "no-offset" },
  { agoSec: DAY, format: "no-offset" },
  { agoSec: 8 * DAY, format: "offset" },
  { agoSec: DAY, format: "offset" },
  { agoSec: DAY, format: "offset-without-colon" },
  { agoSec: DAY, format: "offset-hours-only" },
  { agoSec: DAY, format: "date-only" },
  { agoSec: 9 * DAY, format: "date-only" },
  { agoSec: DAY, format: "basic" },
  { agoSec: 9 * DAY, format: "basic" },
  { agoSec: DAY, format: "blank-for-T" },
  { agoSec: 8 * DAY, format: "blank-for-T" },
  { value: undefined },
  { value: null },
  { value: "" },
  { value: "yesterday" },
  { value: "2026-02-30T00:00:00Z" },
  { value: "2026-02-20T24:00:00Z" },
  { value: "2026-13-01T00:00:00Z" },
  { value: "1900000000" },
  { value: 1_790_000_000 },
  { value: 0 },
  { value: true },
  { value: false },
  { value: {} },
  { value: ["2026-11-21T00:00:00Z"] },
];

/** Those whose reading decides everything when the expiry is unknown. */
const TELLING_LAST_REFRESHES: readonly LastRefresh[] = [
  { agoSec: 6 * DAY, format: "nanoseconds" },
  { agoSec: 8 * DAY, format: "nanoseconds" },
  { agoSec: -DAY, format: "nanoseconds" },
  { agoSec: DAY, format: "no-offset" },
  { agoSec: DAY, format: "offset-hours-only" },
  { agoSec: DAY, format: "date-only" },
  { agoSec: DAY, format: "basic" },
  { agoSec: DAY, format: "blank-for-T" },
  { value: undefined },
  { value: "yesterday" },
  { value: "2026-02-30T00:00:00Z" },
  { value: "2026-02-20T24:00:00Z" },
  { value: 1_790_000_000 },
];

const FILES: readonly FileKind[] = [
  "linked-login",
  "world-readable-login",
  "absent",
  "absent-home",
  "dangling-link",
  "directory",
  "empty",
  "blank",
  "truncated",
  "byte-order-mark",
  "not-utf8",
  { text: "{}" },
  { text: "[]" },
  { text: '"text"' },
  { text: "null" },
  { text: "5" },
  { text: "{'auth_mode': 'chatgpt'}" },
  { text: '{"auth_mode":"chatgpt"' },
  { text: "<html>proxy</html>" },
];

const LAYOUTS: readonly Case["layout"][] = ["compact", "crlf", "key-twice"];

const MARGINS: readonly string[] = ["0", "60", "7200", "1000000", "2h", "30m", " 60 ", "", "-1", "soon", "1.5"];
const STALE_AFTERS: readonly string[] = ["0", "3600", "600000", "8d", "week"];

const CONFIGS: readonly string[] = [
  'model = "o5"\n',
  'cli_auth_credentials_store = "file"\n',
  'cli_auth_credentials_store = "keyring"\n',
  'cli_auth_credentials_store = "auto"\n',
  'cli_auth_credentials_store = "ephemeral"\n',
  "cli_auth_credentials_store = [broken",
];

const CODES: readonly string[] = [
  "refresh_token_expired",
  "refresh_token_reused",
  "refresh_token_invalidated",
  "invalid_grant",
  "invalid_client",
  "unauthorized_client",
  "invalid_request",
  "app_session_terminated",
  "account_deactivated",
  "access_denied",
  "token_expired",
  "REFRESH_TOKEN_EXPIRED",
];

/** The three places in which the endpoint names a code. */
function named(code: string): readonly string[] {
  return [
    JSON.stringify({ error: code, error_description: "made up" }),
    JSON.stringify({ error: { code, message: "made up", type: "invalid_request_error" } }),
    JSON.stringify({ code, message: "made up" }),
  ];
}

const GRANTS: readonly Answer[] = [
  ok(),
  ok(["access_token", "refresh_token"]),
  ok(["access_token"]),
  ok(["refresh_token"]),
  ok(["id_token"]),
  ok(ALL_TOKENS, { expires_in: 864_000, scope: "openid", token_type: "Bearer" }),
  ok(ALL_TOKENS, { id_token: null }),
  ok(ALL_TOKENS, { refresh_token: "" }),
  ok(ALL_TOKENS, { id_token: 5 }),
  ok(ALL_TOKENS, { access_token: { nested: true } }),
  { kind: "http", status: 201, body: { kind: "tokens", names: ALL_TOKENS, account: "same", overrides: {} } },
  {
    kind: "http",
    status: 200,
    body: { kind: "tokens", names: ALL_TOKENS, account: "another", overrides: {} },
  },
  {
    kind: "http",
    status: 200,
    body: { kind: "tokens", names: ALL_TOKENS, account: "same", overrides: {} },
    fault: "whole-body-end",
  },
];

const EMPTY_GRANTS: readonly Answer[] = [
  says(200, "{}"),
  says(200, '{"access_token":null,"id_token":"","refresh_token":null}'),
  ok([], { access_token: 5 }),
  says(200, '{"error":"invalid_grant"}'),
  says(200, "[]"),
  says(200, '"text"'),
  says(200, "null"),
  says(200, ""),
  says(200, CHALLENGE, html),
  says(200, '{"access_token":"half'),
  says(204, null),
  {
    kind: "http",
    status: 200,
    body: { kind: "tokens", names: ALL_TOKENS, account: "same", overrides: {} },
    fault: "half-body-end",
  },
];

const REFUSALS: readonly Answer[] = [
  ...CODES.flatMap((code) => named(code).map((text) => says(400, text))),
  says(400, "{}"),
  says(400, ""),
  says(400, CHALLENGE, html),
  says(400, '{"error":{"code":5}}'),
  ...CODES.slice(0, 6).map((code, index) => says(401, named(code)[index % 3] ?? "")),
  says(401, '{"error":{"code":"token_expired"}}'),
  says(401, "{}"),
  says(401, ""),
  says(401, "[]"),
  says(401, CHALLENGE, html),
  {
    kind: "http",
    status: 401,
    body: { kind: "text", text: '{"error":"refresh_token_expired","error_description":"made up"}' },
    fault: "half-body-end",
  },
  says(403, CHALLENGE, html),
  says(403, '{"error":{"code":"unsupported_country_region_territory"}}'),
  says(403, '{"error":{"code":"refresh_token_invalidated"}}'),
  says(403, '{"error":"invalid_grant"}'),
  says(403, '{"error":"account_deactivated"}'),
];

const TROUBLES: readonly Answer[] = [
  says(301, "", { location: "/oauth/token" }),
  says(302, "", { location: "/oauth/token" }),
  says(307, "", { location: "/oauth/token" }),
  says(308, CHALLENGE, { ...html, location: "/oauth/token" }),
  says(404, CHALLENGE, html),
  says(405, ""),
  says(408, ""),
  says(429, '{"error":{"code":"rate_limit_exceeded"}}', { "retry-after": "30" }),
  says(429, ""),
  says(500, '{"error":"temporary-failure"}'),
  says(500, '{"error":"refresh_token_expired"}'),
  says(502, CHALLENGE, html),
  says(503, "", { "retry-after": "120" }),
  says(503, '{"error":"invalid_grant"}'),
  says(504, CHALLENGE, html),
  { kind: "refused-connection" },
  { kind: "http", status: 200, body: { kind: "text", text: "{}" }, fault: "reset" },
];

const ANSWERS: readonly Answer[] = [...GRANTS, ...EMPTY_GRANTS, ...REFUSALS, ...TROUBLES];

/** One deviation from {@link DUE_LOGIN} at a time, every value of every dimension once. */
function sweep(): Case[] {
  const vary = <Field extends keyof Case>(
    field: Field,
    values: readonly Case[Field][],
    rest: Partial<Case> = {},
  ): Case[] => values.map((value, index) => ({ ...DUE_LOGIN, ...rest, [field]: value, name: `${field} ${index}` }));
  const fresh: Partial<Case> = { accessToken: jwt({ inSec: 10 * DAY }) };
  return [
    DUE_LOGIN,
    { ...DUE_LOGIN, ...fresh, name: "a fresh login" },
    ...vary("answer", ANSWERS),
    ...vary("authMode", AUTH_MODES),
    ...vary("companions", COMPANIONS),
    ...vary("companions", COMPANIONS, { authMode: undefined }),
    ...vary("tokens", TOKENS),
    ...vary("refreshToken", REFRESH_TOKENS),
    ...vary("idToken", ID_TOKENS),
    ...vary("accountId", ACCOUNT_IDS),
    ...vary("accessToken", ACCESS_TOKENS),
    ...vary("lastRefresh", LAST_REFRESHES, fresh),
    ...vary("lastRefresh", TELLING_LAST_REFRESHES, {
      accessToken: { kind: "value", value: "opaque-access-token" },
    }),
    ...vary("file", FILES),
    ...vary("layout", LAYOUTS),
    ...vary("safetyMargin", MARGINS),
    ...vary("staleAfter", STALE_AFTERS, fresh),
    ...vary("config", CONFIGS),
  ];
}

function among<T>(usual: T, others: readonly T[], weights: { usual: number; others: number }): fc.Arbitrary<T> {
  return fc.oneof(
    { weight: weights.usual, arbitrary: fc.constant(usual) },
    { weight: weights.others, arbitrary: fc.constantFrom(...others) },
  );
}

/** Mixtures: mostly a login with a plausible token and age, against any server. */
function mixtures(): fc.Arbitrary<Case> {
  const odd = { usual: 12, others: 1 };
  const even = { usual: 1, others: 1 };
  return fc.record<Case>({
    name: fc.constant("a mixture"),
    file: among<FileKind>("login", FILES, { usual: 20, others: 1 }),
    layout: among<Case["layout"]>("as-codex", LAYOUTS, { usual: 4, others: 1 }),
    authMode: among<unknown>("chatgpt", AUTH_MODES, { usual: 6, others: 1 }),
    companions: among(DUE_LOGIN.companions, COMPANIONS, { usual: 3, others: 1 }),
    tokens: among<Case["tokens"]>("object", TOKENS, { usual: 30, others: 1 }),
    refreshToken: among<Case["refreshToken"]>("valid", REFRESH_TOKENS, { usual: 20, others: 1 }),
    idToken: among<Case["idToken"]>("valid", ID_TOKENS, odd),
    accountId: among<unknown>("acct-test", ACCOUNT_IDS, odd),
    accessToken: among(DUE_LOGIN.accessToken, ACCESS_TOKENS, even),
    lastRefresh: among(DUE_LOGIN.lastRefresh, LAST_REFRESHES, even),
    safetyMargin: among<string | null>(null, MARGINS, odd),
    staleAfter: among<string | null>(null, STALE_AFTERS, odd),
    config: among<string | null>(null, CONFIGS, { usual: 20, others: 1 }),
    answer: among(DUE_LOGIN.answer, ANSWERS, { usual: 1, others: 3 }),
  });
}

/** How many cases a full run has. */
export const FULL_RUN = sweep().length + 50;

/** The first `count` cases: always the same ones. */
export function makeCases(count: number): Case[] {
  const swept = sweep();
  const mixed = fc.sample(mixtures(), { seed: 20_261_121, numRuns: Math.max(1, count - swept.length) });
  return [...swept, ...mixed].slice(0, count);
}
