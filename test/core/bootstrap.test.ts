import { describe, expect, it } from "vitest";
import { describeBootstrap, planBootstrap, readBlob } from "../../src/core/bootstrap.js";
import { type Reading, readCredential } from "../../src/core/credential.js";
import { toFollowerText } from "../../src/core/follower-text.js";
import { judgeAnswer } from "../../src/core/grant.js";
import { Secret } from "../../src/core/secret.js";
import type { Ticket, TicketState } from "../../src/core/ticket.js";
import { makeAuthJson, makeTokens } from "../support/login.js";

const OLD = makeAuthJson(makeTokens({ livesForSec: 1_000, expiresInSec: 100 }));
const NEW = makeAuthJson(makeTokens({ livesForSec: 1_000, expiresInSec: 900 }));
const OTHER = makeAuthJson(makeTokens({ accountId: "acct-other" }), { accountId: "acct-other" });
const API_KEY = '{"auth_mode":"apikey","OPENAI_API_KEY":"sk-made-up"}';
const ABSENT: Reading = { kind: "absent" };

function ticket(state: TicketState): Ticket {
  return { fingerprint: "f", attempt: 1, createdAtMs: 0, life: "gone", prepared: null, rewrite: null, state };
}

const REFUSED = ticket({ kind: "rejected", rejection: { cause: "reused", httpStatus: 401 } });
const UNANSWERED = ticket({ kind: "unanswered", atMs: 0, cause: "deadline" });

function planned(blob: string, local: Reading, tickets: readonly Ticket[] = []): string {
  const plan = planBootstrap(readBlob(new Secret(blob)), local, tickets, 0);
  const { line } = describeBootstrap(plan, "/h/auth.json");
  expect(line).toMatch(/^bootstrap: (wrote )?\/h\/auth\.json /);
  expect(line).toContain("CODEX_AUTH_JSON");
  return plan.kind === "write" ? `over ${plan.over}` : plan.why;
}

describe("the blob", () => {
  it.each<[string, string, Reading, readonly Ticket[], string]>([
    ["fills an empty home", OLD, ABSENT, [], "over nothing"],
    ["fills an empty file", OLD, readCredential(""), [], "over nothing"],
    ["fills it with another kind of login too", API_KEY, ABSENT, [], "over nothing"],
    ["replaces an older login of the account", NEW, readCredential(OLD), [], "over older"],
    ["never replaces a newer one: the old-secret trap", OLD, readCredential(NEW), [], "newer"],
    ["is there already", NEW, readCredential(NEW), [], "same"],
    ["is another account's", OTHER, readCredential(OLD), [], "other-account"],
    ["holds no login", API_KEY, readCredential(OLD), [], "no-login-offered"],
    ["meets an API key", NEW, readCredential(API_KEY), [], "other-mode"],
    ["meets a follower's copy", NEW, readCredential(toFollowerText(OLD) ?? ""), [], "copy"],
    ["meets half a file", NEW, readCredential("{"), [], "broken-file"],
    ["meets what can't be read", NEW, { kind: "unreadable", problem: "" }, [], "broken-file"],
    ["was refused before", NEW, ABSENT, [REFUSED], "refused-before"],
    ["was refused before, and meets an older one", NEW, readCredential(OLD), [REFUSED], "refused-before"],
    [
      "was sent before, and nobody knows what came of it: Codex would send it again",
      NEW,
      ABSENT,
      [UNANSWERED],
      "sent-before",
    ],
    ["is broken", '{"tokens":', ABSENT, [], "broken-blob"],
    ["is a list", "[]", ABSENT, [], "broken-blob"],
    ["is of a shape that nobody reads", '{"tokens":5}', ABSENT, [], "broken-blob"],
  ])("%s", (_name, blob, local, tickets, expected) => {
    expect(planned(blob, local, tickets)).toBe(expected);
  });

  it("may come in base64", () => {
    expect(readBlob(new Secret(` ${Buffer.from(NEW).toString("base64")}\n`))?.reveal()).toBe(NEW);
    expect(readBlob(new Secret(`\n${NEW}\n`))?.reveal()).toBe(NEW);
    expect(readBlob(new Secret(Buffer.from(`${NEW}\n`).toString("base64")))?.reveal()).toBe(NEW);
    expect(readBlob(new Secret(Buffer.from(NEW).toString("base64url")))?.reveal()).toBe(NEW);
    for (const text of ["nonsense", "", '"{}"', Buffer.from("[]").toString("base64")]) {
      expect(readBlob(new Secret(text))).toBeNull();
    }
  });

  it("stays in doubt where it is another login of the same age", () => {
    const other = NEW.replace(/rt_[\w-]+/, "rt_another");
    expect(planned(other, readCredential(NEW))).toBe("unclear");
  });

  it("is refused for one ticket of several, and wins over what it is newer than", () => {
    expect(planned(NEW, readCredential(OLD), [UNANSWERED, REFUSED])).toBe("refused-before");
    expect(planned(NEW, readCredential(OLD), [UNANSWERED])).toBe("sent-before");
    expect(planned("{", ABSENT, [REFUSED])).toBe("broken-blob");
  });

  it("is written with the tokens that an answer to it has brought", () => {
    const next = makeTokens();
    const body = JSON.stringify(next);
    const result = judgeAnswer(200, body);
    if (result.kind !== "granted") throw new Error(result.kind);
    const answered = ticket({ kind: "answered", result, isWhole: true, atMs: 0 });
    const plan = planBootstrap(new Secret(NEW), ABSENT, [answered], 0);
    expect(plan.kind === "write" && JSON.parse(plan.text.reveal())).toMatchObject({ tokens: next });
  });

  it("is written byte by byte, and the log says over what", () => {
    const plan = planBootstrap(readBlob(new Secret(`${NEW}\n`)), readCredential(OLD), [], 0);
    expect(plan.kind === "write" && plan.text.reveal()).toBe(NEW);
    expect(describeBootstrap(plan, "/h/auth.json")).toEqual({
      level: "info",
      line: "bootstrap: wrote /h/auth.json from CODEX_AUTH_JSON: which held an older login of the account",
    });
    const text = new Secret(NEW);
    expect(describeBootstrap({ kind: "write", text, over: "nothing" }, "/h/auth.json").line).toMatch(/there was none$/);
  });

  it("stays in doubt where nothing tells its age", () => {
    const opaque = (token: string): string =>
      JSON.stringify({ auth_mode: "chatgpt", tokens: { refresh_token: token } });
    expect(planned(opaque("rt-1"), readCredential(opaque("rt-2")))).toBe("unclear");
  });
});
