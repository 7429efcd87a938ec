/**
 * Whether a URL's host name means this very machine.
 *
 * @param hostname as `URL.hostname` gives it: in lower case, IPv6 in brackets
 * @see RFC 6761 §6.3 (localhost), RFC 1122 §3.2.1.3 (127/8), RFC 4291 §2.5.3 (::1)
 */
export function isLoopbackHost(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
