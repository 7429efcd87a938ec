import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { isObject, type JsonObject, parseObject } from "../core/json.js";
import type { Delegate, DelegateReply } from "../ports.js";
import { errnoOf } from "./errno.js";
import { isMountPoint } from "./mounts.js";
import { findPlace, ownerFor } from "./place.js";
import { killGroup } from "./process-group.js";
import { OVERRIDES } from "./processes.js";

export interface CodexSettings {
  /** The command, or its path. */
  readonly program: string;
  readonly clientVersion: string;
  /** What Codex finds in its environment, but for the home and what would make it bypass auth.json. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** From the start of Codex to its last answer, milliseconds. */
  readonly deadlineMs: number;
}

/** Codex answers its first request within a quarter of a second; a busy machine may need longer, milliseconds. */
const START_LIMIT_MS = 15_000;

/** It ends within 50 ms when its input is closed (0.130 to 0.169); after this it is killed, milliseconds. */
const END_LIMIT_MS = 3_000;

/** JSON-RPC 2.0 §5.1: invalid request (also Codex's word for a method that it does not know), method not found. */
const UNKNOWN_METHOD_CODES: readonly unknown[] = [-32600, -32601];

/**
 * Codex's own refresh, by `codex app-server` over its standard streams: what the vendor advises in place of a request
 * of one's own.
 *
 * Codex runs as the owner of auth.json, since it replaces the file. It heads a process group of its own, so that a
 * Ctrl-C does not reach it in mid-save, and nothing of it is left when its time is up; and it ends by itself when we
 * die, because its input ends.
 *
 * @param file the real auth.json
 */
export function codexAppServer(settings: CodexSettings, codexHome: string, file: string): Delegate {
  return {
    shownName: "codex app-server",
    preflight: () => {
      // 0.169 and newer rename over the file: on these two the request is done, and the new tokens are lost.
      if (isMountPoint(file)) {
        return { kind: "busy-mount", step: "let codex save through the single-file mount", path: file, code: "EBUSY" };
      }
      const isWritable = (statSync(file, { throwIfNoEntry: false })?.mode ?? 0o200) & 0o200;
      return isWritable !== 0
        ? null
        : { kind: "permission", step: "let codex write the read-only file", path: file, code: "EACCES" };
    },
    refresh: async () => {
      const owner = ownerFor(findPlace(file));
      const environment = Object.entries(settings.environment).filter(([name]) => !OVERRIDES.includes(name));
      const child = spawn(settings.program, ["app-server"], {
        cwd: codexHome,
        env: { ...Object.fromEntries(environment), CODEX_HOME: codexHome },
        detached: true,
        // Not its log: a server's answer may stand there.
        stdio: ["pipe", "pipe", "ignore"],
        ...(owner === null ? {} : owner),
      });
      const ended = new Promise<void>((resolve) => {
        child.once("error", () => resolve());
        child.once("close", () => resolve());
      });
      try {
        return await ask(child, settings);
      } finally {
        child.stdin.end();
        const killer = setTimeout(() => killGroup(child.pid), END_LIMIT_MS);
        await ended;
        clearTimeout(killer);
      }
    },
  };
}

type Codex = ChildProcessByStdio<Writable, Readable, null>;

async function ask(child: Codex, settings: CodexSettings): Promise<DelegateReply> {
  const deadline = AbortSignal.timeout(settings.deadlineMs);
  const start = AbortSignal.any([deadline, AbortSignal.timeout(START_LIMIT_MS)]);
  try {
    await once(child, "spawn");
  } catch (error) {
    return { kind: "unasked", cause: spawnCause(error) };
  }
  const rpc = openRpc(child);
  const { clientVersion } = settings;
  const clientInfo = { name: "codex-auth-watchdog", title: null, version: clientVersion };
  const hello = await rpc.request("initialize", { clientInfo }, start);
  if (hello.kind !== "result") return { kind: "unasked", cause: startCause(hello) };
  rpc.notify("initialized");
  const before = await rpc.request("getAuthStatus", { includeToken: false, refreshToken: false }, start);
  if (before.kind === "result" && before.result["authMethod"] !== "chatgpt") {
    return { kind: "unasked", cause: "codex-no-login" };
  }

  const answer = await rpc.request("account/read", { refreshToken: true }, deadline);
  if (answer.kind === "error" && UNKNOWN_METHOD_CODES.includes(answer.code)) {
    return { kind: "unasked", cause: "codex-too-old" };
  }
  if (answer.kind === "gone" || answer.kind === "late") return { kind: "asked", cause: lossCause(answer) };
  // An error may be that of another request of its own (0.169.0): only this one tells what it thinks of the login.
  const after = await rpc.request("getAuthStatus", { includeToken: true, refreshToken: false }, deadline);
  if (after.kind === "gone" || after.kind === "late") return { kind: "asked", cause: lossCause(after) };
  if (after.kind === "error") return { kind: "asked", cause: "codex-unchanged" };
  const { authMethod, authToken } = after.result;
  if (authMethod === "chatgpt" && authToken === null) return { kind: "refused" };
  return { kind: "asked", cause: typeof authToken === "string" ? "codex-unchanged" : "codex-odd" };
}

export type RpcReply =
  | { readonly kind: "result"; readonly result: JsonObject }
  | { readonly kind: "error"; readonly code: unknown }
  /** The process has closed its output. */
  | { readonly kind: "gone" }
  | { readonly kind: "late" };

export interface Rpc {
  readonly request: (method: string, params: object, limit: AbortSignal) => Promise<RpcReply>;
  readonly notify: (method: string) => void;
}

/** JSON-RPC, a message a line. What is no answer to a request of ours is passed over: notifications, or a stray line. */
export function openRpc(child: Codex): Rpc {
  const waiting = new Map<unknown, (reply: RpcReply) => void>();
  let isGone = false;
  let lastId = 0;
  child.stdin.on("error", () => undefined); // One that has just died: its output's end says so.
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    const { id, result, error } = parseObject(line) ?? {};
    const settle = waiting.get(id);
    if (isObject(error)) settle?.({ kind: "error", code: error["code"] });
    else if (result !== undefined) settle?.({ kind: "result", result: isObject(result) ? result : {} });
  });
  lines.on("close", () => {
    isGone = true;
    for (const settle of waiting.values()) settle({ kind: "gone" });
  });
  const send = (message: object): void => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
  };
  return {
    notify: (method) => send({ method }),
    request: async (method, params, limit) => {
      if (isGone) return { kind: "gone" };
      lastId += 1;
      const id = lastId;
      const reply = new Promise<RpcReply>((resolve) => {
        waiting.set(id, resolve);
        if (limit.aborted) resolve({ kind: "late" });
        limit.addEventListener("abort", () => resolve({ kind: "late" }), { once: true });
      });
      send({ id, method, params });
      return await reply.finally(() => waiting.delete(id));
    },
  };
}

function startCause(reply: Exclude<RpcReply, { kind: "result" }>): string {
  // Releases without an app-server end with a line about their usage.
  return reply.kind === "late" ? "codex-silent" : "codex-too-old";
}

function lossCause({ kind }: { readonly kind: "gone" | "late" }): string {
  return kind === "late" ? "deadline" : "codex-died";
}

function spawnCause(error: unknown): string {
  const code = errnoOf(error) ?? "";
  // Anything else is this machine's own want, such as EAGAIN or EMFILE.
  return ["ENOENT", "EACCES", "ENOEXEC", "ENOTDIR"].includes(code) ? "codex-missing" : code;
}
