import { request } from "undici";
import { parseObject } from "../core/json.js";
import { Secret } from "../core/secret.js";
import { shownUrl } from "../core/shown-url.js";
import type { Fetched, FollowSource } from "../ports.js";
import { codeOf, type NetworkSettings, openDispatcher } from "./http-dispatcher.js";

export interface HttpSourceSettings extends NetworkSettings {
  readonly url: URL;
  readonly userAgent: string;
  /** Asked for anew with each request: its file may be rotated. Null when there is none. */
  readonly readBearer: () =>
    | { readonly kind: "secret"; readonly secret: Secret }
    | { readonly kind: "no-secret"; readonly message: string }
    | null;
  /** How long a request may take in all, milliseconds. */
  readonly deadlineMs: number;
}

/** More than any auth.json that a platform serves, bytes. */
const MAX_BODY_BYTES = 1024 * 1024;

const MAX_REDIRECTS = 3;
const REDIRECTS = [301, 302, 303, 307, 308];

/** What an answer's status means, where it is no copy. */
function describeStatus(status: number): { readonly problem: string; readonly isFinal: boolean } {
  if (status === 401) return { problem: "answers 401: check the bearer token in --bearer-file", isFinal: true };
  if (status === 403)
    return { problem: "answers 403: this bearer token may not read it; ask for one that may", isFinal: true };
  if (status === 404) return { problem: "answers 404: check the address in --from", isFinal: true };
  if (status >= 500 || status === 429 || status === 408) {
    return { problem: `answers ${status}: it is asked again; see its log`, isFinal: false };
  }
  return { problem: `answers ${status}: check the address in --from`, isFinal: true };
}

/** A follower's copy from an https address: an auth.json, whose refresh token is not looked at. */
export function httpFollowSource(settings: HttpSourceSettings): FollowSource {
  let last: { readonly etag: string; readonly text: Secret } | null = null;
  const unavailable = (problem: string, isFinal: boolean): Fetched => ({ kind: "unavailable", problem, isFinal });
  const fetched = (text: Secret): Fetched => {
    return { kind: "fetched", text, version: null, ownerSeenAtMs: null, isOwnerAlive: null };
  };

  const ask = async (url: URL, redirects: number): Promise<Fetched> => {
    const bearer = settings.readBearer();
    if (bearer?.kind === "no-secret") return unavailable(`can't be asked: ${bearer.message}`, true);
    const token = bearer?.secret.reveal().trim() ?? "";
    if (/[^\x21-\x7e]/.test(token))
      return unavailable("can't be asked: the bearer token in --bearer-file has blanks in it", true);
    const dispatcher = await openDispatcher(settings, url);
    if ("cause" in dispatcher) {
      return unavailable(`can't be asked (${dispatcher.cause}): check HTTPS_PROXY and CODEX_CA_CERTIFICATE`, true);
    }
    try {
      const { statusCode, headers, body } = await request(url, {
        dispatcher,
        signal: AbortSignal.timeout(settings.deadlineMs),
        headers: {
          accept: "application/json",
          "user-agent": settings.userAgent,
          ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
          ...(last === null ? {} : { "if-none-match": last.etag }),
        },
      });
      const bytes = await readCapped(body);
      if (statusCode === 304 && last !== null) return fetched(last.text);
      const target = REDIRECTS.includes(statusCode) ? targetOf([headers["location"]].flat()[0], url) : null;
      if (target !== null) {
        if (target.origin !== url.origin) {
          return unavailable("redirects to another host, which is never followed: check the address in --from", true);
        }
        return redirects < MAX_REDIRECTS
          ? await ask(target, redirects + 1)
          : unavailable("redirects again and again: check the address in --from", true);
      }
      if (statusCode !== 200) {
        const { problem, isFinal } = describeStatus(statusCode);
        return unavailable(problem, isFinal);
      }
      if (bytes === null)
        return unavailable("sends more than an auth.json can hold: check the address in --from", true);
      const text = bytes.toString("utf8");
      if (parseObject(text) === null) return unavailable("sends no auth.json: check the address in --from", false);
      const etag = [headers["etag"]].flat()[0];
      last = etag === undefined ? null : { etag, text: new Secret(text) };
      return fetched(new Secret(text));
    } catch (error) {
      const { name } = Object(error) as { name?: unknown };
      const code = name === "TimeoutError" ? "deadline" : codeOf(error);
      return unavailable(`can't be reached (${code}): check the address in --from and the network`, false);
    } finally {
      await dispatcher.destroy();
    }
  };
  return {
    location: shownUrl(settings.url),
    fetch: () => ask(settings.url, 0),
    watch: () => () => undefined,
    close: () => Promise.resolve(),
  };
}

function targetOf(location: string | undefined, from: URL): URL | null {
  return location !== undefined && URL.canParse(location, from.href) ? new URL(location, from) : null;
}

/** Null when it is more than {@link MAX_BODY_BYTES}. */
async function readCapped(body: AsyncIterable<Uint8Array>): Promise<Buffer | null> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    pieces.push(piece);
    length += piece.length;
    if (length > MAX_BODY_BYTES) return null;
  }
  return Buffer.concat(pieces);
}
