import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import type { EndpointSettings } from "../adapters/http-token-endpoint.js";
import { isLoopbackHost } from "../core/loopback.js";
import { REQUEST_DEADLINE_MS } from "../core/ticket.js";
import { parseDurationSec } from "./duration.js";

/** Everything that the outside can set, checked. */
export interface Settings {
  readonly codexHome: string;
  readonly isOnce: boolean;
  readonly isForced: boolean;
  readonly intervalSec: number;
  readonly safetyMarginSec: number;
  readonly staleAfterSec: number;
  readonly endpoint: EndpointSettings;
}

export type ParsedArguments =
  | { readonly kind: "run"; readonly settings: Settings }
  /** `--help` and `--version`: the text for standard output. */
  | { readonly kind: "show"; readonly text: string }
  /** One line that says what is wrong with the call. */
  | { readonly kind: "usage-error"; readonly message: string };

export const VERSION = packageJson.version;

type Environment = Readonly<Record<string, string | undefined>>;

/** The endpoint and the client id that are built into Codex (0.130 to 0.169). */
const TOKEN_URL = "https://auth.openai.com/oauth/token";
const CODEX_CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann";

/** What is wrong with a call, in one line. */
export class UsageError extends Error {}

/** The numbers that the shell script took from the environment; each has a flag now. */
export const DURATIONS = [
  ["--interval", "CODEX_AUTH_REFRESH_INTERVAL_SECONDS", 21_600, 1, "longest time between two looks of the loop"],
  ["--safety-margin", "CODEX_AUTH_SAFETY_MARGIN_SECONDS", 14_400, 0, "refresh with this long to live, or less"],
  ["--stale-after", "CODEX_AUTH_STALE_AFTER_SECONDS", 604_800, 0, "refresh when last_refresh is this old"],
] as const;

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
    const settings = readEnvironment(env, home);
    const isPlain = argv.every((word) => word === "--once" || word === "--force");
    // The calls that containers make all day need no parser: commander alone costs a third of a bare Node's start.
    if (!isPlain) return (await import("./flags.js")).parseFlags(argv, settings);
    const flags = { isOnce: argv.includes("--once"), isForced: argv.includes("--force") };
    return { kind: "run", settings: { ...settings, ...flags } };
  } catch (error) {
    if (error instanceof UsageError) return { kind: "usage-error", message: error.message };
    throw error;
  }
}

function readEnvironment(environment: Environment, home: string): Settings {
  const [intervalSec = 0, safetyMarginSec = 0, staleAfterSec = 0] = DURATIONS.map(([, variable, defaultSec, minSec]) =>
    readDuration(variable, nonBlank(environment[variable]) ?? `${defaultSec}`, minSec),
  );
  const codexHome = nonBlank(environment["CODEX_HOME"]) ?? join(home, ".codex");
  const flags = { isOnce: false, isForced: false, intervalSec, safetyMarginSec, staleAfterSec };
  return { codexHome, ...flags, endpoint: readEndpoint(environment) };
}

/**
 * Reads a duration of at least `minSec` seconds.
 *
 * @param source the flag or variable that it stands in, for the UsageError that it throws
 */
export function readDuration(source: string, text: string, minSec: number): number {
  const seconds = parseDurationSec(text);
  if (seconds !== null && seconds >= minSec) return seconds;
  // Not more of the text than this: whoever mixes up two variables may have put a token there.
  const least = minSec === 0 ? "" : `, at least ${minSec}s`;
  throw new UsageError(`${source}: '${text.slice(0, 11)}' is no duration; write seconds, or 90s, 30m, 6h, 7d${least}`);
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
function readTokenUrl(text: string | undefined): URL {
  if (text === undefined) return new URL(TOKEN_URL);
  const url = URL.canParse(text) ? new URL(text) : null;
  const isLocal = url?.protocol === "http:" && isLoopbackHost(url.hostname);
  if (url !== null && (url.protocol === "https:" || isLocal) && `${url.username}${url.password}` === "") return url;
  throw new UsageError(
    "CODEX_REFRESH_TOKEN_URL_OVERRIDE: must be an https URL, or http on loopback (127.0.0.1, [::1], localhost), without user name and password",
  );
}

function nonBlank(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === "" ? undefined : value;
}
