// What Codex makes of a changed file, of a refusal, and of a file without a refresh token.
import { existsSync } from "node:fs";
import { makeAuthJson, makeTokens, type Tokens } from "../support/login.js";
import type { Reply } from "../support/token-server.js";
import { countPosts } from "./refresh-scenes.js";
import { type AppServer, REVOKE_PATH, type Stage } from "./stage.js";

/** Somebody writes the next tokens of the login, as we do for a follower. */
function writeNext(stage: Stage, refreshToken: string, options = {}): Tokens {
  const next = { ...makeTokens({ expiresInSec: 86_400, ...options }), refresh_token: refreshToken };
  stage.home.writeAuth(makeAuthJson(next, { lastRefreshAgoSec: 0, ...options }));
  return next;
}

async function shows(codex: AppServer, tokens: Tokens): Promise<boolean> {
  return (await codex.token()) === tokens.access_token;
}

export async function adoptsOurs(stage: Stage): Promise<string> {
  const old = stage.logIn();
  const codex = await stage.startCodex();
  const { code } = await stage.runWatchdog("--once", "--force");
  if (code !== 0 || stage.postCount !== 1 || !stage.isNewestSaved) return `the program ended with ${code}`;
  const written = stage.home.readAuth();
  const isOldShown = await shows(codex, old);
  await codex.refresh();
  const isNewShown = (await codex.token()) === stage.home.readTokens()["access_token"];
  const isUntouched = stage.home.readAuth() === written;
  return [
    `${isOldShown ? "old" : "new"} token until then`,
    `${stage.postCount - 1} POSTs of its own`,
    `${isNewShown ? "new" : "old"} token after it`,
    `file ${isUntouched ? "untouched" : "changed"}`,
  ].join(", ");
}

export async function refusesOtherAccount(stage: Stage): Promise<string> {
  stage.logIn();
  const codex = await stage.startCodex();
  writeNext(stage, "made-up", { accountId: "acct-other" });
  const written = stage.home.readAuth();
  await codex.refresh();
  return `${countPosts(stage)}, file ${stage.home.readAuth() === written ? "untouched" : "changed"}`;
}

export async function needsAccountId(stage: Stage): Promise<string> {
  const remove = (document: { tokens: Record<string, unknown> }): void => {
    delete document.tokens["account_id"];
  };
  stage.logIn({}, remove);
  const codex = await stage.startCodex();
  const next = stage.logIn({ lastRefreshAgoSec: 0 }, remove);
  await codex.refresh();
  return `${countPosts(stage)}, ${(await shows(codex, next)) ? "new" : "old"} token`;
}

/** A forced refresh that is answered like this: what is shown, and whether it comes back. */
export function after(reply: Reply): (stage: Stage) => Promise<string> {
  return async (stage) => {
    const old = stage.logIn();
    const before = stage.home.readAuth();
    stage.server.always(reply);
    const codex = await stage.startCodex();
    await codex.refresh();
    const shown = await codex.token();
    const fileFate = stage.home.readAuth() === before ? "" : ", file changed";
    return `${countPosts(stage)}, ${shown === old.access_token ? "token shown" : shown === null ? "no token" : "another token"}${fileFate}`;
  };
}

export const EXPIRED: Reply = { status: 401, body: { error: { code: "refresh_token_expired", message: "made up" } } };

export const UNAVAILABLE: Reply = { status: 500, body: { error: "temporary-failure" } };

export const RESET: Reply = { fault: "reset" };

export async function refusedTwice(stage: Stage): Promise<string> {
  stage.logIn();
  stage.server.always(EXPIRED);
  const codex = await stage.startCodex();
  await codex.refresh();
  await codex.refresh();
  return countPosts(stage);
}

export async function refusalForgotten(stage: Stage): Promise<string> {
  stage.logIn();
  stage.server.script(EXPIRED);
  const codex = await stage.startCodex();
  await codex.refresh();
  if ((await codex.token()) !== null) return "never refused";
  const next = stage.logIn({ lastRefreshAgoSec: 0 });
  const isShownAtOnce = await shows(codex, next);
  await codex.refresh();
  const isShown = await shows(codex, next);
  return `${isShownAtOnce ? "shown at once" : isShown ? "shown after the next refresh" : "not shown"}, ${countPosts(stage)}`;
}

export async function savedWhateverItAnswers(stage: Stage): Promise<string> {
  stage.logIn();
  const answer = await (await stage.startCodex()).refresh();
  return `${stage.isNewestSaved ? "saved" : "not saved"}, ${answer.kind === "error" ? "an error" : answer.kind}`;
}

export async function logout(stage: Stage): Promise<string> {
  stage.logIn();
  const { code } = await stage.runCodex("logout");
  const isRevoked = stage.backendRequests.includes(`POST ${REVOKE_PATH}`);
  const isThere = existsSync(stage.home.authJsonPath);
  return `exit ${code}, ${isThere ? "file stays" : "file removed"}, token ${isRevoked ? "revoked" : "not revoked"}`;
}

/** As the endpoint answers an empty refresh token. */
const EMPTY_TOKEN: Reply = {
  status: 400,
  body: { error: { message: "Invalid 'refresh_token': empty string.", type: "invalid_request_error", code: null } },
};

function logInAsFollower(stage: Stage, expiresInSec: number): Tokens {
  stage.server.always(EMPTY_TOKEN);
  return stage.logIn({ expiresInSec }, (document) => {
    document.tokens["refresh_token"] = "";
  });
}

export async function followerWorks(stage: Stage): Promise<string> {
  const tokens = logInAsFollower(stage, 86_400);
  const codex = await stage.startCodex();
  return `${(await shows(codex, tokens)) ? "token shown" : "no token"}, ${countPosts(stage)}`;
}

/** What a follower's Codex sends, whether its login stays, and whether it finds the next tokens. */
export function followerForced(expiresInSec: number): (stage: Stage) => Promise<string> {
  return async (stage) => {
    const tokens = logInAsFollower(stage, expiresInSec);
    const before = stage.home.readAuth();
    const codex = await stage.startCodex();
    await codex.refresh();
    const sent = [...new Set(stage.server.posts.map((post) => JSON.stringify(post.refreshToken)))].join();
    const isShown = await shows(codex, tokens);
    const isUntouched = stage.home.readAuth() === before;
    return `sends ${sent || "nothing"}, ${isShown ? "token shown" : "no token"}, file ${isUntouched ? "untouched" : "changed"}`;
  };
}

export function followerNext(expiresInSec: number): (stage: Stage) => Promise<string> {
  return async (stage) => {
    logInAsFollower(stage, expiresInSec);
    const codex = await stage.startCodex();
    await codex.refresh();
    await stage.quiet();
    const postsBefore = stage.postCount;
    const next = writeNext(stage, "");
    await codex.refresh();
    const isShown = await shows(codex, next);
    return `${isShown ? "picked up" : "not picked up"}, ${stage.postCount - postsBefore} more POSTs`;
  };
}
