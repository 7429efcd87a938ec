import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * What becomes of bytes. `stall`: they wait, both ways. `drop`: they vanish, both ways. `reset`: connections break, new ones
 * too.
 */
export type ProxyMode = "pass" | "stall" | "drop" | "reset";

/** A network between two processes that can be made bad, at a moment of the test's choice. */
export class TcpProxy {
  mode: ProxyMode = "pass";
  connectionCount = 0;
  bytesUp = 0;
  bytesDown = 0;
  /** Answers of PostgreSQL that end a question: how often a client has waited for the server. */
  roundTripCount = 0;
  /** Called with what a client sends, before it goes on. A mode that it sets counts for these very bytes. */
  onClientBytes: ((bytes: Buffer) => void) | null = null;
  /** Called when bytes of the server are about to go back. A mode that it sets counts for these very bytes. */
  onServerBytes: ((bytes: Buffer) => void) | null = null;
  port = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #waiting: (() => void)[] = [];

  private constructor(targetPort: number) {
    this.#server = createServer((client) => this.#join(client, targetPort));
  }

  static async start(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    proxy.port = (proxy.#server.address() as AddressInfo).port;
    return proxy;
  }

  set(mode: ProxyMode): void {
    this.mode = mode;
    if (mode === "reset") this.cut();
    if (mode !== "pass") return;
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Breaks every connection that stands. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: Socket, targetPort: number): void {
    this.connectionCount += 1;
    if (this.mode === "reset") {
      client.resetAndDestroy();
      return;
    }
    const server = connect(targetPort, "127.0.0.1");
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on("error", () => undefined);
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on("data", (bytes: Buffer) => {
        if (from === client) this.bytesUp += bytes.length;
        else this.#count(bytes);
        (from === client ? this.onClientBytes : this.onServerBytes)?.(bytes);
        this.#pass(to, bytes);
      });
    }
  }

  #pass(to: Socket, bytes: Buffer): void {
    if (this.mode === "pass" && this.#waiting.length === 0) to.write(bytes);
    else if (this.mode === "pass" || this.mode === "stall") this.#waiting.push(() => to.write(bytes));
  }

  #count(bytes: Buffer): void {
    this.bytesDown += bytes.length;
    // ReadyForQuery: a Z, its length of 5, and the state of the transaction.
    if (bytes.at(-6) === 0x5a && bytes.readUInt32BE(bytes.length - 5) === 5) this.roundTripCount += 1;
  }
}
