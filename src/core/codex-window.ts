import type { Credential } from "./credential.js";

/** Codex refreshes by itself when the access token has this long to live, or less, milliseconds (0.136 to 0.169). */
const CODEX_MARGIN_MS = 300_000;

/** And when `exp` can't be read and `last_refresh` is older than this (public source, autumn 2026). */
const CODEX_STALE_MS = 8 * 86_400_000;

/** Whether a Codex that starts now, or uses its login, refreshes it without being asked. */
export function isCodexRefreshing({ accessClaims, lastRefreshMs }: Credential, nowMs: number): boolean {
  const { expiresAtMs } = accessClaims;
  if (expiresAtMs !== null) return expiresAtMs <= nowMs + CODEX_MARGIN_MS;
  return lastRefreshMs === null || lastRefreshMs < nowMs - CODEX_STALE_MS;
}
