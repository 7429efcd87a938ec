import { delegated, delegatedExpired, delegatedTwice } from "./delegation-scenes.js";
import * as login from "./login-scenes.js";
import * as refresh from "./refresh-scenes.js";
import * as save from "./save-scenes.js";
import type { Group } from "./table.js";

/** The first release that writes beside the file, locks `auth.json.lock`, and renames; there is none between it and 0.166. */
const RENAMES = "0.169";

/** Every release that we know of. */
const ALL = "0";

/** What of the real Codex the watchdog relies on: a release that breaks a row turns it red. */
export const GROUPS: readonly Group[] = [
  {
    title: "the file",
    rows: [
      {
        name: "writes two-space JSON, mode 0600",
        use: "we write the same, so that a change of hands changes nothing",
        expected: [[ALL, "two spaces, 0600"]],
        observe: refresh.fileShape,
      },
      {
        name: "what becomes of a mode of 0644",
        use: "`doctor`'s `too_open`",
        expected: [
          [ALL, "0644"],
          [RENAMES, "0600"],
        ],
        observe: refresh.openMode,
      },
      {
        name: "fields that it does not know",
        use: "nothing of ours lies in auth.json",
        expected: [[ALL, "2 of 2 dropped"]],
        observe: refresh.unknownFields,
      },
      {
        name: "its file as our core reads it",
        use: "age, account and mode of a login",
        expected: [[ALL, "acct-test, last_refresh of now"]],
        observe: refresh.readableByUs,
      },
      {
        name: "id_token and account_id after an answer without them",
        use: "our merge does the same",
        expected: [[ALL, "kept"]],
        observe: refresh.partialAnswer,
      },
    ],
  },
  {
    title: "how it reads a file",
    rows: [
      {
        name: "without auth_mode",
        use: "we take it for a ChatGPT login",
        expected: [[ALL, "chatgpt, token shown, 1 POST"]],
        observe: refresh.asEdited((document) => {
          delete document["auth_mode"];
        }),
      },
      {
        name: "without auth_mode, with an API key",
        use: "we take it for an API key, and leave it alone",
        expected: [[ALL, "apikey, token shown, 0 POSTs"]],
        observe: refresh.asEdited((document) => {
          delete document["auth_mode"];
          document["OPENAI_API_KEY"] = "made-up";
        }),
      },
      {
        name: "auth_mode chatgpt, with an API key",
        use: "we take it for a ChatGPT login",
        expected: [[ALL, "chatgpt, token shown, 1 POST"]],
        observe: refresh.asEdited((document) => {
          document["OPENAI_API_KEY"] = "made-up";
        }),
      },
      {
        name: "an auth_mode that nobody knows",
        use: "we leave it alone",
        expected: [[ALL, "no login, 0 POSTs"]],
        observe: refresh.asEdited((document) => {
          document["auth_mode"] = "ChatGPT";
        }),
      },
      {
        name: "without last_refresh",
        use: "we never drop last_refresh",
        expected: [[ALL, "no login, 1 POST"]],
        observe: refresh.asEdited((document) => {
          delete document["last_refresh"];
        }),
      },
      {
        name: "last_refresh with an offset in place of Z",
        use: "we read it too",
        expected: [[ALL, "chatgpt, token shown, 1 POST"]],
        observe: refresh.asEdited((document) => {
          document["last_refresh"] = "2026-11-21T22:54:21.2+02:00";
        }),
      },
      {
        name: "without refresh_token",
        use: "a follower's file has an empty one",
        expected: [[ALL, "no login, 0 POSTs"]],
        observe: refresh.asEdited((document) => {
          delete document.tokens["refresh_token"];
        }),
      },
      {
        name: "an id_token that is no JWT",
        use: "we never drop the id token",
        expected: [[ALL, "no login, 0 POSTs"]],
        observe: refresh.asEdited((document) => {
          document.tokens["id_token"] = "opaque";
        }),
      },
      {
        name: "CODEX_ACCESS_TOKEN in its environment",
        use: "`env_override`; `--via codex` takes it away",
        expected: [[ALL, "no login, 0 POSTs"]],
        observe: refresh.asEdited(() => undefined, { CODEX_ACCESS_TOKEN: "made-up" }),
      },
      {
        name: "CODEX_API_KEY in its environment",
        use: "no app-server looks at it",
        expected: [[ALL, "chatgpt, token shown, 1 POST"]],
        observe: refresh.asEdited(() => undefined, { CODEX_API_KEY: "made-up" }),
      },
    ],
  },
  {
    title: "when it refreshes",
    rows: [
      {
        name: "access token expired",
        use: "giving way to a Codex that starts",
        expected: [[ALL, "1 POST"]],
        observe: refresh.postsAtStart(-3_600),
      },
      {
        name: "access token expires in 4 minutes 50",
        use: "Codex's own window: five minutes",
        expected: [
          [ALL, "0 POSTs"],
          ["0.136", "1 POST"],
        ],
        observe: refresh.postsAtStart(290),
      },
      {
        name: "access token expires in 6 minutes",
        use: "a token that we renew in time keeps Codex quiet",
        expected: [[ALL, "0 POSTs"]],
        observe: refresh.postsAtStart(360),
      },
      {
        name: "good access token, last_refresh 9 days old",
        use: "only we renew an idle login",
        expected: [[ALL, "0 POSTs"]],
        observe: refresh.postsAtStart(86_400, 9 * 86_400),
      },
      {
        name: "good access token, id token expired",
        use: "our decision never looks at the id token",
        expected: [[ALL, "0 POSTs"]],
        observe: refresh.idTokenExpired,
      },
      {
        name: "access token without exp, last_refresh 7 days old",
        use: "our default age is its own less a day",
        expected: [[ALL, "0 POSTs"]],
        observe: refresh.postsForOpaque(7 * 86_400),
      },
      {
        name: "access token without exp, last_refresh 9 days old",
        use: "our default age is its own less a day",
        expected: [[ALL, "1 POST"]],
        observe: refresh.postsForOpaque(9 * 86_400),
      },
      {
        name: "codex login status over an expired token",
        use: "a start script may ask it",
        expected: [[ALL, "exit 0, 0 POSTs"]],
        observe: refresh.loginStatus,
      },
      {
        name: "forced by account/read",
        use: "`--via codex`",
        expected: [[ALL, "1 POST, saved, shown"]],
        observe: refresh.forced,
      },
      {
        name: "two forced at once",
        use: "no lock covers its POST: we give way",
        expected: [[ALL, "2 POSTs, login burned"]],
        observe: refresh.twoAtOnce,
      },
      {
        name: "mode chatgptAuthTokens, expired and forced",
        use: "we leave other modes alone",
        expected: [[ALL, "0 POSTs, file untouched"]],
        observe: refresh.otherMode,
      },
    ],
  },
  {
    title: "its request",
    rows: [
      {
        name: "fields of its body",
        use: "ours is the same, without a reason",
        expected: [
          [ALL, "client_id app_EMoamEEZ73f0CkXaXp7hrann, grant_type refresh_token, refresh_token"],
          ["0.164", "client_id app_EMoamEEZ73f0CkXaXp7hrann, grant_type refresh_token, refresh_token, refresh_reason"],
        ],
        observe: refresh.requestBody,
      },
      {
        name: "content-type",
        use: "ours is the same",
        expected: [[ALL, "application/json"]],
        observe: refresh.contentType,
      },
      {
        name: "answered with 307",
        use: "we follow no redirect: this posts a token twice",
        expected: [[ALL, "2 POSTs of one token"]],
        observe: refresh.redirect,
      },
    ],
  },
  {
    title: "its save",
    rows: [
      {
        name: "manner of writing",
        use: "torn files are read again; `codex_writes_in_place`",
        expected: [
          [ALL, "in place"],
          [RENAMES, "rename"],
        ],
        observe: save.writeManner,
      },
      {
        name: "auth.lock and auth.json.lock after it",
        use: "we lock these two files, and leave them",
        expected: [
          [ALL, "none, none"],
          ["0.166", "empty file, none"],
          [RENAMES, "empty file, empty file"],
        ],
        observe: save.lockFiles,
      },
      {
        name: "auth.json.lock held for 8 s",
        use: "we hold it for a rename only, never for a POST",
        expected: [
          [ALL, "saved meanwhile"],
          [RENAMES, "lost"],
        ],
        observe: save.lockHeldLong("auth.json.lock"),
      },
      {
        name: "auth.json.lock held for 0.3 s",
        use: "a commit of ours is shorter",
        expected: [[ALL, "saved"]],
        observe: save.lockHeld("auth.json.lock", 300),
      },
      {
        name: "auth.lock held for 8 s",
        use: "we take this one first; it keeps 0.166 from writing into our rename",
        expected: [
          [ALL, "saved meanwhile"],
          ["0.166", "waits, saved"],
        ],
        observe: save.lockHeldLong("auth.lock"),
      },
      {
        name: "a directory auth.json.lock",
        use: "our lock has another name; `codex_lock_is_directory`",
        expected: [
          [ALL, "saved"],
          [RENAMES, "lost"],
        ],
        observe: save.directoryAs("auth.json.lock"),
      },
      {
        name: "a directory auth.lock",
        use: "`codex_lock_is_directory`",
        expected: [
          [ALL, "saved"],
          ["0.166", "lost"],
        ],
        observe: save.directoryAs("auth.lock"),
      },
      {
        name: "our lock and ticket beside it",
        use: "they disturb nobody",
        expected: [[ALL, "saved, ours left alone"]],
        observe: save.ourFilesBeside,
      },
      {
        name: "a symbolic link as auth.json",
        use: "we keep it too, and lock beside the real file",
        expected: [[ALL, "saved, link kept"]],
        observe: save.symlink,
      },
      {
        name: "auth.json as a mount of its own",
        use: "`file_mount`; no `--via codex` there",
        needs: "root",
        expected: [
          [ALL, "saved"],
          [RENAMES, "lost"],
        ],
        observe: save.bindMount,
      },
      {
        name: "auth.json of mode 0400, as root",
        use: "`write_protected`; no `--via codex` there",
        needs: "root",
        expected: [
          [ALL, "saved"],
          [RENAMES, "lost"],
        ],
        observe: save.readOnlyMode,
      },
      {
        name: "auth.json deleted during the POST",
        use: "nor do we bring a login back",
        expected: [[ALL, "stays away"]],
        observe: save.deletedDuringPost,
      },
      {
        name: "another account logged in during the POST",
        use: "our compare before the rename",
        expected: [
          [ALL, "mixed with the old one"],
          ["0.164", "newer login kept"],
        ],
        observe: save.replacedDuringPost("acct-other"),
      },
      {
        name: "a new login of the same account during the POST",
        use: "our compare before the rename",
        expected: [
          [ALL, "overwritten"],
          [RENAMES, "newer login kept"],
        ],
        observe: save.replacedDuringPost("acct-test"),
      },
    ],
  },
  {
    title: "what it makes of files and answers",
    rows: [
      {
        name: "our refresh under a running Codex, then a forced one",
        use: "Codex adopts what we write; `codex_older_than_file`",
        expected: [[ALL, "old token until then, 0 POSTs of its own, new token after it, file untouched"]],
        observe: login.adoptsOurs,
      },
      {
        name: "a forced refresh after a new login without account_id",
        use: "we never drop account_id",
        expected: [[ALL, "0 POSTs, old token"]],
        observe: login.needsAccountId,
      },
      {
        name: "another account in the file, then a forced refresh",
        use: "a login that is replaced is not posted",
        expected: [[ALL, "0 POSTs, file untouched"]],
        observe: login.refusesOtherAccount,
      },
      {
        name: "401 refresh_token_expired",
        use: "`--via codex` reads a refusal from the missing token",
        expected: [[ALL, "1 POST, no token"]],
        observe: login.after(login.EXPIRED),
      },
      {
        name: "the same, asked twice",
        use: "our latch does the same",
        expected: [[ALL, "1 POST"]],
        observe: login.refusedTwice,
      },
      {
        name: "a new login after a refusal",
        use: "our latch is forgotten with it too",
        expected: [[ALL, "shown after the next refresh, 1 POST"]],
        observe: login.refusalForgotten,
      },
      {
        name: "500",
        use: "`--via codex` tries again later",
        expected: [[ALL, "1 POST, token shown"]],
        observe: login.after(login.UNAVAILABLE),
      },
      {
        name: "a reset connection",
        use: "`--via codex` tries again later",
        expected: [[ALL, "1 POST, token shown"]],
        observe: login.after(login.RESET),
      },
      {
        name: "a good refresh while its backend answers 404",
        use: "`--via codex` believes the file, not the answer",
        expected: [
          [ALL, "saved, result"],
          ["0.156", "saved, an error"],
        ],
        observe: login.savedWhateverItAnswers,
      },
      {
        name: "codex logout",
        use: "no file is no login; copies of it are dead",
        expected: [[ALL, "exit 0, file removed, token revoked"]],
        observe: login.logout,
      },
    ],
  },
  {
    title: "a follower's file: an empty refresh token",
    rows: [
      {
        name: "while the access token is good",
        use: "followers can work",
        expected: [[ALL, "token shown, 0 POSTs"]],
        observe: login.followerWorks,
      },
      {
        name: "forced refresh, good access token",
        use: "followers burn nothing",
        expected: [[ALL, 'sends "", token shown, file untouched']],
        observe: login.followerForced(86_400),
      },
      {
        name: "forced refresh, expired access token",
        use: "followers burn nothing",
        expected: [[ALL, 'sends "", token shown, file untouched']],
        observe: login.followerForced(-3_600),
      },
      {
        name: "the next tokens after a forced refresh, good access token",
        use: "followers need no restart",
        expected: [[ALL, "picked up, 0 more POSTs"]],
        observe: login.followerNext(86_400),
      },
      {
        name: "the next tokens after a forced refresh, expired access token",
        use: "followers need no restart",
        expected: [[ALL, "picked up, 0 more POSTs"]],
        observe: login.followerNext(-3_600),
      },
    ],
  },
  {
    title: "`--once --via codex`",
    rows: [
      {
        name: "a good answer",
        use: "exit 0: refreshed",
        expected: [[ALL, "exit 0, 1 POST, saved"]],
        observe: delegated,
      },
      {
        name: "a good answer, token expired",
        use: "Codex would post at its start as well: sent directly",
        expected: [[ALL, "exit 0, 1 POST, saved, 0 tokens sent again"]],
        observe: delegatedExpired,
      },
      {
        name: "401, run twice",
        use: "exit 3, and latched",
        expected: [[ALL, "exit 3, 1 POST; then exit 3, 0 POSTs"]],
        observe: delegatedTwice(login.EXPIRED),
      },
      {
        name: "401, token expired, run twice",
        use: "exit 3, and latched",
        expected: [[ALL, "exit 3, 1 POST; then exit 3, 0 POSTs"]],
        observe: delegatedTwice(login.EXPIRED, -3_600),
      },
      {
        name: "500, run twice",
        use: "exit 2: nobody knows whether the token was spent",
        expected: [[ALL, "exit 2, 1 POST; then exit 2, 0 POSTs"]],
        observe: delegatedTwice(login.UNAVAILABLE),
      },
      {
        name: "500, token expired, run twice",
        use: "Codex would send an expired login's token at each use: sent directly",
        expected: [[ALL, "exit 2, 1 POST; then exit 2, 0 POSTs"]],
        observe: delegatedTwice(login.UNAVAILABLE, -3_600),
      },
      {
        name: "a reset connection, run twice",
        use: "exit 2: nobody knows whether the token was spent",
        expected: [[ALL, "exit 2, 1 POST; then exit 2, 0 POSTs"]],
        observe: delegatedTwice(login.RESET),
      },
    ],
  },
];
