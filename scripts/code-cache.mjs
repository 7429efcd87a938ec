// Lets V8 keep its work on the bundles, so that a run need not do it again: dist/cache/VERSION-ARCH/HASH.
//
// Only for the Node that builds, by typical runs of the built program: what they call is kept compiled, and the rest
// costs nothing. Another V8 finds no folder of its own, and compiles as it always does.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What is run, on a login that is fresh, and which bundles' code is kept by it. */
const RUNS = [
  { args: ["--once"], keeps: ["watchdog.cjs"] },
  { args: ["--once", "--force"], keeps: ["refreshing.cjs", "holding.cjs", "sending.cjs"] },
  { args: ["status"], keeps: ["flags.cjs", "asking.cjs"] },
];

/** @param {string} root the project's folder, with a built dist */
export async function writeCodeCache(root) {
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.end(JSON.stringify(makeTokens("made-up-2"))));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  try {
    for (const { args, keeps } of RUNS) {
      const home = await mkdtemp(join(tmpdir(), "watchdog-build-"));
      try {
        const tokens = makeTokens("made-up-1");
        const login = { OPENAI_API_KEY: null, tokens, last_refresh: new Date().toISOString() };
        await writeFile(join(home, "auth.json"), JSON.stringify(login, null, 2), { mode: 0o600 });
        await run(["-r", join(root, "scripts", "keep-code.cjs"), join(root, "bin", "watchdog.cjs"), ...args], {
          PATH: process.env["PATH"] ?? "",
          HOME: home,
          CODEX_HOME: home,
          CODEX_REFRESH_TOKEN_URL_OVERRIDE: `http://127.0.0.1:${port}/oauth/token`,
          KEEP_CODE_IN: join(root, "dist", "cache", `${process.versions["v8"]}-${process.arch}`),
          KEEP_CODE_OF: keeps.join(","),
        });
      } finally {
        await rm(home, { recursive: true, force: true });
      }
    }
  } finally {
    server.close();
  }
}

/** @param {string} refreshToken */
function makeTokens(refreshToken) {
  const encode = (/** @type {object} */ value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const nowSec = Math.trunc(Date.now() / 1000);
  const claims = { iat: nowSec, exp: nowSec + 864_000, email: "build@example.com" };
  const jwt = `${encode({ alg: "none" })}.${encode(claims)}.`;
  return { id_token: jwt, access_token: jwt, refresh_token: refreshToken, account_id: "made-up" };
}

/**
 * @param {readonly string[]} args
 * @param {Record<string, string>} env
 */
async function run(args, env) {
  const child = spawn(process.execPath, args, { env, stdio: "ignore" });
  await new Promise((resolve, reject) => child.on("close", resolve).on("error", reject));
}
