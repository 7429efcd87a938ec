import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type IncomingHttpHeaders,
  type RequestListener,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, connect, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { httpTokenEndpoint } from "../../src/adapters/http-token-endpoint.js";
import { Secret } from "../../src/core/secret.js";
import type { EndpointReply, TokenEndpoint, TokenRequest } from "../../src/ports.js";
import { makeRefreshToken, makeTokens } from "../support/login.js";

const HOST = "auth.made-up.test";
const CLIENT_ID = "app_test";
const USER_AGENT = "codex-auth-watchdog/test";

interface Setting {
  readonly url: string;
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy?: string;
  readonly caFile?: string;
  readonly deadlineMs?: number;
}

/** The one place that knows how the adapter is set. */
function endpointAt(setting: Setting): TokenEndpoint {
  const { url, httpProxy = "", httpsProxy = "", noProxy = "", caFile, deadlineMs = 60_000 } = setting;
  return httpTokenEndpoint({
    url: new URL(url),
    deadlineMs,
    clientId: CLIENT_ID,
    userAgent: USER_AGENT,
    httpProxy,
    httpsProxy,
    noProxy,
    caFile: caFile ?? null,
  });
}

/** The system's and OpenSSL's own codes, as far as they differ between resolvers and Node releases. */
const NO_ADDRESS: unknown = expect.stringMatching(/^(ENOTFOUND|EAI_AGAIN)$/);
const TLS: unknown = expect.stringMatching(/CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO|^EPROTO$/);

const refreshToken = makeRefreshToken();

/** What the adapter told while it presented the token, in order. */
interface Told {
  readonly events: string[];
  readonly bytes: Buffer[];
}

async function present(
  setting: Setting,
  change: Partial<TokenRequest> = {},
): Promise<{ reply: EndpointReply; told: Told }> {
  const told: Told = { events: [], bytes: [] };
  const reply = await endpointAt(setting).present({
    refreshToken: new Secret(refreshToken),
    onBody: async (status, chunk) => {
      if (told.events.at(-1) !== `body ${status}`) told.events.push(`body ${status}`);
      told.bytes.push(Buffer.from(chunk));
      await Promise.resolve();
    },
    ...change,
    beforeFirstByte: async () => {
      told.events.push("before");
      return (await change.beforeFirstByte?.()) ?? true;
    },
  });
  return { reply, told };
}

let directory: string;
let caFile: string;
let key: Buffer;
let certificate: Buffer;
let cleanups: (() => Promise<void>)[];

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "watchdog-tls-"));
  caFile = join(directory, "certificate.pem");
  const keyFile = join(directory, "key.pem");
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
      .concat(["-subj", `/CN=${HOST}`, "-addext", `subjectAltName=DNS:${HOST},DNS:localhost,IP:127.0.0.1,IP:0.0.0.0`])
      .concat(["-keyout", keyFile, "-out", caFile]),
    { stdio: "ignore" },
  );
  key = readFileSync(keyFile);
  certificate = readFileSync(caFile);
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

beforeEach(() => {
  cleanups = [];
});

afterEach(async () => {
  for (const cleanup of cleanups) await cleanup();
});

/** A listening server on loopback that goes away after the test, with its connections. */
async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** A raw server: what arrived on each connection, and nothing answered unless `onData` does. */
async function listenRaw(
  onData: (socket: Socket, received: string) => void = () => undefined,
): Promise<{ url: string; connections: { received: string }[] }> {
  const connections: { received: string }[] = [];
  const port = await listen(
    createTcpServer((socket) => {
      const connection = { received: "" };
      connections.push(connection);
      socket.on("data", (chunk) => {
        connection.received += chunk.toString("latin1");
        onData(socket, connection.received);
      });
    }),
  );
  return { url: `http://127.0.0.1:${port}/oauth/token`, connections };
}

interface Seen {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function recorder(seen: Seen[], answer: unknown): RequestListener {
  return (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString("utf8");
      seen.push({ method: request.method, path: request.url, headers: request.headers, body });
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    });
  };
}

async function listenHttps(answer: unknown): Promise<{ port: number; seen: Seen[]; connections: () => number }> {
  const seen: Seen[] = [];
  let connections = 0;
  const server = createHttpsServer({ key, cert: certificate }, recorder(seen, answer));
  server.on("connection", () => {
    connections += 1;
  });
  server.on("tlsClientError", () => undefined);
  return { port: await listen(server), seen, connections: () => connections };
}

interface Proxy {
  readonly url: string;
  /** The authorities that tunnels were asked for, with what came beside. */
  readonly tunnels: { authority: string | undefined; headers: IncomingHttpHeaders }[];
  /** Requests that were no CONNECT: a token would have travelled in the clear. */
  readonly plain: string[];
  readonly connections: () => number;
}

/** A proxy that tunnels every host to one local port, or refuses with a status. */
async function listenProxy(targetPort: number, refusal: number | null = null): Promise<Proxy> {
  const tunnels: Proxy["tunnels"] = [];
  const plain: string[] = [];
  let connections = 0;
  const server: HttpServer = createHttpServer((request, response) => {
    plain.push(`${request.method} ${request.url}`);
    response.writeHead(500).end();
  });
  server.on("connection", () => {
    connections += 1;
  });
  server.on("connect", (request, client: Socket) => {
    tunnels.push({ authority: request.url, headers: request.headers });
    if (refusal !== null) {
      client.end(`HTTP/1.1 ${refusal} No\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    const target = connect(targetPort, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      target.pipe(client).pipe(target);
    });
    target.on("error", () => client.destroy());
    client.on("error", () => target.destroy()).on("close", () => target.destroy());
  });
  const port = await listen(server);
  return { url: `http://127.0.0.1:${port}`, tunnels, plain, connections: () => connections };
}

const OK = "HTTP/1.1 200 OK\r\nconnection: close\r\n";

describe("the request", () => {
  it("is one POST with exactly Codex's three fields and the length of its body", async () => {
    const seen: Seen[] = [];
    const granted = makeTokens();
    const port = await listen(createHttpServer(recorder(seen, granted)));
    const { reply, told } = await present({ url: `http://127.0.0.1:${port}/oauth/token?tenant=1` });
    expect(reply).toEqual({
      kind: "answered",
      httpStatus: 200,
      retryAfter: null,
      body: JSON.stringify(granted),
      isComplete: true,
    });
    expect(seen).toHaveLength(1);
    const [request] = seen;
    expect(request?.method).toBe("POST");
    expect(request?.path).toBe("/oauth/token?tenant=1");
    expect(JSON.parse(request?.body ?? "")).toEqual({
      client_id: CLIENT_ID,
      grant_type: "refresh_token",
      refresh_token: refreshToken,
    });
    const { host, connection, ...headers } = request?.headers ?? {};
    expect(host).toBe(`127.0.0.1:${port}`);
    expect(connection).toMatch(/^(close|keep-alive)$/);
    expect(headers).toEqual({
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(request?.body ?? "")),
      accept: "*/*",
      "user-agent": USER_AGENT,
    });
    expect(told.events).toEqual(["before", "body 200"]);
    expect(Buffer.concat(told.bytes).toString("utf8")).toBe(JSON.stringify(granted));
  });

  it("counts bytes and not characters when a token holds other letters", async () => {
    const seen: Seen[] = [];
    const port = await listen(createHttpServer(recorder(seen, {})));
    const { reply } = await present({ url: `http://127.0.0.1:${port}/` }, { refreshToken: new Secret('rt_Zoë"\\\n€') });
    expect(reply.kind).toBe("answered");
    expect(JSON.parse(seen[0]?.body ?? "")).toMatchObject({ refresh_token: 'rt_Zoë"\\\n€' });
  });

  it("opens a new connection each time, and leaves none open", async () => {
    const { url, connections } = await listenRaw((socket, received) => {
      if (received.endsWith("}")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    });
    for (let time = 0; time < 2; time += 1) expect((await present({ url })).reply.kind).toBe("answered");
    expect(connections).toHaveLength(2);
    for (const { received } of connections) expect(received.match(/POST /g)).toHaveLength(1);
  });

  it("shows its address without query and fragment", () => {
    const shown = endpointAt({ url: "https://auth.made-up.test/oauth/token?secret=1#secret" }).shownUrl;
    expect(shown).toBe("https://auth.made-up.test/oauth/token");
  });
});

describe("the last moment before the first byte", () => {
  it("comes when the connection stands and nothing has been sent, however long it takes", async () => {
    const { url, connections } = await listenRaw((socket, received) => {
      if (received.endsWith("}")) socket.end(`${OK}\r\n{}`);
    });
    const before: { connections: number; received: string }[] = [];
    const look = (): void => {
      before.push({ connections: connections.length, received: connections[0]?.received ?? "" });
    };
    const { reply } = await present(
      { url },
      {
        beforeFirstByte: async () => {
          // The server learns of a connection a moment after the client: wait for that, then watch the line.
          while (connections.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
          look();
          await new Promise((resolve) => setTimeout(resolve, 300));
          look();
          return true;
        },
      },
    );
    expect(before).toEqual([
      { connections: 1, received: "" },
      { connections: 1, received: "" },
    ]);
    expect(reply).toMatchObject({ kind: "answered", httpStatus: 200, body: "{}", isComplete: true });
    expect(connections).toHaveLength(1);
    expect(connections[0]?.received).toContain(refreshToken);
  });

  it("lets not one byte out when the answer is no", async () => {
    const { url, connections } = await listenRaw();
    const { reply, told } = await present({ url }, { beforeFirstByte: () => Promise.resolve(false) });
    expect(reply).toEqual({ kind: "held-back" });
    expect(told.events).toEqual(["before"]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(connections.map(({ received }) => received).join("")).toBe("");
  });

  it("lets not one byte out when the answer is an error", async () => {
    const { url, connections } = await listenRaw();
    const reply = await endpointAt({ url })
      .present({
        refreshToken: new Secret(refreshToken),
        beforeFirstByte: () => Promise.reject(new Error("the ticket is gone")),
        onBody: () => Promise.resolve(),
      })
      .catch(() => "thrown");
    expect(reply === "thrown" || (reply as EndpointReply).kind === "unsent").toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(connections.map(({ received }) => received).join("")).toBe("");
  });
});

describe("a request that never left", () => {
  it("is unsent when the connection is refused", async () => {
    const { url } = await listenRaw();
    for (const cleanup of cleanups.splice(0)) await cleanup();
    const { reply, told } = await present({ url });
    expect(reply).toEqual({ kind: "unsent", cause: "ECONNREFUSED" });
    expect(told.events).toEqual([]);
  });

  it("is unsent when the host has no address", async () => {
    const { reply, told } = await present({ url: "https://no-such-host.invalid/oauth/token" });
    expect(reply).toMatchObject({ kind: "unsent", cause: NO_ADDRESS });
    expect(told.events).toEqual([]);
  });

  it("is unsent when nobody trusts the certificate", async () => {
    const { port, seen, connections } = await listenHttps({});
    const { reply, told } = await present({ url: `https://127.0.0.1:${port}/oauth/token` });
    expect(reply).toMatchObject({ kind: "unsent", cause: TLS });
    expect(told.events).toEqual([]);
    expect(seen).toEqual([]);
    expect(connections()).toBe(1);
  });

  it("is unsent when the certificate is for another host", async () => {
    const { port, seen } = await listenHttps({});
    const { reply, told } = await present({ url: `https://127.0.0.2:${port}/oauth/token`, caFile });
    expect(reply.kind).toBe("unsent");
    expect(told.events).toEqual([]);
    expect(seen).toEqual([]);
  });

  it("is unsent when the server speaks no TLS", async () => {
    const { url, connections } = await listenRaw((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const { reply, told } = await present({ url: url.replace("http:", "https:") });
    expect(reply).toMatchObject({ kind: "unsent", cause: TLS });
    expect(told.events).toEqual([]);
    expect(connections[0]?.received).not.toContain(refreshToken.slice(0, 12));
  });

  it("is unsent when the server hangs up in the TLS handshake", async () => {
    const { url } = await listenRaw((socket) => socket.destroy());
    const { reply, told } = await present({ url: url.replace("http:", "https:") });
    expect(reply.kind).toBe("unsent");
    expect(told.events).toEqual([]);
  });

  it.each([
    { name: "missing", path: () => join(directory, "no-such-file.pem") },
    { name: "a directory", path: () => directory },
  ])("is unsent when the CA file is $name, and no connection is opened", async ({ path }) => {
    const { port, connections } = await listenHttps({});
    const { reply, told } = await present({ url: `https://127.0.0.1:${port}/oauth/token`, caFile: path() });
    expect(reply).toMatchObject({ kind: "unsent", cause: "ca-file" });
    expect(told.events).toEqual([]);
    expect(connections()).toBe(0);
  });

  it("is unsent when the CA file holds no certificate", async () => {
    const garbage = join(directory, "garbage.pem");
    writeFileSync(garbage, "this is no certificate\n");
    const { port, seen } = await listenHttps({});
    const { reply, told } = await present({ url: `https://127.0.0.1:${port}/oauth/token`, caFile: garbage });
    expect(reply.kind).toBe("unsent");
    expect(told.events).toEqual([]);
    expect(seen).toEqual([]);
  });
});

describe("an answer that does not come whole", () => {
  it("is unanswered when the connection is reset after the request", async () => {
    const { url, connections } = await listenRaw((socket, received) => {
      if (received.endsWith("}")) socket.resetAndDestroy();
    });
    const { reply, told } = await present({ url });
    expect(reply).toMatchObject({ kind: "unanswered", cause: "ECONNRESET" });
    expect(told.events).toEqual(["before"]);
    expect(connections).toHaveLength(1);
  });

  it("is unanswered when the connection is closed after the request", async () => {
    const { url, connections } = await listenRaw((socket, received) => {
      if (received.endsWith("}")) socket.end();
    });
    const { reply } = await present({ url });
    expect(reply).toMatchObject({ kind: "unanswered" });
    expect(connections).toHaveLength(1);
  });

  it("is unanswered when the answer is no HTTP", async () => {
    const { url } = await listenRaw((socket) => socket.end("SSH-2.0-OpenSSH_9.9\r\n"));
    expect((await present({ url })).reply.kind).toBe("unanswered");
  });

  it("hands over what had arrived when the connection breaks in the body", async () => {
    const { url } = await listenRaw((socket, received) => {
      if (!received.endsWith("}")) return;
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"a":1}');
      setTimeout(() => socket.resetAndDestroy(), 100);
    });
    const { reply, told } = await present({ url });
    expect(reply).toMatchObject({ kind: "answered", httpStatus: 200, body: '{"a":1}', isComplete: false });
    expect(Buffer.concat(told.bytes).toString("utf8")).toBe('{"a":1}');
  });

  it("stops reading a body beyond 1 MiB", async () => {
    const { url } = await listenRaw((socket, received) => {
      if (!received.endsWith("}")) return;
      socket.write(`${OK}\r\n`);
      const pour = (): void => {
        while (!socket.destroyed && socket.write("x".repeat(65_536)));
      };
      socket.on("drain", pour);
      pour();
    });
    const { reply } = await present({ url });
    expect(reply).toMatchObject({ kind: "answered", httpStatus: 200 });
    expect(reply.kind === "answered" && reply.body.length).toBeLessThan(2 * 1024 * 1024);
  });

  it("does not follow a redirect", async () => {
    const target = await listenRaw();
    const { url } = await listenRaw((socket, received) => {
      if (received.endsWith("}"))
        socket.end(`HTTP/1.1 307 Moved\r\nlocation: ${target.url}\r\ncontent-length: 0\r\n\r\n`);
    });
    const { reply } = await present({ url });
    expect(reply).toMatchObject({ kind: "answered", httpStatus: 307, body: "" });
    expect(target.connections).toHaveLength(0);
  });

  it("passes over an interim answer, and hands Retry-After on", async () => {
    const { url } = await listenRaw((socket, received) => {
      if (!received.endsWith("}")) return;
      socket.write("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
      socket.end("HTTP/1.1 429 Slow down\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n");
    });
    const { reply, told } = await present({ url });
    expect(reply).toMatchObject({ kind: "answered", httpStatus: 429, retryAfter: "30" });
    // Without a body, too, the answer is told once, so that it gets into the ticket.
    expect(told.events).toEqual(["before", "body 429"]);
  });
});

describe("the deadline", () => {
  it("ends a request that nobody answers, and says that the token may be spent", async () => {
    const { url } = await listenRaw();
    const { reply } = await present({ url, deadlineMs: 1_200 });
    expect(reply).toEqual({ kind: "unanswered", cause: "deadline" });
  });

  it("lets a process that was stopped past it read the answer that arrived meanwhile", async () => {
    // The server has a thread of its own, because this one is about to stand still.
    const worker = new Worker(
      `const { createServer } = require("node:http");
       const { parentPort } = require("node:worker_threads");
       const server = createServer((request, response) => {
         request.resume().on("end", () => parentPort.postMessage("asked"));
         parentPort.once("message", () => setTimeout(() => response.end('{"refresh_token":"rt-new"}'), 500));
       }).listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));`,
      { eval: true },
    );
    const [port] = (await once(worker, "message")) as [number];
    // Half a second after the request has reached it the server answers; we stand still until long after that.
    worker.once("message", () => {
      worker.postMessage("answer");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000);
    });
    const { reply } = await present({ url: `http://127.0.0.1:${port}/oauth/token`, deadlineMs: 2_000 });
    await worker.terminate();
    expect(reply).toMatchObject({ kind: "answered", httpStatus: 200, body: '{"refresh_token":"rt-new"}' });
  });
});

describe("a proxy", () => {
  it("tunnels to an endpoint whose certificate the CA file vouches for", async () => {
    const granted = makeTokens();
    const target = await listenHttps(granted);
    const proxy = await listenProxy(target.port);
    const { reply, told } = await present({ url: `https://${HOST}/oauth/token`, httpsProxy: proxy.url, caFile });
    expect(reply).toMatchObject({ kind: "answered", httpStatus: 200, body: JSON.stringify(granted) });
    expect(told.events).toEqual(["before", "body 200"]);
    expect(proxy.tunnels.map(({ authority }) => authority)).toEqual([`${HOST}:443`]);
    expect(proxy.plain).toEqual([]);
    expect(target.seen).toHaveLength(1);
    expect(target.seen[0]?.headers.host).toBe(HOST);
    expect(JSON.parse(target.seen[0]?.body ?? "")).toMatchObject({ refresh_token: refreshToken });
  });

  it("gets its own password, and the endpoint does not", async () => {
    const target = await listenHttps({});
    const proxy = await listenProxy(target.port);
    const httpsProxy = proxy.url.replace("http://", "http://user:open%20sesame@");
    const { reply } = await present({ url: `https://${HOST}/oauth/token`, httpsProxy, caFile });
    expect(reply.kind).toBe("answered");
    const expected = `Basic ${Buffer.from("user:open sesame").toString("base64")}`;
    expect(proxy.tunnels[0]?.headers["proxy-authorization"]).toBe(expected);
    expect(target.seen[0]?.headers).not.toHaveProperty("proxy-authorization");
  });

  it("does not see the token even when the tunnel stands and the answer is no", async () => {
    const target = await listenHttps({});
    const proxy = await listenProxy(target.port);
    const { reply } = await present(
      { url: `https://${HOST}/oauth/token`, httpsProxy: proxy.url, caFile },
      { beforeFirstByte: () => Promise.resolve(false) },
    );
    expect(reply).toEqual({ kind: "held-back" });
    expect(target.seen).toEqual([]);
  });

  it("does not weaken TLS: without the CA file the endpoint is not trusted", async () => {
    const target = await listenHttps({});
    const proxy = await listenProxy(target.port);
    const { reply, told } = await present({ url: `https://${HOST}/oauth/token`, httpsProxy: proxy.url });
    expect(reply).toMatchObject({ kind: "unsent", cause: TLS });
    expect(told.events).toEqual([]);
    expect(target.seen).toEqual([]);
  });

  it.each([407, 502, 403, 503])("leaves the request unsent when it refuses with %i", async (status) => {
    const target = await listenHttps({});
    const proxy = await listenProxy(target.port, status);
    const { reply, told } = await present({ url: `https://${HOST}/oauth/token`, httpsProxy: proxy.url, caFile });
    expect(reply).toMatchObject({ kind: "unsent", cause: "UND_ERR_ABORTED" });
    expect(told.events).toEqual([]);
    expect(target.connections()).toBe(0);
  });

  it("leaves the request unsent when it is not there", async () => {
    const proxy = await listenProxy(1);
    for (const cleanup of cleanups.splice(0)) await cleanup();
    const { reply, told } = await present({ url: `https://${HOST}/oauth/token`, httpsProxy: proxy.url, caFile });
    expect(reply).toMatchObject({ kind: "unsent", cause: "ECONNREFUSED" });
    expect(told.events).toEqual([]);
  });

  it("leaves the request unsent when its address is no URL", async () => {
    const { reply } = await present({ url: `https://${HOST}/oauth/token`, httpsProxy: "proxy without a scheme" });
    expect(reply).toMatchObject({ kind: "unsent", cause: "proxy-setting" });
  });

  it.each([HOST, "*", ".made-up.test", "example.com, auth.made-up.test:443"])(
    "is passed by for a host in NO_PROXY (%s)",
    async (noProxy) => {
      const target = await listenHttps({});
      const proxy = await listenProxy(target.port);
      const { reply } = await present({ url: `https://${HOST}/oauth/token`, httpsProxy: proxy.url, noProxy, caFile });
      // Reached directly, the made-up host has no address.
      expect(reply).toMatchObject({ kind: "unsent", cause: NO_ADDRESS });
      expect(proxy.connections()).toBe(0);
    },
  );

  it("reaches a host in NO_PROXY directly, and others through the proxy", async () => {
    const target = await listenHttps({});
    const proxy = await listenProxy(target.port);
    // On Linux 0.0.0.0 leads to this machine, and it is none of the loopback names.
    const url = `https://0.0.0.0:${target.port}/oauth/token`;
    const direct = await present({ url, httpsProxy: proxy.url, noProxy: "0.0.0.0", caFile });
    expect(direct.reply.kind).toBe("answered");
    expect(proxy.connections()).toBe(0);
    const tunnelled = await present({ url, httpsProxy: proxy.url, noProxy: "example.com", caFile });
    expect(tunnelled.reply.kind).toBe("answered");
    expect(proxy.tunnels).toHaveLength(1);
    expect(target.seen).toHaveLength(2);
  });

  it("never stands between us and loopback", async () => {
    const plain: Seen[] = [];
    const plainPort = await listen(createHttpServer(recorder(plain, {})));
    const tls = await listenHttps({});
    const proxy = await listenProxy(tls.port);
    const proxies = { httpProxy: proxy.url, httpsProxy: proxy.url };
    for (const host of ["127.0.0.1", "localhost"]) {
      expect((await present({ url: `http://${host}:${plainPort}/`, ...proxies })).reply.kind).toBe("answered");
      const secure = await present({ url: `https://${host}:${tls.port}/`, ...proxies, caFile });
      expect(secure.reply.kind).toBe("answered");
    }
    expect(plain).toHaveLength(2);
    expect(tls.seen).toHaveLength(2);
    expect(proxy.connections()).toBe(0);
  });
});
