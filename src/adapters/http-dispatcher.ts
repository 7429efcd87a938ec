import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { Agent, type Dispatcher, EnvHttpProxyAgent } from "undici";
import { isLoopbackHost } from "../core/loopback.js";

/** How this machine reaches others. */
export interface NetworkSettings {
  /** Proxies as URLs, empty when there is none. */
  readonly httpProxy: string;
  readonly httpsProxy: string;
  /** Hosts that are reached directly, in the usual comma-separated form. */
  readonly noProxy: string;
  /** A PEM file with further certificate authorities, null when there is none. */
  readonly caFile: string | null;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** A way to a host, for one request or a few; or why there is none. */
export async function openDispatcher(
  settings: NetworkSettings,
  url: URL,
): Promise<Dispatcher | { readonly cause: "ca-file" | "proxy-setting" }> {
  keepParserSimple();
  let ca: string[] | undefined;
  try {
    if (settings.caFile !== null) {
      const own = readFileSync(settings.caFile, "utf8");
      ca = [...(await import("node:tls")).rootCertificates, own];
    }
  } catch {
    return { cause: "ca-file" };
  }
  const connect = { timeout: CONNECT_TIMEOUT_MS, ...(ca === undefined ? {} : { ca }) };
  const options = { connect, pipelining: 0 };
  // A token that goes to this very machine has no business with a proxy.
  if (isLoopbackHost(url.hostname)) return new Agent(options);
  try {
    // All three proxy settings are given, so that undici does not read the environment by itself.
    const { httpProxy, httpsProxy, noProxy } = settings;
    return new EnvHttpProxyAgent({
      ...options,
      requestTls: connect,
      proxyTls: connect,
      httpProxy,
      httpsProxy,
      noProxy,
    });
  } catch {
    return { cause: "proxy-setting" };
  }
}

/**
 * undici's parser is WebAssembly. V8 11.3 (Node 20) finds one answer enough to compile it anew, optimized, and a process
 * that ends waits for that: 55 ms of processor time for nothing. Newer ones start with a budget seven times as large.
 */
function keepParserSimple(): void {
  if (process.versions.node.startsWith("20.")) setFlagsFromString("--wasm-tiering-budget=1000000000");
}

/** A stable code of an error or of what caused it. Messages are left alone: they may quote what was sent. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  return "code" in error && typeof error.code === "string" ? error.code : codeOf(error.cause);
}
