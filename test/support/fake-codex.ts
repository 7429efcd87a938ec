import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Writes a stand-in for the codex command into `directory`, for what the real one can't be made to do. `body` runs for
 * each request, with `answer(result)`, `fail(code)`, `method` and `params`; `atStart` before the first.
 *
 * @returns its path
 */
export function writeFakeCodex(directory: string, body: string, atStart = ""): string {
  const path = join(directory, "codex");
  const script = `#!${process.execPath}
const fs = require("node:fs");
const { spawn } = require("node:child_process");
${atStart}
const say = (message) => process.stdout.write(JSON.stringify(message) + "\\n");
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  const answer = (result) => say({ id, result });
  const fail = (code) => say({ id, error: { code, message: "made up" } });
  ${body}
});
`;
  writeFileSync(path, script, { mode: 0o755 });
  chmodSync(path, 0o755);
  return path;
}

/** Answers everything as a Codex whose refresh went wrong for a while; a line before it can differ. */
export const ORDINARY = `
  if (method === "initialize") return answer({ userAgent: "codex/0.0.0" });
  if (method === "getAuthStatus") return answer({ authMethod: "chatgpt", authToken: params.includeToken ? "made-up" : null });
  if (method === "account/read") return answer({ account: { type: "chatgpt" } });
`;
