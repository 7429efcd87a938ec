import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Fault } from "../core/fault.js";
import { toFault } from "./errno.js";

/** What a path is answered with. */
export interface Page {
  readonly httpStatus: 200 | 503;
  readonly contentType: string;
  readonly text: string;
}

export interface ProbeServer {
  /** Where it listens, as `HOST:PORT`. */
  readonly address: string;
  close(): Promise<void>;
}

/** No probe takes longer, milliseconds. */
const TIMEOUT_MS = 10_000;

/**
 * Serves pages that anybody who reaches the address may read: only looks (GET and HEAD), nothing to set.
 *
 * @param pages by their path; a page that throws is a 500
 */
export async function serveProbes(
  { host, port }: { readonly host: string; readonly port: number },
  pages: ReadonlyMap<string, () => Promise<Page>>,
): Promise<ProbeServer | Fault> {
  const server = createServer(
    { requestTimeout: TIMEOUT_MS, headersTimeout: TIMEOUT_MS, keepAliveTimeout: 1 },
    (request, response) => {
      const page = pages.get((request.url ?? "").split("?")[0] ?? "");
      const isLook = request.method === "GET" || request.method === "HEAD";
      const send = (httpStatus: number, contentType: string, text: string): void => {
        response.writeHead(httpStatus, {
          "content-type": contentType,
          "cache-control": "no-store",
          ...(isLook ? {} : { allow: "GET, HEAD" }),
        });
        response.end(text);
      };
      if (!isLook) return send(405, "text/plain", "only GET and HEAD\n");
      if (page === undefined) return send(404, "text/plain", `${[...pages.keys()].join(" ")}\n`);
      page().then(
        ({ httpStatus, contentType, text }) => send(httpStatus, contentType, text),
        () => send(500, "text/plain", "a bug\n"),
      );
    },
  );
  return await new Promise((resolve) => {
    server.once("error", (error) => resolve(toFault(error, "listen on", `${host}:${port}`)));
    server.listen(port, host, () => {
      const { address, port: chosen } = server.address() as AddressInfo;
      server.on("error", () => undefined);
      resolve({
        address: `${address.includes(":") ? `[${address}]` : address}:${chosen}`,
        close: async () => {
          server.closeAllConnections();
          await new Promise((closed) => server.close(closed));
        },
      });
    });
  });
}
