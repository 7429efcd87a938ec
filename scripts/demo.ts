/**
 * Shows the built program at work on a login that is about to expire, against a token endpoint on loopback
 * whose refresh tokens work once. Nothing leaves this machine, and nothing of the user's is touched.
 */
import { Home } from "../test/support/home.js";
import { makeAuthJson, makeTokens } from "../test/support/login.js";
import { type RunResult, runProgram } from "../test/support/program.js";
import { TokenServer } from "../test/support/token-server.js";

const COPIES = 10;
const MEANING = new Map([
  [0, "refreshed"],
  [1, "nothing to do"],
]);

const server = await TokenServer.start();
const home = new Home();
try {
  process.exitCode = (await show()) ? 0 : 1;
} finally {
  home.remove();
  await server.stop();
}

async function show(): Promise<boolean> {
  say("A login that expires in one minute, and a token endpoint whose refresh tokens work only once.\n");
  writeExpiringLogin();

  say("$ codex-auth-watchdog --once");
  const first = await once();
  tell(first);
  say("$ codex-auth-watchdog --once          # again, at once");
  const second = await once();
  tell(second);

  say(`The login is about to expire once more. ${COPIES} copies start at the same moment:`);
  const postsBefore = server.posts.length;
  writeExpiringLogin();
  const crowd = await Promise.all(Array.from({ length: COPIES }, once));
  const posts = server.posts.length - postsBefore;
  const refreshed = crowd.filter(({ code }) => code === 0).length;
  const left = crowd.filter(({ code }) => code === 1).length;
  say(`  ${refreshed} refreshed (exit 0), ${left} found it done (exit 1), ${COPIES - refreshed - left} failed`);
  say(`  requests at the endpoint: ${posts}; refresh tokens used twice: ${server.reuseCount}`);
  const stored = home.readTokens()["refresh_token"] ?? "";
  say(`  the token in auth.json is the endpoint's newest one: ${server.isActive(stored) ? "yes" : "NO"}\n`);

  const isRight =
    first.code === 0 &&
    second.code === 1 &&
    refreshed === 1 &&
    left === COPIES - 1 &&
    posts === 1 &&
    server.isActive(stored);
  say(isRight ? "That is all it does, and it does it once." : "THIS IS NOT AS IT SHOULD BE.");
  return isRight;
}

function writeExpiringLogin(): void {
  home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));
}

async function once(): Promise<RunResult> {
  return await runProgram({ env: { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url } });
}

function tell({ code, stderr }: RunResult): void {
  for (const line of stderr.trimEnd().split("\n")) say(`  ${line}`);
  say(`  exit ${code} (${MEANING.get(code ?? -1) ?? "unexpected"})\n`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
