import { Readable } from "node:stream";
import { type Dispatcher, request } from "undici";
import { shownUrl } from "../core/shown-url.js";
import type { EndpointReply, TokenEndpoint, TokenRequest } from "../ports.js";
import { codeOf, type NetworkSettings, openDispatcher } from "./http-dispatcher.js";

export interface EndpointSettings extends NetworkSettings {
  readonly url: URL;
  readonly clientId: string;
  readonly userAgent: string;
  /** How long a request may take in all, milliseconds. */
  readonly deadlineMs: number;
}

/** What a process that wakes up late has for reading an answer that lies in its socket, milliseconds. */
const LAST_LOOK_MS = 1_000;

const HEADERS = { "content-type": "application/json", accept: "*/*" };

/** No real answer comes near this, bytes. */
const MAX_BODY_BYTES = 1024 * 1024;

/**
 * The token endpoint over HTTP, by undici's `request`: one connection of its own, no redirect, no retry.
 *
 * undici's `request` sends the headers together with the first piece of a streamed body. So the body is a
 * generator, and the moment in which it is first asked for is the last one before anything leaves.
 *
 * @see CODEX.md "The refresh request" (Codex 0.130 to 0.169)
 */
export function httpTokenEndpoint(settings: EndpointSettings): TokenEndpoint {
  return {
    shownUrl: shownUrl(settings.url),
    present: async (tokenRequest) => {
      const opened = await openDispatcher(settings, settings.url);
      if ("cause" in opened) return { kind: "unsent", cause: opened.cause };
      const progress: Progress = { at: "connecting" };
      const abort = new AbortController();
      const giveUp = (): void => abort.abort(Object.assign(new Error(), { code: "deadline" }));
      // In two steps: a process that was stopped until now first reads what has arrived meanwhile.
      let timer = setTimeout(() => {
        timer = setTimeout(giveUp, LAST_LOOK_MS);
      }, settings.deadlineMs - LAST_LOOK_MS);
      try {
        return await exchange(settings, tokenRequest, opened, progress, abort.signal);
      } catch (error) {
        if (progress.at === "held-back") return { kind: "held-back" };
        return { kind: progress.at === "sending" ? "unanswered" : "unsent", cause: codeOf(error) };
      } finally {
        clearTimeout(timer);
        await opened.destroy();
      }
    },
  };
}

async function exchange(
  { url, clientId, userAgent }: EndpointSettings,
  tokenRequest: TokenRequest,
  dispatcher: Dispatcher,
  progress: Progress,
  signal: AbortSignal,
): Promise<EndpointReply> {
  const refresh_token = tokenRequest.refreshToken.reveal();
  const payload = Buffer.from(JSON.stringify({ client_id: clientId, grant_type: "refresh_token", refresh_token }));
  const response = await request(url, {
    method: "POST",
    dispatcher,
    signal,
    headers: { ...HEADERS, "content-length": String(payload.length), "user-agent": userAgent },
    body: Readable.from(gate(payload, tokenRequest, progress), { objectMode: false }),
  });
  const httpStatus = response.statusCode;
  const retryAfter = [response.headers["retry-after"]].flat()[0] ?? null;
  let bytes = Buffer.alloc(0);
  // The journal follows at its own pace. Bytes that waited for it in the stream would be lost with the connection.
  let journaled = Promise.resolve();
  const isComplete = await new Promise<boolean>((resolve) => {
    response.body
      .on("data", (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk]);
        journaled = journaled.then(() => tokenRequest.onBody(httpStatus, chunk));
        if (bytes.length <= MAX_BODY_BYTES) return;
        resolve(true); // The connection did not break: the answer is none.
        response.body.destroy();
      })
      .on("end", () => resolve(true))
      .on("error", () => resolve(false)) // What has arrived may be the whole JSON all the same.
      .on("close", () => resolve(false));
  });
  await journaled;
  if (bytes.length === 0) await tokenRequest.onBody(httpStatus, bytes); // A bare 401 is an answer, too.
  return { kind: "answered", httpStatus, retryAfter, body: bytes.toString("utf8"), isComplete };
}

/** How far a request got: what decides whether its token may be spent. */
type Progress = { at: "connecting" | "held-back" | "sending" };

/** The request's body, which opens only when the caller says so. */
async function* gate(payload: Buffer, tokenRequest: TokenRequest, progress: Progress): AsyncGenerator<Buffer> {
  progress.at = (await tokenRequest.beforeFirstByte()) ? "sending" : "held-back";
  if (progress.at === "held-back") throw new Error();
  yield payload;
}
