// What the file looks like after Codex, when Codex refreshes, and what it sends.
import { chmodSync, statSync } from "node:fs";
import { readCredential } from "../../src/core/credential.js";
import { makeJwt, makeTokens } from "../support/login.js";
import type { AuthDocument, Stage } from "./stage.js";

export function count(posts: number): string {
  return posts === 1 ? "1 POST" : `${posts} POSTs`;
}

export function countPosts(stage: Stage): string {
  return count(stage.postCount);
}

export async function fileShape(stage: Stage): Promise<string> {
  stage.logIn();
  await (await stage.startCodex()).refresh();
  const text = stage.home.readAuth();
  const isPretty = text === JSON.stringify(JSON.parse(text), null, 2);
  return `${isPretty ? "two spaces" : "another layout"}, ${modeOf(stage)}${stage.isNewestSaved ? "" : ", not saved"}`;
}

export async function openMode(stage: Stage): Promise<string> {
  stage.logIn();
  chmodSync(stage.home.authJsonPath, 0o644);
  await (await stage.startCodex()).refresh();
  return modeOf(stage);
}

function modeOf({ home }: Stage): string {
  return `0${(statSync(home.authJsonPath).mode & 0o777).toString(8)}`;
}

export async function unknownFields(stage: Stage): Promise<string> {
  stage.logIn({}, (document) => {
    document["somebody_elses"] = 1;
    document.tokens["somebody_elses"] = 1;
  });
  await (await stage.startCodex()).refresh();
  const count = stage.home.readAuth().split("somebody_elses").length - 1;
  return stage.isNewestSaved ? `${2 - count} of 2 dropped` : "not saved";
}

export async function readableByUs(stage: Stage): Promise<string> {
  stage.logIn({ lastRefreshAgoSec: 86_400 });
  const beforeMs = Date.now();
  await (await stage.startCodex()).refresh();
  const reading = readCredential(stage.home.readAuth());
  if (reading.kind !== "login") return reading.kind;
  const { lastRefreshMs, accountIds } = reading.credential;
  const isNow = lastRefreshMs !== null && lastRefreshMs >= beforeMs && lastRefreshMs <= Date.now();
  return `${accountIds.join()}, last_refresh ${isNow ? "of now" : reading.credential.lastRefreshText}`;
}

export async function partialAnswer(stage: Stage): Promise<string> {
  const old = stage.logIn();
  const { access_token, refresh_token } = makeTokens({ expiresInSec: 86_400, accountId: "acct-other" });
  stage.server.script({ body: { access_token, refresh_token } });
  await (await stage.startCodex()).refresh();
  const tokens = stage.home.readTokens();
  if (tokens["refresh_token"] !== refresh_token) return "not saved";
  const isKept = tokens["id_token"] === old.id_token && tokens["account_id"] === "acct-test";
  return isKept ? "kept" : "changed";
}

/** POSTs of a Codex that starts over a login and is asked for its token, but not for a refresh. */
export function postsAtStart(expiresInSec: number, lastRefreshAgoSec = 3_600): (stage: Stage) => Promise<string> {
  return async (stage) => {
    stage.logIn({ expiresInSec, lastRefreshAgoSec });
    return await startAndCount(stage);
  };
}

/** The same with an access token that is no JWT. */
export function postsForOpaque(lastRefreshAgoSec: number): (stage: Stage) => Promise<string> {
  return async (stage) => {
    stage.logIn({ lastRefreshAgoSec }, (document) => {
      document.tokens["access_token"] = "opaque";
    });
    return await startAndCount(stage);
  };
}

async function startAndCount(stage: Stage): Promise<string> {
  const codex = await stage.startCodex();
  await codex.token();
  await codex.request("account/read", { refreshToken: false });
  return countPosts(stage);
}

export async function loginStatus(stage: Stage): Promise<string> {
  stage.logIn({ expiresInSec: -3_600 });
  const { code } = await stage.runCodex("login", "status");
  return `exit ${code}, ${countPosts(stage)}`;
}

export async function forced(stage: Stage): Promise<string> {
  stage.logIn();
  const codex = await stage.startCodex();
  await codex.refresh();
  const isShown = (await codex.token()) === stage.home.readTokens()["access_token"];
  return `${countPosts(stage)}, ${stage.isNewestSaved ? "saved" : "not saved"}, ${isShown ? "shown" : "not shown"}`;
}

/** The answer is held back until both have asked, or one of them clearly waits for the other. */
export async function twoAtOnce(stage: Stage): Promise<string> {
  stage.logIn();
  const both = [await stage.startCodex(), await stage.startCodex()];
  const turnLimitMs = 3_000;
  stage.server.onPost = async () => {
    const untilMs = Date.now() + turnLimitMs;
    while (stage.postCount < both.length && Date.now() < untilMs)
      await new Promise((resolve) => setTimeout(resolve, 5));
  };
  await Promise.all(both.map((codex) => codex.refresh()));
  return `${countPosts(stage)}, ${stage.server.reuseCount > 0 ? "login burned" : "login kept"}`;
}

/** A forced refresh over a file that differs from the usual one: what Codex takes it for. */
export function asEdited(
  edit: (document: AuthDocument) => void,
  environment: Record<string, string> = {},
): (stage: Stage) => Promise<string> {
  return async (stage) => {
    stage.logIn({}, edit);
    const codex = await stage.startCodex(environment);
    const before = await codex.request("getAuthStatus", { includeToken: true, refreshToken: false });
    if (before.kind !== "result") return before.kind;
    await codex.refresh();
    const { authMethod, authToken } = before.result;
    const shown = typeof authToken === "string" ? ", token shown" : "";
    return `${typeof authMethod === "string" ? authMethod : "no login"}${shown}, ${countPosts(stage)}`;
  };
}

export async function requestBody(stage: Stage): Promise<string> {
  const { refresh_token } = stage.logIn();
  await (await stage.startCodex()).refresh();
  const [post] = stage.server.posts;
  if (post?.body["refresh_token"] !== refresh_token) return "another token";
  const { client_id, grant_type, refresh_token: _, ...more } = post.body;
  const fixed = [`client_id ${String(client_id)}`, `grant_type ${String(grant_type)}`, "refresh_token"];
  return [...fixed, ...Object.keys(more)].join(", ");
}

export async function contentType(stage: Stage): Promise<string> {
  stage.logIn();
  await (await stage.startCodex()).refresh();
  return stage.server.posts[0]?.headers["content-type"] ?? "none";
}

export async function redirect(stage: Stage): Promise<string> {
  const { refresh_token } = stage.logIn();
  stage.server.script({ status: 307, headers: { location: stage.server.url } });
  await (await stage.startCodex()).refresh();
  const isSame = stage.server.posts.every((post) => post.refreshToken === refresh_token);
  return `${countPosts(stage)} of ${isSame ? "one token" : "several tokens"}`;
}

export async function otherMode(stage: Stage): Promise<string> {
  stage.logIn({ expiresInSec: -3_600 }, (document) => {
    document["auth_mode"] = "chatgptAuthTokens";
    document.tokens["refresh_token"] = "";
  });
  const before = stage.home.readAuth();
  await (await stage.startCodex()).refresh();
  return `${countPosts(stage)}, file ${stage.home.readAuth() === before ? "untouched" : "changed"}`;
}

export async function idTokenExpired(stage: Stage): Promise<string> {
  const expired = makeJwt({ exp: Math.floor(Date.now() / 1000) - 3_600, email: "somebody@example.com" });
  stage.logIn({}, (document) => {
    document.tokens["id_token"] = expired;
  });
  return await startAndCount(stage);
}
