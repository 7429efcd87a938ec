import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { getResponse, HttpResponse, http } from "msw";
import { type LoginOptions, makeTokens, type Tokens } from "./login.js";

/** What the server does with one request instead of rotating the token. */
export interface Reply {
  readonly status?: number;
  /** A string goes out as it is, anything else as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly delayMs?: number;
  /** Called between the request and the answer: what somebody else does to the file meanwhile. */
  readonly beforeAnswer?: (post: Post) => void;
  /**
   * Faults below HTTP. `rotates` says whether the server spends the token first, as one does whose answer is lost.
   */
  readonly fault?:
    | "reset"
    | "half-body-reset"
    | "whole-body-reset"
    | "half-body-end"
    | "whole-body-end"
    | "silent"
    | "endless";
  readonly rotates?: boolean;
}

export interface Post {
  readonly refreshToken: string;
  readonly body: Record<string, unknown>;
  readonly headers: IncomingMessage["headers"];
}

/**
 * A loopback authorization server with single-use refresh tokens: presenting a retired token revokes the
 * whole family, as RFC 9700 §4.14.2 has it. Answers are made by msw handlers.
 */
export class TokenServer {
  readonly posts: Post[] = [];
  /** How often a retired token was presented. Each one costs somebody a login. */
  reuseCount = 0;
  url = "";
  /** The refresh token that was granted last; null before the first grant. */
  newestToken: string | null = null;
  /** Called when a request has arrived, before anything is decided about its answer. */
  onPost: ((post: Post) => void | Promise<void>) | null = null;
  readonly #server: Server;
  readonly #active = new Map<string, number>();
  readonly #retired = new Map<string, number>();
  readonly #revoked = new Set<number>();
  readonly #script: Reply[] = [];
  #families = 0;
  #always: Reply | null = null;
  readonly #grantOptions: LoginOptions;

  private constructor(grantOptions: LoginOptions) {
    this.#grantOptions = grantOptions;
    this.#server = createServer((request, response) => {
      void this.#serve(request, response);
    });
  }

  /** @param grantOptions what the tokens that it grants look like; by default they live for ten days */
  static async start(grantOptions: LoginOptions = {}): Promise<TokenServer> {
    const server = new TokenServer({ expiresInSec: 864_000, ...grantOptions });
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    server.url = `http://127.0.0.1:${(server.#server.address() as AddressInfo).port}/oauth/token`;
    return server;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Registers tokens as a new login, so that their refresh token can be presented once. */
  admit(tokens: Tokens): Tokens {
    this.#families += 1;
    this.#active.set(tokens.refresh_token, this.#families);
    return tokens;
  }

  /** Whether a refresh token would still be accepted. */
  isActive(refreshToken: string): boolean {
    const family = this.#active.get(refreshToken);
    return family !== undefined && !this.#revoked.has(family);
  }

  /** The next requests are answered with these, in turn. */
  script(...replies: Reply[]): void {
    this.#script.push(...replies);
  }

  /** Every request without a scripted reply is answered with this one; null restores rotation. */
  always(reply: Reply | null): void {
    this.#always = reply;
  }

  #present(refreshToken: string): Response {
    const retiredFamily = this.#retired.get(refreshToken);
    if (retiredFamily !== undefined) {
      this.reuseCount += 1;
      this.#revoked.add(retiredFamily);
    }
    const family = this.#active.get(refreshToken);
    if (family === undefined || this.#revoked.has(family)) {
      const code = retiredFamily === undefined ? "refresh_token_invalidated" : "refresh_token_reused";
      return HttpResponse.json({ error: { code, message: "no longer good" } }, { status: 401 });
    }
    return HttpResponse.json(this.#rotate(refreshToken, family));
  }

  #rotate(refreshToken: string, family: number): Tokens {
    this.#active.delete(refreshToken);
    this.#retired.set(refreshToken, family);
    const tokens = makeTokens(this.#grantOptions);
    this.#active.set(tokens.refresh_token, family);
    this.newestToken = tokens.refresh_token;
    return tokens;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = new URL(request.url ?? "/", this.url);
    if (asked.pathname !== new URL(this.url).pathname) {
      // Codex asks its vendor for other things too; a 401 there would make it refresh.
      response.writeHead(404, { "content-type": "application/json" }).end("{}");
      return;
    }
    const body = JSON.parse((await readAll(request)) || "{}") as Record<string, unknown>;
    const refreshToken = String(body["refresh_token"]);
    const post: Post = { refreshToken, body, headers: request.headers };
    this.posts.push(post);
    await this.onPost?.(post);
    const reply = this.#script.shift() ?? this.#always;
    reply?.beforeAnswer?.(post);
    if (reply?.delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, reply.delayMs));

    const handler = http.post("*/oauth/token", () => {
      const isOverridden = reply !== null && (reply.status !== undefined || reply.body !== undefined);
      const granted = !isOverridden || reply.rotates === true ? this.#present(refreshToken) : null;
      if (!isOverridden && granted !== null) return granted;
      // No body is null, not an empty string: a 204 must not have one.
      const content = reply?.body ?? null;
      const text = content === null || typeof content === "string" ? content : JSON.stringify(content);
      return new HttpResponse(text, {
        status: reply?.status ?? 200,
        headers: { ...reply?.headers },
      });
    });
    const answer = await getResponse([handler], new Request(this.url, { method: "POST" }));
    await send(response, answer ?? new Response(null, { status: 404 }), reply?.fault);
  }
}

async function send(response: ServerResponse, answer: Response, fault: Reply["fault"]): Promise<void> {
  const text = await answer.text();
  if (fault === "silent") return;
  if (fault === "reset") {
    response.socket?.resetAndDestroy();
    return;
  }
  // A promised length that is never reached makes the broken connection visible to the client.
  const length = fault === undefined || fault === "endless" ? {} : { "content-length": String(text.length + 1_000) };
  response.writeHead(answer.status, { ...Object.fromEntries(answer.headers), ...length });
  switch (fault) {
    case "endless":
      await pipeline(Readable.from(endlessText()), response).catch(() => undefined); // Until the client leaves.
      return;
    case "half-body-reset":
    case "whole-body-reset": {
      const part = fault === "whole-body-reset" ? text : text.slice(0, Math.floor(text.length / 2));
      await new Promise((resolve) => response.write(part, resolve));
      // The bytes must be on their way before the reset overtakes them.
      await new Promise((resolve) => setTimeout(resolve, 100));
      response.socket?.resetAndDestroy();
      return;
    }
    case "half-body-end":
    case "whole-body-end":
      // The connection is closed in good order, and at once: everything that was sent can still be read.
      response.write(fault === "whole-body-end" ? text : text.slice(0, Math.floor(text.length / 2)));
      response.socket?.end();
      return;
    default:
      response.end(text);
  }
}

function* endlessText(): Generator<string> {
  for (;;) yield "x".repeat(65_536);
}

async function readAll(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
