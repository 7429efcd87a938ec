import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Case, environmentOf, renderAnswer, renderFile, type Vault } from "./differential-case.js";
import { Home } from "./home.js";
import { findLeak } from "./login.js";
import { type RunResult, runProgram, start } from "./program.js";
import { TokenServer } from "./token-server.js";

/** The shell script that the program replaces; drop-in compatibility is judged against it. */
export const BASELINE_PATH = fileURLToPath(new URL("../../../shared/baseline/codex_auth_refresh.sh", import.meta.url));

const BARE_PYTHON_PATH = fileURLToPath(new URL("bare-python.sh", import.meta.url));

/** What one run did, as far as anybody outside can see it. */
export interface Observed {
  readonly exit: number | null;
  /** `watchdog_last_outcome`; null without a status file. */
  readonly word: string | null;
  /** The bodies of the requests that arrived. */
  readonly posts: readonly string[];
  /** What became of auth.json, as changes to what it was. */
  readonly file: string;
  /** `last_refresh` in the status; null without a status file. `<now>` when it is the time of this run. */
  readonly lastRefresh: string | null;
  /** `last_refresh_age_seconds` in the status. */
  readonly ageSec: number | null;
}

export type Field = keyof Observed;

const FIELDS: readonly Field[] = ["exit", "word", "posts", "file", "lastRefresh", "ageSec"];

/** Runs take seconds, and one comes after the other: an age may differ by that. */
const AGE_TOLERANCE_SEC = 60;

/** The fields in which two runs differ. */
export function differingFields(a: Observed, b: Observed): Field[] {
  return FIELDS.filter((field) => {
    if (field !== "ageSec") return JSON.stringify(a[field]) !== JSON.stringify(b[field]);
    // -1 stands for "unknown" and is no age.
    if (a.ageSec === null || b.ageSec === null || a.ageSec === -1 || b.ageSec === -1) return a.ageSec !== b.ageSec;
    return Math.abs(a.ageSec - b.ageSec) > AGE_TOLERANCE_SEC;
  });
}

let python: string | null = null;

/** The interpreter itself: a version manager's shim in front of it would cost more than the script. */
function pythonPath(): string {
  python ??= execFileSync("python3", ["-c", "import sys; print(sys.executable)"], {
    encoding: "utf8",
  }).trim();
  return python;
}

/** What the script needs in its environment to be no slower than it has to. */
export function baselineEnv(): Record<string, string> {
  return { CODEX_PYTHON: BARE_PYTHON_PATH, BASELINE_PYTHON: pythonPath() };
}

export async function runBaselineOn(input: Case, vault: Vault): Promise<Observed> {
  const { observed } = await runOn(
    input,
    vault,
    (env) =>
      start("bash", [BASELINE_PATH, "--once"], {
        env: { ...env, ...baselineEnv() },
      }).ended,
  );
  return observed;
}

/** Runs the built program. `leak` says where a token of the case showed up, null when nowhere. */
export async function runProgramOn(
  input: Case,
  vault: Vault,
): Promise<{ readonly observed: Observed; readonly stderr: string; readonly leak: string | null }> {
  const { observed, run, status } = await runOn(input, vault, (env) => runProgram({ env }));
  const tokens = [vault.login, vault.granted, vault.grantedToAnother].flatMap((set) => Object.values(set) as string[]);
  return {
    observed,
    stderr: run.stderr,
    leak: findLeak(`${run.stdout}${run.stderr}${status ?? ""}`, tokens),
  };
}

async function runOn(
  input: Case,
  vault: Vault,
  run: (env: Record<string, string>) => Promise<RunResult>,
): Promise<{ observed: Observed; run: RunResult; status: string | null }> {
  const home = new Home();
  const server = await TokenServer.start();
  try {
    const codexHome = join(home.path, "codex");
    layOut(input, vault, codexHome);
    const before = look(codexHome);
    const reply = renderAnswer(input.answer, vault);
    server.always(reply);
    const result = await run({
      ...environmentOf(input),
      CODEX_HOME: codexHome,
      // Port 1 (tcpmux) is refused on any machine that can run these tests.
      CODEX_REFRESH_TOKEN_URL_OVERRIDE: reply === null ? "http://127.0.0.1:1/oauth/token" : server.url,
    });
    const status = readOrNull(join(codexHome, "auth_refresh_status.json"))?.toString("utf8") ?? null;
    const after = look(codexHome);
    return { observed: observe(result, server, status, before, after), run: result, status };
  } finally {
    await server.stop();
    home.remove();
  }
}

function layOut(input: Case, vault: Vault, codexHome: string): void {
  if (input.file === "absent-home") return;
  mkdirSync(codexHome);
  if (input.config !== null) writeFileSync(join(codexHome, "config.toml"), input.config);
  const path = join(codexHome, "auth.json");
  switch (input.file) {
    case "absent":
      return;
    case "directory":
      mkdirSync(path);
      // Not empty: `[ -s ]` says no to an empty directory on some file systems.
      writeFileSync(join(path, "something"), "");
      return;
    case "dangling-link":
      symlinkSync("nowhere.json", path);
      return;
    case "linked-login":
      writeFileSync(join(codexHome, "real.json"), renderFile(input, vault), { mode: 0o600 });
      symlinkSync("real.json", path);
      return;
    default:
      writeFileSync(path, renderFile(input, vault), {
        mode: input.file === "world-readable-login" ? 0o644 : 0o600,
      });
  }
}

/** auth.json at one moment. */
interface Look {
  readonly kind: "absent" | "directory" | "file" | "link" | "dangling-link";
  readonly mode: number;
  readonly bytes: Buffer;
}

function look(codexHome: string): Look {
  const path = join(codexHome, "auth.json");
  const none = { mode: 0, bytes: Buffer.alloc(0) };
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return { kind: "absent", ...none };
  if (stats.isDirectory()) return { kind: "directory", ...none };
  if (stats.isSymbolicLink() && !existsSync(path)) return { kind: "dangling-link", ...none };
  return {
    kind: stats.isSymbolicLink() ? "link" : "file",
    mode: statSync(path).mode & 0o777,
    bytes: readFileSync(path),
  };
}

function observe(
  result: RunResult,
  server: TokenServer,
  statusText: string | null,
  before: Look,
  after: Look,
): Observed {
  const status = statusText === null ? {} : (JSON.parse(statusText) as Record<string, unknown>);
  const lastRefresh = stringOrNull(status["last_refresh"]);
  const wasStamped = lastRefresh !== null && lastRefresh === stampedNow(before, after);
  const ageSec = status["last_refresh_age_seconds"];
  return {
    exit: result.code,
    word: stringOrNull(status["watchdog_last_outcome"]),
    posts: server.posts.map(({ body }) => sorted(Object.entries(body).map((entry) => JSON.stringify(entry))).join()),
    file: describeChange(before, after),
    lastRefresh: wasStamped ? "<now>" : lastRefresh,
    ageSec: typeof ageSec === "number" ? ageSec : null,
  };
}

/** The `last_refresh` that this run has put into auth.json, null when it has put none there. */
function stampedNow(before: Look, after: Look): string | null {
  if (after.kind === before.kind && after.bytes.equals(before.bytes)) return null;
  const stamp = parse(after.bytes)?.["last_refresh"];
  return typeof stamp === "string" && Math.abs(Date.parse(stamp) - Date.now()) < 300_000 ? stamp : null;
}

function describeChange(before: Look, after: Look): string {
  const kind = before.kind === after.kind ? after.kind : `${after.kind} instead of ${before.kind}`;
  const mode = before.mode === after.mode ? "" : `, mode ${after.mode.toString(8)}`;
  if (before.bytes.equals(after.bytes)) return `${kind}${mode}, unchanged`;
  const [old, now] = [parse(before.bytes), parse(after.bytes)];
  if (old === null || now === null) return `${kind}${mode}, ${after.bytes.toString("latin1")}`;
  const stamp = stampedNow(before, after);
  const changes = compare({ ...old }, stamp === null ? now : { ...now, last_refresh: "<now>" }, "");
  return [`${kind}${mode}`, ...(changes.length === 0 ? ["rewritten"] : sorted(changes))].join(", ");
}

function sorted(texts: readonly string[]): string[] {
  return [...texts].sort((a, b) => (a < b ? -1 : 1));
}

/** `path=value` for everything that differs; order and layout do not count. */
function compare(old: unknown, now: unknown, path: string): string[] {
  if (isObject(old) && isObject(now)) {
    const keys = [...new Set([...Object.keys(old), ...Object.keys(now)])];
    return keys.flatMap((key) => compare(old[key], now[key], path === "" ? key : `${path}.${key}`));
  }
  return JSON.stringify(old) === JSON.stringify(now) ? [] : [`${path}=${JSON.stringify(now) ?? "gone"}`];
}

function parse(bytes: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function stringOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function readOrNull(path: string): Buffer | null {
  return existsSync(path) ? readFileSync(path) : null;
}
