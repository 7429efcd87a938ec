import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import type { CodexSettings } from "../adapters/codex-app-server.js";
import type { EndpointSettings } from "../adapters/http-token-endpoint.js";
import { isLoopbackHost } from "../core/loopback.js";
import { Secret } from "../core/secret.js";
import { REQUEST_DEADLINE_MS } from "../core/ticket.js";
import type { LogLevel } from "../ports.js";
import { parseDurationSec } from "./duration.js";
import type { FleetSettings } from "./fleet-options.js";
import { type CommandName, OPTIONS, TOKEN_URL } from "./option-table.js";

/** Everything that the outside can set, checked. */
export interface Settings {
  /** At least one, each as it was given. */
  readonly codexHomes: readonly string[];
  readonly isOnce: boolean;
  readonly isForced: boolean;
  readonly intervalSec: number;
  readonly safetyMarginSec: number;
  readonly staleAfterSec: number;
  readonly minRefreshIntervalSec: number;
  /** The program that is told of events; null when nobody is. */
  readonly onEvent: string | null;
  readonly metricsFile: string | null;
  readonly http: ListenAddress | null;
  readonly logFormat: "text" | "json";
  readonly logLevel: LogLevel;
  readonly isJson: boolean;
  readonly isExitCode: boolean;
  readonly maxWaitSec: number;
  readonly endpoint: EndpointSettings;
  /** How to ask Codex for the refresh; null when it is ours to send. */
  readonly codex: CodexSettings | null;
  /** False when this process never sends a refresh token. */
  readonly isOwner: boolean;
  /** The text of an auth.json from the environment; null when there is none. */
  readonly bootstrapText: Secret | null;
  /** Null for a login in a file. */
  readonly fleet: FleetSettings | null;
}

export interface ListenAddress {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

export type ParsedArguments =
  | { readonly kind: "run"; readonly command: CommandName; readonly settings: Settings }
  /** `--help` and `--version`: the text for standard output. */
  | { readonly kind: "show"; readonly text: string }
  /** One line that says what is wrong with the call. */
  | { readonly kind: "usage-error"; readonly message: string };

/** What a call says, option by option: the words behind a flag, none for one without a value. */
export type Flags = ReadonlyMap<string, readonly string[]>;

export const VERSION = packageJson.version;

export type Environment = Readonly<Record<string, string | undefined>>;

/** The client id that is built into Codex (0.130 to 0.169). */
const CODEX_CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann";

/** What is wrong with a call, in one line. */
export class UsageError extends Error {}

/**
 * Reads arguments and environment into settings. Pure: the caller prints and exits.
 *
 * @param argv the arguments behind the program's name
 * @param home where `.codex` is looked for when `CODEX_HOME` is not set
 */
export async function parseArguments(
  argv: readonly string[],
  env: Environment,
  home: string,
): Promise<ParsedArguments> {
  try {
    // The calls that containers make all day need no parser: commander alone costs a third of a bare Node's start.
    const isPlain = argv.every((word) => word === "--once" || word === "--force");
    const parsed = isPlain
      ? ({ kind: "call", command: "run", flags: new Map(argv.map((word) => [word, []])) } as const)
      : (await import("./flags.js")).parseFlags(argv);
    if (parsed.kind !== "call") return parsed;
    const isDry = parsed.flags.has("--dry-run");
    const fleet = await readFleet(parsed.command, parsed.flags, env);
    const settings = { ...readSettings(parsed.flags, env, home), fleet };
    if (isDry && fleet !== null) {
      throw new UsageError("--dry-run and check look at a file: store status says how a login in --store stands");
    }
    if (settings.bootstrapText !== null && settings.codexHomes.length > 1 && parsed.command === "run") {
      throw new UsageError("CODEX_AUTH_JSON is one login: give one --codex-home, or unset it");
    }
    return { kind: "run", command: isDry ? "check" : parsed.command, settings };
  } catch (error) {
    if (error instanceof UsageError) return { kind: "usage-error", message: error.message };
    throw error;
  }
}

/** A setting's text, and where it stands: the flag or the variable, for the message about what is wrong with it. */
export interface Given {
  readonly text: string;
  readonly source: string;
}

/** Only a fleet's calls load what reads a fleet's settings. */
async function readFleet(command: CommandName, flags: Flags, env: Environment): Promise<FleetSettings | null> {
  const find = (name: string): Given | null => findGiven(flags, env, name);
  const isFleet = command === "run" ? find("--store") !== null : command === "follow" || command.startsWith("store ");
  if (!isFleet) return null;
  const { parseFleetSettings } = await import("./fleet-options.js");
  const parsed = parseFleetSettings(command, { flags, env, find });
  if (parsed.kind === "fleet") return parsed.fleet;
  throw new UsageError(parsed.message);
}

function readSettings(flags: Flags, env: Environment, home: string): Omit<Settings, "fleet"> {
  const find = (name: string): Given | null => findGiven(flags, env, name);
  const bootstrap = nonBlank(env["CODEX_AUTH_JSON"]);
  return {
    codexHomes: readHomes(flags, env, home),
    isOnce: flags.has("--once"),
    isForced: flags.has("--force"),
    intervalSec: readDuration(find("--interval"), 1),
    safetyMarginSec: readDuration(find("--safety-margin"), 0),
    staleAfterSec: readDuration(find("--stale-after"), 0),
    minRefreshIntervalSec: readDuration(find("--min-refresh-interval"), 0),
    maxWaitSec: readDuration(find("--max"), 0),
    onEvent: find("--on-event")?.text ?? null,
    metricsFile: find("--metrics-file")?.text ?? null,
    http: readListenAddress(find("--http")),
    logFormat: readChoice(find("--log-format"), ["text", "json"]),
    logLevel: readChoice(find("--log-level"), ["error", "warn", "info", "debug"]),
    isJson: flags.has("--json"),
    isExitCode: flags.has("--exit-code"),
    endpoint: readEndpoint(env),
    codex: readCodex(find("--via"), find("--codex-program"), env),
    isOwner: readChoice(find("CODEX_AUTH_REFRESH_OWNER"), ["1", "0"]) === "1",
    bootstrapText: bootstrap === undefined ? null : new Secret(bootstrap),
  };
}

/** Flag before environment before preset; a blank variable counts as none. */
function findGiven(flags: Flags, env: Environment, name: string): Given | null {
  const row = OPTIONS.find(({ flag, variables }) => (flag?.split(" ")[0] ?? variables[0]) === name);
  const [fromFlag] = flags.get(name) ?? [];
  if (fromFlag !== undefined) return { text: fromFlag, source: name };
  for (const variable of row?.variables ?? []) {
    const text = nonBlank(env[variable]);
    if (text !== undefined) return { text, source: variable };
  }
  return row?.preset == null ? null : { text: row.preset, source: name };
}

function readHomes(flags: Flags, env: Environment, home: string): readonly string[] {
  const given = flags.get("--codex-home");
  if (given === undefined) return [nonBlank(env["CODEX_HOME"]) ?? join(home, ".codex")];
  if (given.some((path) => path === "")) throw new UsageError("--codex-home: the directory's name is empty");
  return [...new Set(given)];
}

/** Reads a duration of at least `minSec` seconds. */
export function readDuration(given: Given | null, minSec: number): number {
  const { text, source } = given ?? { text: "", source: "" };
  const seconds = parseDurationSec(text);
  if (seconds !== null && seconds >= minSec) return seconds;
  // Not more of the text than this: whoever mixes up two variables may have put a token there.
  const least = minSec === 0 ? "" : `, at least ${minSec}s`;
  throw new UsageError(`${source}: '${text.slice(0, 11)}' is no duration; write seconds, or 90s, 30m, 6h, 7d${least}`);
}

function readChoice<Choice extends string>(given: Given | null, choices: readonly Choice[]): Choice {
  const choice = choices.find((each) => each === given?.text);
  if (choice !== undefined) return choice;
  throw new UsageError(`${given?.source}: must be ${choices.length > 1 ? "one of " : ""}${choices.join(", ")}`);
}

/** `HOST:PORT`, `[::1]:PORT`, or a port alone for loopback. */
function readListenAddress(given: Given | null): ListenAddress | null {
  if (given === null) return null;
  const [, bracketed, plain, digits] =
    /^(?:\[([\da-fA-F:.]+)\]:|([^:[\]\s]*):)?(\d{1,5})$/.exec(given.text.trim()) ?? [];
  const port = Number(digits);
  if (port <= 65_535) return { host: (bracketed ?? plain) || "127.0.0.1", port };
  throw new UsageError(`${given.source}: must be HOST:PORT, such as 127.0.0.1:9464 or [::1]:9464, or a port alone`);
}

function readCodex(via: Given | null, program: Given | null, environment: Environment): CodexSettings | null {
  if (via === null) return null;
  readChoice(via, ["codex"]);
  return {
    program: program?.text ?? "codex",
    clientVersion: VERSION,
    environment,
    deadlineMs: REQUEST_DEADLINE_MS,
  };
}

function readEndpoint(environment: Environment): EndpointSettings {
  const first = (...names: string[]): string | undefined =>
    names.map((name) => nonBlank(environment[name])).find((value) => value !== undefined);
  return {
    url: readTokenUrl(first("CODEX_REFRESH_TOKEN_URL_OVERRIDE")),
    clientId: first("CODEX_APP_SERVER_LOGIN_CLIENT_ID") ?? CODEX_CLIENT_ID,
    userAgent: `codex-auth-watchdog/${VERSION}`,
    deadlineMs: REQUEST_DEADLINE_MS,
    httpProxy: first("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY") ?? "",
    httpsProxy: first("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY") ?? "",
    noProxy: first("no_proxy", "NO_PROXY") ?? "",
    caFile: first("CODEX_CA_CERTIFICATE", "SSL_CERT_FILE") ?? null,
  };
}

/** The token goes to https, or to this very machine; anywhere else it would travel in the clear. */
function readTokenUrl(text = TOKEN_URL): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isLocal = url?.protocol === "http:" && isLoopbackHost(url.hostname);
  if (url !== null && (url.protocol === "https:" || isLocal) && `${url.username}${url.password}` === "") return url;
  throw new UsageError(
    "CODEX_REFRESH_TOKEN_URL_OVERRIDE: must be an https URL, or http on loopback (127.0.0.1, [::1], localhost), without user name and password",
  );
}

export function nonBlank(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === "" ? undefined : value;
}
