import { spawn } from "node:child_process";
import { errnoOf } from "./errno.js";
import { killGroup } from "./process-group.js";

/** A hook tells somebody, and is done. */
const TIMEOUT_MS = 10_000;

/** What a hook is told, as JSON on its standard input. No token in it. */
export interface HookMessage {
  readonly event: string;
  readonly at: string;
  readonly codex_home: string;
  readonly state: string;
  readonly reason: string;
  readonly message: string;
  readonly operator_action: string | null;
}

/**
 * Runs the operator's program with the event's name as its one argument, without a shell.
 *
 * It is the head of a process group of its own, so that nothing of it is left when its time is up.
 *
 * @returns null, or what went wrong, in words that follow the program's name
 */
export async function runHook(program: string, message: HookMessage, timeoutMs = TIMEOUT_MS): Promise<string | null> {
  return await new Promise((resolve) => {
    const child = spawn(program, [message.event], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
    const timer = setTimeout(() => {
      killGroup(child.pid);
      resolve(`was still running after ${timeoutMs / 1000} s, and was ended`);
    }, timeoutMs);
    const end = (problem: string | null): void => {
      clearTimeout(timer);
      resolve(problem);
    };
    child.on("error", (error) => end(`cannot be run (${errnoOf(error) ?? "unknown"})`));
    child.on("close", (code, signal) => end(code === 0 ? null : `ended with ${code ?? signal}`));
    child.stdin.on("error", () => undefined); // One that does not read is none the worse for it.
    child.stdin.end(`${JSON.stringify(message)}\n`);
  });
}
