// How Codex writes the file, and what its locks do.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, lstatSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { onBindMount } from "../support/mounts.js";
import type { Stage } from "./stage.js";

function fate(stage: Stage): string {
  if (stage.postCount !== 1) return `${stage.postCount} POSTs`;
  return stage.isNewestSaved ? "saved" : "lost";
}

async function refreshOnce(stage: Stage): Promise<string> {
  await (await stage.startCodex()).refresh();
  return fate(stage);
}

export async function writeManner(stage: Stage): Promise<string> {
  stage.logIn();
  const before = statSync(stage.home.authJsonPath).ino;
  const result = await refreshOnce(stage);
  return result === "saved" ? (statSync(stage.home.authJsonPath).ino === before ? "in place" : "rename") : result;
}

export async function lockFiles(stage: Stage): Promise<string> {
  stage.logIn();
  const result = await refreshOnce(stage);
  if (result !== "saved") return result;
  const kindOf = (name: string): string => {
    const facts = lstatSync(join(stage.home.path, name), { throwIfNoEntry: false });
    return facts === undefined ? "none" : facts.isFile() && facts.size === 0 ? "empty file" : "something else";
  };
  return ["auth.lock", "auth.json.lock"].map(kindOf).join(", ");
}

/** Somebody holds one of the lock files from before the POST until `heldForMs` after it. */
export function lockHeld(name: string, heldForMs: number): (stage: Stage) => Promise<string> {
  return async (stage) => {
    await refreshWhileHeld(stage, name, heldForMs);
    return fate(stage);
  };
}

/** The same for longer than Codex tries: does it save meanwhile, wait, or give up? */
export function lockHeldLong(name: string): (stage: Stage) => Promise<string> {
  return async (stage) => {
    const isSavedMeanwhile = await refreshWhileHeld(stage, name, 8_000);
    const result = fate(stage);
    return result === "saved" ? (isSavedMeanwhile ? "saved meanwhile" : "waits, saved") : result;
  };
}

/** @returns whether the new tokens were in the file before the lock was given back */
async function refreshWhileHeld(stage: Stage, name: string, heldForMs: number): Promise<boolean> {
  stage.logIn();
  const codex = await stage.startCodex();
  const path = join(stage.home.path, name);
  const holder = spawn("flock", ["-x", path, "sh", "-c", "echo held; cat"], { stdio: ["pipe", "pipe", "ignore"] });
  const ended = once(holder, "close");
  let isSavedMeanwhile = false;
  try {
    await once(holder.stdout, "data");
    stage.server.onPost = () => {
      setTimeout(() => {
        isSavedMeanwhile = stage.isNewestSaved;
        holder.stdin.end();
      }, heldForMs);
    };
    await codex.refresh();
    await ended;
    return isSavedMeanwhile;
  } finally {
    holder.stdin.end();
    await ended;
  }
}

export function directoryAs(name: string): (stage: Stage) => Promise<string> {
  return async (stage) => {
    stage.logIn();
    mkdirSync(join(stage.home.path, name));
    return await refreshOnce(stage);
  };
}

/** Our lock as proper-lockfile makes it, and a ticket, by the names of the place where they lie. */
export async function ourFilesBeside(stage: Stage): Promise<string> {
  stage.logIn();
  const lock = join(stage.home.path, ".auth.json.watchdog.lock");
  const ticket = join(stage.home.path, `.auth.json.watchdog.${"0".repeat(64)}.1.ticket`);
  mkdirSync(lock);
  writeFileSync(ticket, " ".repeat(65_536), { mode: 0o600 });
  const result = await refreshOnce(stage);
  const isThere = [lock, ticket].every((path) => lstatSync(path, { throwIfNoEntry: false }) !== undefined);
  return `${result}, ours ${isThere ? "left alone" : "gone"}`;
}

export async function symlink(stage: Stage): Promise<string> {
  stage.logIn();
  const path = stage.home.authJsonPath;
  const target = join(stage.home.path, "elsewhere");
  mkdirSync(target);
  renameSync(path, join(target, "auth.json"));
  symlinkSync(join("elsewhere", "auth.json"), path);
  const result = await refreshOnce(stage);
  return `${result}, ${lstatSync(path).isSymbolicLink() ? "link kept" : "link replaced"}`;
}

export async function bindMount(stage: Stage): Promise<string> {
  stage.logIn();
  const path = stage.home.authJsonPath;
  const source = join(stage.home.path, "mounted.json");
  renameSync(path, source);
  writeFileSync(path, "", { mode: 0o600 });
  return await onBindMount(source, path, "writable", async () => {
    const codex = await stage.startCodex();
    await codex.refresh();
    const result = fate(stage);
    await codex.end();
    return result;
  });
}

export async function readOnlyMode(stage: Stage): Promise<string> {
  stage.logIn();
  chmodSync(stage.home.authJsonPath, 0o400);
  return await refreshOnce(stage);
}

export async function deletedDuringPost(stage: Stage): Promise<string> {
  stage.logIn();
  stage.server.script({ beforeAnswer: () => rmSync(stage.home.authJsonPath) });
  await (await stage.startCodex()).refresh();
  return lstatSync(stage.home.authJsonPath, { throwIfNoEntry: false }) === undefined ? "stays away" : fate(stage);
}

/** Somebody logs in while the answer is under way. */
export function replacedDuringPost(accountId: string): (stage: Stage) => Promise<string> {
  return async (stage) => {
    stage.logIn();
    const options = { expiresInSec: 86_400, accountId, lastRefreshAgoSec: 0 };
    const text = makeAuthJson(makeTokens(options), options);
    stage.server.script({ beforeAnswer: () => stage.home.writeAuth(text) });
    await (await stage.startCodex()).refresh();
    if (stage.home.readAuth() === text) return "newer login kept";
    const isMixed =
      stage.isNewestSaved && accountId !== "acct-test" && stage.home.readTokens()["account_id"] === accountId;
    return isMixed ? "mixed with the old one" : stage.isNewestSaved ? "overwritten" : "another file";
  };
}
