import { type Credential, compareStamps, type Reading, readCredential, stampsOf } from "./credential.js";
import { parseObject } from "./json.js";
import { mergeTokens } from "./merge.js";
import { isSameAccount } from "./reconcile.js";
import { Secret } from "./secret.js";
import { countDispatches, type Ticket } from "./ticket.js";

/** Where the blob comes from: a platform puts a secret there. */
const BLOB_NAME = "CODEX_AUTH_JSON";

export type BootstrapPlan =
  /** `over`: what the text takes the place of. */
  | { readonly kind: "write"; readonly text: Secret; readonly over: "nothing" | "older" }
  | { readonly kind: "keep"; readonly why: KeepReason };

export type KeepReason =
  | "same"
  | "newer"
  | "unclear"
  | "other-account"
  | "other-mode"
  | "copy"
  | "no-login-offered"
  | "broken-file"
  | "broken-blob"
  | "refused-before"
  | "sent-before";

/**
 * The text of an auth.json as a platform injects it: JSON, or the same in base64.
 *
 * @returns null when it is neither
 */
export function readBlob(blob: Secret): Secret | null {
  const text = blob.reveal().trim();
  const plain = text.startsWith("{") ? text : Buffer.from(text, "base64").toString("utf8").trim();
  return parseObject(plain) === null ? null : new Secret(plain);
}

/**
 * Decides whether the blob becomes auth.json.
 *
 * The trap: the secret was made from a login that has been refreshed since. Its refresh token is spent, and to bring it
 * back over the newer file would cost the login. So it only ever takes the place of nothing, or of what is provably older.
 *
 * @param tickets of the token in the blob, as {@link fingerprint} names it; an answer that lies in one is saved over it
 */
export function planBootstrap(
  text: Secret | null,
  local: Reading,
  tickets: readonly Ticket[],
  nowMs: number,
): BootstrapPlan {
  const offered = text === null ? null : readCredential(text.reveal());
  if (text === null || offered === null || offered.kind === "unreadable") return keep("broken-blob");
  const past = pastOf(tickets);
  switch (local.kind) {
    case "absent":
    case "empty":
      return past === null ? fill(text, tickets, nowMs) : keep(past);
    case "torn":
    case "unreadable":
      return keep("broken-file");
    case "inert":
      return keep(local.copy === null ? "other-mode" : "copy");
    case "login":
      if (offered.kind !== "login") return keep("no-login-offered");
      if (past !== null) return keep(past);
      return planOver(text, offered.credential, local.credential);
  }
}

/** What was done with the blob's token before: Codex, who knows of no ticket, would present it once more. */
function pastOf(tickets: readonly Ticket[]): KeepReason | null {
  if (tickets.some(({ state }) => state.kind === "rejected")) return "refused-before";
  if (tickets.some(({ state }) => state.kind === "answered")) return null;
  return countDispatches(tickets) > 0 ? "sent-before" : null;
}

/** Where an answer to the blob's token lies in a ticket, it is the answer's tokens that are written. */
function fill(text: Secret, tickets: readonly Ticket[], nowMs: number): BootstrapPlan {
  const [granted] = tickets.flatMap(({ state }) =>
    state.kind === "answered" && state.result.kind === "granted" ? [state.result] : [],
  );
  const merged = granted === undefined ? text.reveal() : mergeTokens(text.reveal(), granted.tokens, nowMs);
  return merged === null ? keep("broken-blob") : { kind: "write", text: new Secret(merged), over: "nothing" };
}

function planOver(text: Secret, offered: Credential, local: Credential): BootstrapPlan {
  if (offered.refreshToken.equals(local.refreshToken)) return keep("same");
  if (!isSameAccount(offered.accountIds, local.accountIds)) return keep("other-account");
  const order = compareStamps(stampsOf(offered), stampsOf(local));
  if (order === null || order === 0) return keep("unclear");
  return order > 0 ? { kind: "write", text, over: "older" } : keep("newer");
}

function keep(why: KeepReason): BootstrapPlan {
  return { kind: "keep", why };
}

type Level = "error" | "warn" | "info";

const KEPT: Readonly<Record<KeepReason, readonly [Level, string]>> = {
  same: ["info", `holds the login of ${BLOB_NAME} already`],
  newer: [
    "info",
    `is newer than ${BLOB_NAME}, and stays: the refresh token in that secret is spent; bring the secret up to date, or take it away`,
  ],
  unclear: [
    "warn",
    `stays: nothing tells whether ${BLOB_NAME} is newer; remove the file if that secret should be used`,
  ],
  "other-account": ["warn", `stays: ${BLOB_NAME} is another account's; remove the file if that secret should be used`],
  "other-mode": ["info", `stays: it holds another kind of login than ${BLOB_NAME}`],
  copy: ["info", `stays: it is a copy that others refresh; ${BLOB_NAME} is not used`],
  "no-login-offered": ["info", `stays: ${BLOB_NAME} holds no ChatGPT login with a refresh token`],
  "broken-file": [
    "warn",
    `is broken or out of reach, and stays: it may hold a newer login than ${BLOB_NAME}; mend it, or remove it`,
  ],
  "broken-blob": ["error", `was not written: ${BLOB_NAME} is no auth.json; put the text of one there, or take it away`],
  "sent-before": [
    "error",
    `was not written: the refresh token of ${BLOB_NAME} was sent before, and nobody knows what came of it; log in again, and bring the secret up to date`,
  ],
  "refused-before": [
    "error",
    `was not written: the server has refused the refresh token of ${BLOB_NAME} before; log in again, and bring the secret up to date`,
  ],
};

/** A plan as a line for the log. */
export function describeBootstrap(
  plan: BootstrapPlan,
  location: string,
): { readonly level: Level; readonly line: string } {
  if (plan.kind === "write") {
    const over = plan.over === "nothing" ? "there was none" : "which held an older login of the account";
    return { level: "info", line: `bootstrap: wrote ${location} from ${BLOB_NAME}: ${over}` };
  }
  const [level, words] = KEPT[plan.why];
  return { level, line: `bootstrap: ${location} ${words}` };
}
