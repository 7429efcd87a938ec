import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Home } from "../support/home.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { messages, type RunResult, runProgram } from "../support/program.js";
import { TokenServer } from "../support/token-server.js";

let server: TokenServer;
let home: Home;

beforeEach(async () => {
  // What a machine sees whose clock is hours ahead: every token arrives about to expire.
  server = await TokenServer.start({ expiresInSec: 60 });
  home = new Home();
  logIn();
});

afterEach(async () => {
  await server.stop();
  home.remove();
});

function logIn(): void {
  home.writeAuth(makeAuthJson(server.admit(makeTokens())));
}

async function once(...flags: string[]): Promise<RunResult> {
  const env = { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
  return await runProgram({ args: ["--once", ...flags], env });
}

describe("tokens that arrive due", () => {
  it("are refreshed once a minute, and the line says until when", async () => {
    const codes = [await once(), await once()].map(({ code }) => code);
    const last = await once();

    expect([...codes, last.code]).toEqual([0, 2, 2]);
    expect(messages(last.stderr)).toEqual([
      expect.stringMatching(/^transient: due again right after a refresh; waiting until \d{4}-\S+Z$/),
    ]);
    expect(home.readStatus()).toMatchObject({ watchdog_last_outcome: "skip:braked", reason: "braked" });
    expect(server.posts).toHaveLength(1);
  });

  it("are refreshed four times an hour however short the minute is set", async () => {
    const codes: (number | null)[] = [];
    for (let run = 0; run < 6; run += 1) codes.push((await once("--min-refresh-interval", "0")).code);
    expect(codes).toEqual([0, 0, 0, 0, 2, 2]);
  });

  it("are refreshed at once when somebody else brings them, or is asked to", async () => {
    await once();
    logIn();
    expect((await once()).code).toBe(0);
    expect((await once()).code).toBe(2);
    expect((await once("--force")).code).toBe(0);
  });

  it("make no storm out of ten processes", async () => {
    const codes = (await Promise.all(Array.from({ length: 10 }, () => once()))).map(({ code }) => code);
    expect(server.posts).toHaveLength(1);
    expect(codes.filter((code) => code === 0)).toEqual([0]);
  });
});
