import type { Field, Observed } from "./baseline.js";
import { type Case, HOUR, renderLastRefresh, type Vault } from "./differential-case.js";

/**
 * A difference between the shell script and this program that is wanted. Names and reasons are shown to users
 * in the README.
 *
 * A `reading` says: we read this input as the script reads another one. The test runs the script on that
 * other input, and what it does there is expected of us. A `result` names the fields in which the two results
 * may differ, and recognises exactly that difference.
 */
export type IntendedDifference = {
  readonly name: string;
  readonly reason: string;
} & (Reading | Result);

interface Reading {
  readonly kind: "reading";
  /** The other input, or null when this row has nothing to say about a case. */
  readonly readAs: (input: Case) => Case | null;
}

interface Result {
  readonly kind: "result";
  readonly fields: readonly Field[];
  readonly applies: (input: Case, theirs: Observed, ours: Observed, vault: Vault) => boolean;
}

/** In this order: an earlier row says whether a later one matters at all. */
export const INTENDED_DIFFERENCES: readonly IntendedDifference[] = [
  {
    kind: "result",
    name: "a setting that is no duration ends with 64",
    reason:
      "The script crashes on `soon` in mid-cycle (exit 2) and takes a negative margin. A setting that can't be meant is a mistake that should show at the start.",
    fields: ["exit", "word", "posts", "file", "lastRefresh", "ageSec"],
    applies: (input, _theirs, ours) =>
      [input.safetyMargin, input.staleAfter].some(
        (text) => text !== null && text !== "" && durationSec(text) === null,
      ) &&
      isUntouched(ours, 64, null) &&
      ours.lastRefresh === null &&
      ours.ageSec === null,
  },
  {
    kind: "reading",
    name: "durations may carry a unit",
    reason: "`2h` reads better than `7200`; the script's arithmetic crashes on it.",
    readAs: (input) => {
      const [safetyMargin, staleAfter] = [inSeconds(input.safetyMargin), inSeconds(input.staleAfter)];
      return safetyMargin === input.safetyMargin && staleAfter === input.staleAfter
        ? null
        : { ...input, safetyMargin, staleAfter };
    },
  },
  {
    kind: "reading",
    name: "a login that Codex keeps elsewhere is left alone",
    reason:
      "With `cli_auth_credentials_store` set to `keyring`, `auto` or `ephemeral` auth.json may be a leftover; refreshing it could spend a token that Codex still holds.",
    readAs: (input) =>
      /^cli_auth_credentials_store = "(keyring|auto|ephemeral)"$/m.test(input.config ?? "")
        ? { ...input, authMode: "apikey" }
        : null,
  },
  {
    kind: "reading",
    name: "auth modes are case-sensitive",
    reason:
      "As in Codex: `ChatGPT` and `chatgpt_auth_tokens` are unknown words to it, and it reads no login from such a file.",
    readAs: (input) =>
      typeof input.authMode === "string" &&
      input.authMode !== "chatgpt" &&
      ["chatgpt", "chatgpt_auth_tokens"].includes(input.authMode.toLowerCase())
        ? { ...input, authMode: "apikey" }
        : null,
  },
  {
    kind: "reading",
    name: "an absent auth_mode counts as Codex counts it",
    reason:
      "Older Codex releases write no `auth_mode`. Codex takes such a file for a ChatGPT login unless another credential stands in it; the script let that login expire.",
    readAs: (input) => {
      if (input.authMode !== undefined && input.authMode !== null) return null;
      const others = ["personal_access_token", "bedrock_api_key", "bedrock_access_keys", "OPENAI_API_KEY"];
      const isOther = others.some((key) => (input.companions[key] ?? null) !== null);
      return { ...input, authMode: isOther ? "apikey" : "chatgpt" };
    },
  },
  {
    kind: "reading",
    name: "only RFC 3339 times count as last_refresh",
    reason:
      "Codex reads RFC 3339 alone. A date without a time, or any other text, says nothing; it is not repeated in the status either.",
    readAs: ({ lastRefresh, ...rest }) => {
      const isOther =
        "value" in lastRefresh
          ? typeof lastRefresh.value === "string" && lastRefresh.value !== ""
          : ["date-only", "basic", "offset-hours-only"].includes(lastRefresh.format);
      return isOther ? { ...rest, lastRefresh: { value: undefined } } : null;
    },
  },
  {
    kind: "reading",
    name: "a last_refresh that is no text is unknown",
    reason: "The script's helper crashes on a number there, and the login is never refreshed.",
    readAs: (input) => {
      const { lastRefresh } = input;
      const isOther = "value" in lastRefresh && !["string", "undefined"].includes(typeof lastRefresh.value);
      return isOther ? { ...input, lastRefresh: { value: undefined } } : null;
    },
  },
  {
    kind: "reading",
    name: "a last_refresh in the future is unknown",
    reason:
      "More than five minutes ahead is no clock skew. When the expiry can't be read either, the script waits until that date comes; we refresh.",
    readAs: (input) =>
      "agoSec" in input.lastRefresh && input.lastRefresh.agoSec < -300
        ? { ...input, lastRefresh: { value: undefined } }
        : null,
  },
  {
    kind: "reading",
    name: "an unusable exp is unknown",
    reason:
      "An `exp` past the year 9999 (milliseconds by mistake), an infinite one and `true` are no dates. The script takes them for one, or crashes.",
    readAs: (input) => {
      const { accessToken } = input;
      if (accessToken.kind !== "jwt" || accessToken.exp === null || !("literal" in accessToken.exp)) return null;
      const exp: unknown = accessToken.exp.literal === "NaN" ? null : JSON.parse(accessToken.exp.literal);
      const isUnusable = typeof exp === "boolean" || (typeof exp === "number" && exp > 253_402_300_799);
      return isUnusable ? { ...input, accessToken: { ...accessToken, exp: null } } : null;
    },
  },
  {
    kind: "reading",
    name: "what is no JWT has no expiry",
    reason:
      "A JWT has three parts and an object as payload. The script reads an expiry from four parts too, and crashes on another payload.",
    readAs: (input) => {
      const { accessToken } = input;
      const isOdd = accessToken.kind === "payload" || (accessToken.kind === "jwt" && accessToken.parts > 3);
      return isOdd ? { ...input, accessToken: { kind: "value", value: "opaque-access-token" } } : null;
    },
  },
  {
    kind: "reading",
    name: "short-lived tokens have a smaller margin",
    reason:
      "A token that lives shorter than three margins is refreshed after two thirds of its life. With the margin as set it would be due the moment it arrives, for ever.",
    readAs: (input) => {
      const { accessToken } = input;
      if (accessToken.kind !== "jwt" || accessToken.iat === null || !("beforeExpSec" in accessToken.iat)) return null;
      const thirdSec = Math.floor(accessToken.iat.beforeExpSec / 3);
      const marginSec = input.safetyMargin === null ? 4 * HOUR : (durationSec(input.safetyMargin) ?? 4 * HOUR);
      return thirdSec > 0 && thirdSec < marginSec ? { ...input, safetyMargin: String(thirdSec) } : null;
    },
  },
  {
    kind: "reading",
    name: "a granted token that is no text is passed over",
    reason: "The script stores a number or an object as a token, and Codex can no longer read the file.",
    readAs: (input) => {
      const { answer } = input;
      if (answer.kind !== "http" || answer.body.kind !== "tokens") return null;
      const overrides = Object.entries(answer.body.overrides);
      const odd = overrides.filter(
        ([name, value]) => /_token$/.test(name) && value !== null && typeof value !== "string",
      );
      if (odd.length === 0) return null;
      const without = Object.fromEntries(odd.map(([name]) => [name, undefined]));
      const body = { ...answer.body, overrides: { ...answer.body.overrides, ...without } };
      return { ...input, answer: { ...answer, body } };
    },
  },
  {
    kind: "result",
    name: "a broken auth.json is a failure",
    reason:
      "Half a file may be another program's write in progress; a broken one, or a directory in its place, is a lost login that somebody must mend: exit 2 and `skip:unreadable` instead of 1 and `skip`.",
    fields: ["exit", "word"],
    applies: ({ file }, theirs, ours) =>
      file !== "login" &&
      is(theirs, 1, "skip") &&
      theirs.lastRefresh === "-1" &&
      is(ours, 2, "skip:unreadable") &&
      isUntouched(ours, 2, "skip:unreadable"),
  },
  {
    kind: "result",
    name: "a blank file counts as an empty one",
    reason: "White space alone is no login: `skip:no_auth_json` as for an empty file, instead of `skip`.",
    fields: ["word"],
    applies: ({ file }, theirs, ours) =>
      file === "blank" && is(theirs, 1, "skip") && isUntouched(ours, 1, "skip:no_auth_json"),
  },
  {
    kind: "result",
    name: "a crashed helper has a word of its own",
    reason: "What the script calls `skip:helper_error` is `skip:unreadable`: the file is at fault, not the program.",
    fields: ["word"],
    applies: (input, theirs, ours) =>
      (input.file !== "login" || hasWrongType(input)) &&
      isUntouched(theirs, 2, "skip:helper_error") &&
      isUntouched(ours, 2, "skip:unreadable"),
  },
  {
    kind: "result",
    name: "a field of the wrong type is a failure",
    reason:
      "The script takes `0`, `[]` or `{}` for an absent field, and sends the number `5` as a refresh token. Codex can't read such a file: exit 2 and `skip:unreadable`, nothing is sent.",
    fields: ["exit", "word", "posts", "file", "lastRefresh", "ageSec"],
    applies: (input, theirs, ours) =>
      hasWrongType(input) &&
      theirs.word !== "skip:helper_error" &&
      isUntouched(ours, 2, "skip:unreadable") &&
      ours.lastRefresh === "" &&
      ours.ageSec === -1,
  },
  {
    kind: "result",
    name: "a symbolic link stays one",
    reason: "The script puts a file in the link's place, and the file that it pointed to keeps the spent token.",
    fields: ["file"],
    applies: ({ file }, theirs, ours) =>
      file === "linked-login" && theirs.file.replace(/^file instead of link/, "link") === ours.file,
  },
  {
    kind: "result",
    name: "a success without any token is none",
    reason:
      "After `200 {}` the script writes a new `last_refresh` around the old tokens and says `refreshed`. Nobody knows what became of the token: exit 2, nothing is written.",
    fields: ["exit", "word", "file", "lastRefresh", "ageSec"],
    applies: (input, theirs, ours, vault) =>
      is(theirs, 0, "refreshed") &&
      /^\w+(, mode 600)?, (last_refresh="<now>"|tokens=\{\}.*)$/.test(theirs.file) &&
      is(ours, 2, "fail:apply_response") &&
      ours.file.endsWith("unchanged") &&
      tellsLastRefresh(input, ours, vault),
  },
  {
    kind: "result",
    name: "an answer for another account is not stored",
    reason:
      "Tokens of one account in the other's login leave a file that Codex refuses to reload. Exit 3 and `fail:permanent_200`; the file stays as it is.",
    fields: ["exit", "word", "file", "lastRefresh", "ageSec"],
    applies: (input, theirs, ours, vault) =>
      input.answer.kind === "http" &&
      input.answer.body.kind === "tokens" &&
      input.answer.body.account === "another" &&
      is(theirs, 0, "refreshed") &&
      is(ours, 3, "fail:permanent_200") &&
      ours.file.endsWith("unchanged") &&
      tellsLastRefresh(input, ours, vault),
  },
  {
    kind: "result",
    name: "a final error code is final with every status",
    reason:
      "Codex and other clients end a login on `refresh_token_expired`, `refresh_token_reused`, `refresh_token_invalidated` and their like with any status, and on `invalid_grant` with 400. The script retries for ever, which for a reused token only makes it worse.",
    fields: ["exit", "word"],
    applies: (input, theirs, ours) => {
      const status = statusOf(input);
      const code = codeOf(input);
      return (
        status !== 401 &&
        (FINAL_CODES.includes(code) || (status === 400 && code === "invalid_grant")) &&
        is(theirs, 2, `fail:transient_${status}`) &&
        is(ours, 3, `fail:permanent_${status}`)
      );
    },
  },
  {
    kind: "result",
    name: "a rejected client is no rejected login",
    reason:
      "`invalid_client`, `unauthorized_client` and `invalid_scope` with 401 blame the client's settings: exit 2 and `fail:transient_401`. A new login would not help.",
    fields: ["exit", "word"],
    applies: (input, theirs, ours) =>
      ["invalid_client", "unauthorized_client", "invalid_scope"].includes(codeOf(input)) &&
      is(theirs, 3, "fail:permanent_401") &&
      is(ours, 2, "fail:transient_401"),
  },
  {
    kind: "result",
    name: "a 401 stays one when the connection breaks after it",
    reason: "The script glues curl's failure to the status (`fail:transient_401000`) and retries.",
    fields: ["exit", "word"],
    applies: (input, theirs, ours) =>
      input.answer.kind === "http" &&
      input.answer.fault === "half-body-end" &&
      is(theirs, 2, "fail:transient_401000") &&
      is(ours, 3, "fail:permanent_401"),
  },
  {
    kind: "result",
    name: "a network failure is fail:transient_000",
    reason: "The script writes `fail:transient_000000`: curl's own 000 and the script's behind it.",
    fields: ["word"],
    applies: ({ answer }, theirs, ours) =>
      (answer.kind === "refused-connection" || answer.fault === "reset") &&
      is(theirs, 2, "fail:transient_000000") &&
      is(ours, 2, "fail:transient_000"),
  },
  {
    kind: "result",
    name: "a broken connection is tried once more",
    reason:
      "A server with a grace period answers the same token again if it is asked within seconds. The script's next request comes hours later, when the login is lost.",
    fields: ["posts"],
    applies: ({ answer }, theirs, ours) =>
      answer.kind === "http" &&
      /^(reset|half-body-)/.test(answer.fault ?? "") &&
      theirs.posts.length === 1 &&
      JSON.stringify(ours.posts) === JSON.stringify([...theirs.posts, ...theirs.posts]),
  },
  {
    kind: "result",
    name: "failures tell the real last_refresh",
    reason:
      "The script forgets it on every failure (empty, -1), just when somebody wants to know how old the login is.",
    fields: ["lastRefresh", "ageSec"],
    applies: (input, theirs, ours, vault) =>
      /^fail:/.test(theirs.word ?? "") &&
      theirs.lastRefresh === "" &&
      theirs.ageSec === -1 &&
      tellsLastRefresh(input, ours, vault),
  },
  {
    kind: "result",
    name: "an unknown last_refresh is empty",
    reason: "The script writes the age `-1` into `last_refresh` when it skips a file without one.",
    fields: ["lastRefresh"],
    applies: (_input, theirs, ours) => theirs.lastRefresh === "-1" && ours.lastRefresh === "",
  },
  {
    kind: "result",
    name: "a last_refresh with a blank in it stays whole",
    reason: "RFC 3339 allows a blank for the `T`. The script splits there, and reports half a date and no age.",
    fields: ["lastRefresh", "ageSec"],
    applies: (input, theirs, ours, vault) =>
      "format" in input.lastRefresh &&
      input.lastRefresh.format === "blank-for-T" &&
      theirs.ageSec === null &&
      tellsLastRefresh(input, ours, vault),
  },
];

const FINAL_CODES: readonly string[] = [
  "refresh_token_expired",
  "refresh_token_reused",
  "refresh_token_invalidated",
  "app_session_terminated",
  "account_deactivated",
  "access_denied",
];

function is(observed: Observed, exit: number, word: string): boolean {
  return observed.exit === exit && observed.word === word;
}

/** A run that sent nothing and wrote nothing but its status. */
function isUntouched(observed: Observed, exit: number, word: string | null): boolean {
  const isSame = /^(directory|.*unchanged)$/.test(observed.file);
  return observed.exit === exit && observed.word === word && observed.posts.length === 0 && isSame;
}

/** Whether the status repeats `last_refresh` from the file, or is silent where there is none to repeat. */
function tellsLastRefresh(input: Case, ours: Observed, vault: Vault): boolean {
  if (ours.lastRefresh === "" && ours.ageSec === -1) return true;
  if (ours.lastRefresh !== renderLastRefresh(input.lastRefresh, vault.nowSec)) return false;
  return (
    "agoSec" in input.lastRefresh && ours.ageSec !== null && Math.abs(ours.ageSec - input.lastRefresh.agoSec) < 120
  );
}

function statusOf({ answer }: Case): number | null {
  return answer.kind === "http" ? answer.status : null;
}

function codeOf({ answer }: Case): string {
  if (answer.kind !== "http" || answer.body.kind !== "text") return "";
  return (/"(?:error|code)":"(\w+)"/.exec(answer.body.text ?? "")?.[1] ?? "").toLowerCase();
}

function hasWrongType(input: Case): boolean {
  const isText = (value: unknown): boolean => value === undefined || value === null || typeof value === "string";
  const { tokens, refreshToken, accessToken } = input;
  if (!isText(input.authMode)) return true;
  if (tokens !== "object") {
    const value = tokens.instead ?? {};
    return typeof value !== "object" || Array.isArray(value);
  }
  return (
    (refreshToken !== "valid" && !isText(refreshToken.instead)) ||
    (accessToken.kind === "value" && !isText(accessToken.value))
  );
}

const UNIT_SEC: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, h: HOUR, d: 24 * HOUR };

function durationSec(text: string): number | null {
  const match = /^(\d+)([smhd]?)$/.exec(text.trim());
  return match === null ? null : Number(match[1]) * (UNIT_SEC[match[2] ?? ""] ?? 1);
}

function inSeconds(text: string | null): string | null {
  return text !== null && /^\d+[smhd]$/.test(text) ? String(durationSec(text)) : text;
}
