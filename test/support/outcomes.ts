import type { FaultKind } from "../../src/core/fault.js";
import type { RejectionCause } from "../../src/core/grant.js";
import type { CycleOutcome } from "../../src/core/outcome.js";

type Kind = CycleOutcome["kind"];

const FAULT_KINDS: readonly FaultKind[] = [
  ...(["disk-full", "read-only", "permission", "busy-mount", "too-many-open-files"] as const),
  ...([
    "wrong-file-type",
    "not-a-directory",
    "too-large",
    "file-size-limit",
    "missing",
    "address-in-use",
    "bad-address",
    "bad-key",
    "database-away",
    "not-installed",
    "database-login",
    "database-missing",
    "database-role",
    "database-no-role",
  ] as const),
  ...(["database-schema", "database-full", "database-tls", "database-read-only", "database", "io"] as const),
];
const CAUSES: readonly RejectionCause[] = [
  "expired",
  "reused",
  "revoked",
  "ended",
  "other-account",
  "lost-response",
  "refused-by-codex",
  "restored",
  "unnamed",
];

function transient(httpStatus: number | null, cause: string, wasSent: boolean): CycleOutcome {
  return { kind: "transient", httpStatus, cause, wasSent, retryAfterMs: null };
}

/** Every kind of outcome, in its variants. A kind that is added has to be added here: the compiler says so. */
export const OUTCOMES: { readonly [Name in Kind]: readonly Extract<CycleOutcome, { kind: Name }>[] } = {
  absent: [{ kind: "absent" }],
  inert: ["no_refresh_token", "auth_mode=apikey"].map((reason) => ({ kind: "inert", reason })),
  "other-store": [{ kind: "other-store", setting: "keyring" }],
  fresh: [
    { kind: "fresh", expiresInSec: 864_000, ageSec: 60 },
    { kind: "fresh", expiresInSec: null, ageSec: null },
  ],
  braked: [{ kind: "braked", untilMs: Date.parse("2026-11-21T12:01:00Z") }],
  refreshed: [false, true].map((isRecovery) => ({
    kind: "refreshed",
    httpStatus: 200,
    rotated: ["access_token", "refresh_token"],
    isRecovery,
  })),
  adopted: (["sibling", "newer-login", "logout"] as const).map((from) => ({ kind: "adopted", from })),
  unreadable: [{ kind: "unreadable", problem: "is not complete JSON" }],
  blocked: FAULT_KINDS.map((kind) => ({
    kind: "blocked",
    fault: { kind, step: "write in", path: "/p", code: "EXXX" },
  })),
  busy: [{ kind: "busy", holder: "process 7 on host" }],
  "left-to-owner": [{ kind: "left-to-owner" }],
  "owner-missing": (["expired", "answer-waits"] as const).map((what) => ({ kind: "owner-missing", what })),
  stopped: [{ kind: "stopped" }],
  transient: [
    transient(429, "rate-limit", false),
    transient(503, "unavailable", false),
    transient(307, "redirect", false),
    transient(400, "configuration", false),
    transient(403, "refused", false),
    transient(500, "server-error", true),
    transient(200, "bad-body", true),
    transient(200, "broken-off", true),
    transient(null, "ECONNREFUSED", false),
    transient(null, "UND_ERR_SOCKET", true),
    transient(null, "deadline", true),
    transient(null, "ca-file", false),
    transient(null, "proxy-setting", false),
  ] as Extract<CycleOutcome, { kind: "transient" }>[],
  resting: [1, 3].map((dispatchCount) => ({
    kind: "resting",
    untilMs: Date.parse("2026-11-22T00:00:00Z"),
    dispatchCount,
  })),
  "login-required": CAUSES.flatMap((cause) =>
    [false, true].map((isLatched) => ({
      kind: "login-required" as const,
      rejection: { cause, httpStatus: cause === "other-account" ? 200 : 401 },
      isLatched,
    })),
  ),
  unsaved: [{ kind: "unsaved", problem: "cannot replace /p (ENOSPC): free some space" }],
};

export const ALL_OUTCOMES: readonly CycleOutcome[] = Object.values(OUTCOMES).flat();
