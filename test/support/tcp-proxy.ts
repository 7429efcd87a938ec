import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { guessPort } from "./server-folder.js";

/**
 * What becomes of all connections:
 * - `pass` - everything goes through; what was held goes first.
 * - `stall` - connections are accepted, bytes are held until `pass`.
 * - `drop` - the same, but the bytes are lost for ever: a network that swallows packets.
 * - `reset` - open connections and new ones get a RST.
 * - `refuse` - nobody listens; open connections stay as they were in `pass`.
 */
export type ProxyMode = "pass" | "stall" | "drop" | "reset" | "refuse";

/**
 * What becomes of a piece of one connection's bytes, and of that connection:
 * - `forward`, `swallow` - this piece only.
 * - `hold` - this piece and all that follow, in both directions, wait for `set("pass")`.
 * - `cut` - the piece is lost, both sides get a RST.
 * - `cut-answer` - forwarded; when the other side has answered, the answer is lost and both sides get a RST. So what was
 *   forwarded has surely been obeyed.
 * - `hold-answer` - forwarded; the answer waits as with `hold`.
 */
export type ByteAction = "forward" | "swallow" | "hold" | "cut" | "cut-answer" | "hold-answer";

/**
 * Sees the bytes just before they would be forwarded. A short message arrives as one piece on the loopback, but nothing
 * promises that; what is inside TLS is not seen.
 *
 * @param connection 1 for the first accepted one
 */
export type ByteHook = (bytes: Buffer, connection: number) => ByteAction;

export interface ProxyCounts {
  /** Accepted ones, also those of `reset`. */
  connections: number;
  /** Forwarded to the server, and from it. */
  bytesUp: number;
  bytesDown: number;
  /** How often the server's bytes followed the client's on one connection: what a distant server would cost. */
  roundTrips: number;
}

interface Link {
  readonly number: number;
  readonly client: Socket;
  readonly server: Socket;
  /** In order; null is the end of that side's bytes. */
  readonly held: { readonly side: Side; readonly bytes: Buffer | null }[];
  isHeld: boolean;
  lastSide: Side | null;
  /** What happens to the next piece from the other side. */
  awaited: { readonly side: Side; readonly action: "cut" | "hold" } | null;
}

type Side = "client" | "server";

/** A proxy on 127.0.0.1 in front of a port there. Call `stop` at the end. */
export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const proxy = new TcpProxy(targetPort);
  await proxy.open();
  return proxy;
}

class TcpProxy {
  port = 0;
  readonly counts: ProxyCounts = { connections: 0, bytesUp: 0, bytesDown: 0, roundTrips: 0 };
  onClientBytes: ByteHook | null = null;
  onServerBytes: ByteHook | null = null;
  readonly #targetPort: number;
  readonly #links = new Set<Link>();
  /** All that are not closed yet, those that were cut while they connected too. */
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #mode: ProxyMode = "pass";

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
  }

  get mode(): ProxyMode {
    return this.#mode;
  }

  /** Resolves when the mode holds: `refuse` no longer listens, any other does. */
  async set(mode: ProxyMode): Promise<void> {
    this.#mode = mode;
    if (mode === "reset") this.cut();
    if (mode === "pass") {
      for (const link of this.#links) {
        link.isHeld = false;
        for (const { side, bytes } of link.held.splice(0)) this.#take(link, side, bytes);
      }
    }
    if (mode !== "refuse") await this.open();
    else if (this.#server !== null) {
      this.#server.close();
      this.#server = null;
    }
  }

  /** Resets all open connections, on both sides. */
  cut(): void {
    for (const link of this.#links) this.#cut(link);
  }

  async stop(): Promise<void> {
    await this.set("refuse");
    this.cut();
    // One that was reset before it had connected keeps a process alive.
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Listens, unless it does already; always on the port of the first time. */
  async open(): Promise<void> {
    for (let attempt = 1; this.#server === null; attempt += 1) {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
      const port = this.port === 0 ? guessPort() : this.port;
      try {
        await once(server.listen(port, "127.0.0.1"), "listening");
        this.port = port;
        this.#server = server;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || attempt === 5) throw error;
      }
    }
  }

  #accept(client: Socket): void {
    this.counts.connections += 1;
    const server = connect({ port: this.#targetPort, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const number = this.counts.connections;
    const link: Link = { number, client, server, held: [], isHeld: false, lastSide: null, awaited: null };
    this.#links.add(link);
    for (const side of ["client", "server"] as const) {
      link[side].on("data", (bytes: Buffer) => this.#take(link, side, bytes));
      link[side].on("end", () => this.#take(link, side, null));
      link[side].on("error", () => this.#cut(link));
      this.#sockets.add(link[side]);
      link[side].on("close", () => {
        this.#sockets.delete(link[side]);
        if (client.destroyed && server.destroyed) this.#links.delete(link);
      });
    }
    if (this.#mode === "reset") this.#cut(link);
  }

  #take(link: Link, side: Side, bytes: Buffer | null): void {
    if (this.#mode === "stall" || link.isHeld) {
      link.held.push({ side, bytes });
      return;
    }
    if (this.#mode === "drop") return;
    const other = side === "client" ? link.server : link.client;
    if (bytes === null) {
      other.end();
      return;
    }
    switch (this.#judge(link, side, bytes)) {
      case "swallow":
        return;
      case "hold":
        link.isHeld = true;
        link.held.push({ side, bytes });
        return;
      case "cut":
        this.#cut(link);
        return;
      case "cut-answer":
        link.awaited = { side: side === "client" ? "server" : "client", action: "cut" };
        break;
      case "hold-answer":
        link.awaited = { side: side === "client" ? "server" : "client", action: "hold" };
        break;
      case "forward":
        break;
    }
    this.#count(link, side, bytes);
    other.write(bytes);
  }

  #judge(link: Link, side: Side, bytes: Buffer): ByteAction {
    if (link.awaited?.side === side) {
      const { action } = link.awaited;
      link.awaited = null;
      return action;
    }
    const hook = side === "client" ? this.onClientBytes : this.onServerBytes;
    return hook?.(bytes, link.number) ?? "forward";
  }

  #count(link: Link, side: Side, bytes: Buffer): void {
    if (side === "client") this.counts.bytesUp += bytes.length;
    else this.counts.bytesDown += bytes.length;
    if (side === "server" && link.lastSide === "client") this.counts.roundTrips += 1;
    link.lastSide = side;
  }

  #cut(link: Link): void {
    link.client.resetAndDestroy();
    link.server.resetAndDestroy();
    this.#links.delete(link);
  }
}

export type { TcpProxy };
