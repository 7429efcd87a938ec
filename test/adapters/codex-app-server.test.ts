import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { codexAppServer } from "../../src/adapters/codex-app-server.js";
import type { DelegateReply } from "../../src/ports.js";
import { ORDINARY, writeFakeCodex } from "../support/fake-codex.js";
import { AGENT } from "../support/image.js";
import { waitUntil } from "../support/program.js";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "watchdog-delegate-"));
  chmodSync(directory, 0o755);
  writeFileSync(join(directory, "auth.json"), "{}", { mode: 0o600 });
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function refresh(program: string, { deadlineMs = 20_000, environment = {} } = {}): Promise<DelegateReply> {
  const settings = {
    program,
    clientVersion: "0.0.0",
    deadlineMs,
    environment: { PATH: process.env["PATH"], ...environment },
  };
  return await codexAppServer(settings, directory, join(directory, "auth.json")).refresh();
}

const at = (name: string): string => join(directory, name);

function isAlive(pidFile: string): boolean {
  return existsSync(`/proc/${readFileSync(at(pidFile), "utf8")}`);
}

describe("what Codex's answers mean", () => {
  it.each<[string, string, DelegateReply]>([
    ["all is well", "", { kind: "asked", cause: "codex-unchanged" }],
    [
      "it gives the login up",
      'if (method === "getAuthStatus") return answer({ authMethod: "chatgpt", authToken: null });',
      { kind: "refused" },
    ],
    [
      "another request of its own failed, and the login is good",
      'if (method === "account/read") return fail(-32603);',
      { kind: "asked", cause: "codex-unchanged" },
    ],
    [
      "another request of its own failed, and the login is given up",
      'if (method === "account/read") return fail(-32603); if (params.includeToken) return answer({ authMethod: "chatgpt", authToken: null });',
      { kind: "refused" },
    ],
    [
      "it sees no login",
      'if (method === "getAuthStatus") return answer({ authMethod: null, authToken: null });',
      { kind: "unasked", cause: "codex-no-login" },
    ],
    [
      "it does not know the method",
      'if (method === "account/read") return fail(-32600);',
      { kind: "unasked", cause: "codex-too-old" },
    ],
    [
      "it knows no getAuthStatus",
      'if (method === "getAuthStatus") return fail(-32601);',
      { kind: "asked", cause: "codex-unchanged" },
    ],
    [
      "it refuses to begin",
      'if (method === "initialize") return fail(-32600);',
      { kind: "unasked", cause: "codex-too-old" },
    ],
    [
      "its last answer makes no sense",
      "if (params.includeToken) return answer([7]);",
      { kind: "asked", cause: "codex-odd" },
    ],
    [
      "it talks of other things, and not in JSON",
      'process.stdout.write("hello\\n[1,2\\n"); say({ method: "news" }); say({ id: 99, result: {} });',
      { kind: "asked", cause: "codex-unchanged" },
    ],
    [
      "it dies when it is asked",
      'if (method === "account/read") process.exit(1);',
      { kind: "asked", cause: "codex-died" },
    ],
    [
      "it dies behind the refresh",
      "if (params.includeToken) process.kill(process.pid, 'SIGKILL');",
      { kind: "asked", cause: "codex-died" },
    ],
    ["it dies at once", "process.exit(2);", { kind: "unasked", cause: "codex-too-old" }],
  ])("%s", async (_, line, expected) => {
    expect(await refresh(writeFakeCodex(directory, line + ORDINARY))).toEqual(expected);
  });

  it.each([
    ["there is none", "/nonexistent/codex"],
    ["it is no program", "auth.json"],
  ])("cannot be had when %s", async (_, program) => {
    const path = program.startsWith("/") ? program : at(program);
    expect(await refresh(path)).toEqual({ kind: "unasked", cause: "codex-missing" });
  });

  it.each([
    ["silent from the start", "return;", { kind: "unasked", cause: "codex-silent" }],
    ["silent when it is asked", 'if (method === "account/read") return;', { kind: "asked", cause: "deadline" }],
  ])("ends with the deadline: %s", async (_, line, expected) => {
    expect(await refresh(writeFakeCodex(directory, line + ORDINARY), { deadlineMs: 1_500 })).toEqual(expected);
  });
});

describe("the process", () => {
  const SAVE_PID = 'fs.writeFileSync("codex.pid", String(process.pid));';

  it("is told that it is over by the end of its input, and waited for", async () => {
    const atStart = `${SAVE_PID} process.stdin.on("end", () => fs.writeFileSync("ended", ""));`;
    await refresh(writeFakeCodex(directory, ORDINARY, atStart));

    expect(existsSync(at("ended"))).toBe(true);
    expect(isAlive("codex.pid")).toBe(false);
  });

  it("is killed with all that it has started when it does not end", async () => {
    const atStart = `${SAVE_PID} setInterval(() => {}, 1000);
      const child = spawn("sleep", ["1000"], { stdio: "ignore" });
      fs.writeFileSync("child.pid", String(child.pid));`;
    await refresh(writeFakeCodex(directory, ORDINARY, atStart));

    await waitUntil("both to be gone", () => !isAlive("codex.pid") && !isAlive("child.pid"));
  });

  it("works in the home, with our environment but for what makes Codex bypass the file", async () => {
    const atStart =
      'fs.writeFileSync("env.json", JSON.stringify({ ...process.env, cwd: process.cwd(), argv: process.argv.slice(2) }));';
    const environment = {
      CODEX_HOME: "/elsewhere",
      CODEX_API_KEY: "k",
      CODEX_ACCESS_TOKEN: "t",
      HTTPS_PROXY: "http://p",
    };
    await refresh(writeFakeCodex(directory, ORDINARY, atStart), { environment });

    expect(JSON.parse(readFileSync(at("env.json"), "utf8"))).toEqual({
      PATH: process.env["PATH"],
      CODEX_HOME: directory,
      HTTPS_PROXY: "http://p",
      cwd: directory,
      argv: ["app-server"],
    });
  });

  it.runIf(process.getuid?.() === 0)("is the owner's of the file, also when root asks", async () => {
    for (const path of [directory, at("auth.json")]) chownSync(path, AGENT, AGENT);
    const atStart =
      'fs.writeFileSync("ids.json", JSON.stringify([process.getuid(), process.getgid(), process.getgroups()]));';
    await refresh(writeFakeCodex(directory, ORDINARY, atStart));

    expect(JSON.parse(readFileSync(at("ids.json"), "utf8"))).toEqual([AGENT, AGENT, [AGENT]]);
    expect(statSync(at("ids.json")).uid).toBe(AGENT);
  });
});

describe("preflight", () => {
  it("refuses a file that Codex could not replace", () => {
    const file = at("auth.json");
    const delegate = codexAppServer(
      { program: "codex", clientVersion: "0", environment: {}, deadlineMs: 1 },
      directory,
      file,
    );
    expect(delegate.preflight()).toBe(null);

    chmodSync(file, 0o400);
    expect(delegate.preflight()).toEqual({
      kind: "permission",
      step: "let codex write the read-only file",
      path: file,
      code: "EACCES",
    });
  });
});
