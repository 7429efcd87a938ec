import { randomBytes } from "node:crypto";

/** Values for one made-up login. Times are in seconds relative to now. */
export interface LoginOptions {
  readonly expiresInSec?: number;
  readonly livesForSec?: number;
  readonly lastRefreshAgoSec?: number;
  readonly accountId?: string;
}

export interface Tokens {
  readonly id_token: string;
  readonly access_token: string;
  readonly refresh_token: string;
}

/** A JWT of the shape that the authorization server issues; its signature is chance. */
export function makeJwt(claims: Record<string, unknown>): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "RS256", typ: "JWT" })}.${part(claims)}.${randomBytes(64).toString("base64url")}`;
}

export function makeRefreshToken(): string {
  return `rt_${randomBytes(48).toString("base64url")}`;
}

export function makeTokens(options: LoginOptions = {}): Tokens {
  const nowSec = Math.floor(Date.now() / 1000);
  const exp = nowSec + (options.expiresInSec ?? 60);
  const claims = {
    iat: exp - (options.livesForSec ?? 864_000),
    exp,
    "https://api.openai.com/auth": { chatgpt_account_id: options.accountId ?? "acct-test" },
  };
  return {
    id_token: makeJwt({ ...claims, email: "somebody@example.com" }),
    access_token: makeJwt(claims),
    refresh_token: makeRefreshToken(),
  };
}

/** The text of an auth.json as Codex writes it. By default it is about to expire. */
export function makeAuthJson(tokens: Tokens, options: LoginOptions = {}): string {
  const ageMs = (options.lastRefreshAgoSec ?? 3_600) * 1000;
  return JSON.stringify(
    {
      auth_mode: "chatgpt",
      OPENAI_API_KEY: null,
      tokens: { ...tokens, account_id: options.accountId ?? "acct-test" },
      last_refresh: new Date(Date.now() - ageMs).toISOString().replace("Z", "116652Z"),
    },
    null,
    2,
  );
}

/** Every piece of 12 characters of each token: none of them may show up anywhere. */
export function findLeak(text: string, tokens: readonly string[]): string | null {
  for (const token of tokens) {
    for (let start = 0; start + 12 <= token.length; start += 1) {
      if (text.includes(token.slice(start, start + 12))) return `characters ${start} to ${start + 12} of a token`;
    }
  }
  return null;
}
