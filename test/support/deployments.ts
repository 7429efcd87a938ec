import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";

const DEPLOY = fileURLToPath(new URL("../../deploy", import.meta.url));
const NAME = "codex-auth-watchdog";

/** What YAML can hold. */
export type Value = string | number | boolean | null | readonly Value[] | { readonly [key: string]: Value };
export type Fields = { readonly [key: string]: Value };

/** A call of the program in one of the files: the words behind its name. */
export interface Call {
  readonly file: string;
  readonly words: readonly string[];
}

/** Every file of deploy/, by its path in there. */
export function listDeployments(): string[] {
  return readdirSync(DEPLOY, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(DEPLOY.length + 1))
    .sort();
}

export function readDeployment(file: string): string {
  return readFileSync(join(DEPLOY, file), "utf8");
}

/** Whether the machine has a program that checks deployments. */
export function hasTool(name: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${name}`]).status === 0;
}

/** The documents of a YAML file, and what its parser has to say against them. */
export function readYaml(file: string): { documents: Fields[]; complaints: string[] } {
  const parsed = [...parseAllDocuments(readDeployment(file), { merge: true })];
  return {
    documents: parsed.map((document) => document.toJS() as Fields),
    complaints: parsed.flatMap(({ errors, warnings }) => [...errors, ...warnings].map(({ message }) => message)),
  };
}

/** Every object in a value that has this field, wherever it stands. */
export function objectsWith(field: string, value: Value): Fields[] {
  if (typeof value !== "object" || value === null) return [];
  const inside = Object.values(value).flatMap((each: Value) => objectsWith(field, each));
  return field in value && !Array.isArray(value) ? [value as Fields, ...inside] : inside;
}

/** A unit's settings in order: `Key=value` lines, each with its section. */
export function readUnit(file: string): { section: string; key: string; value: string }[] {
  let section = "";
  return readDeployment(file)
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
    .flatMap((line) => {
      const [, heading] = /^\[(\w+)\]$/.exec(line) ?? [];
      if (heading !== undefined) {
        section = heading;
        return [];
      }
      const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
      if (key === undefined || value === undefined) throw new Error(`${file}: can't read the line ${line}`);
      return [{ section, key, value }];
    });
}

/** The values that a unit gives for one key. */
export function unitValues(file: string, wanted: string): string[] {
  return readUnit(file)
    .filter(({ key }) => key === wanted)
    .map(({ value }) => value);
}

/** The cron file's one job, and the variables that cron sets for it. */
export function readCron(): { schedule: string; user: string; command: string; env: Record<string, string> } {
  const lines = readDeployment("cron")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const settings = lines.map((line) => /^(\w+)=(.*)$/.exec(line)).filter((match) => match !== null);
  const [job, ...others] = lines.filter((line) => !/^\w+=/.test(line));
  const [, schedule, user, command] = /^((?:\S+ ){4}\S+) (\S+) (.+)$/.exec(job ?? "") ?? [];
  if (schedule === undefined || user === undefined || command === undefined || others.length > 0)
    throw new Error("deploy/cron has not one job");
  return { schedule, user, command, env: Object.fromEntries(settings.map(([, key = "", value = ""]) => [key, value])) };
}

/** Every call of the program in deploy/, but for those of a fleet, which need a database. */
export function collectCalls(): Call[] {
  return listDeployments()
    .filter((file) => !file.startsWith("fleet/"))
    .flatMap((file) =>
      shellTexts(file)
        .flatMap(callsIn)
        .map((words) => ({ file, words })),
    );
}

/** The calls in a shell text: up to a redirection, or the end of the command. */
function callsIn(text: string): string[][] {
  const calls = text.matchAll(
    new RegExp(`(?<=^|[\\s(]|/bin/)${NAME}((?: +[\\w.:/=-]+(?=[\\s;)]|$))*)(?=[\\s;)]|$)`, "g"),
  );
  return [...calls].map(([, words = ""]) => words.split(" ").filter((word) => word !== ""));
}

/** What a file gives to a shell or to exec, each as one text. */
function shellTexts(file: string): string[] {
  if (file.endsWith(".service")) return unitValues(file, "ExecStart");
  if (file === "cron") return [readCron().command];
  if (file.endsWith(".yaml")) return readYaml(file).documents.flatMap(textsOfLists);
  return [];
}

/** A command in YAML is a list of words. */
function textsOfLists(value: Value): string[] {
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return [value.join(" ")];
  return Object.values(value).flatMap((each: Value) => textsOfLists(each));
}
