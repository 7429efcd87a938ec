import { join } from "node:path";
import { Command, CommanderError, Option } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import type { EndpointSettings } from "../adapters/http-token-endpoint.js";
import { isLoopbackHost } from "../core/loopback.js";
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

/** The numbers that the shell script took from the environment; each has a flag now. */
const DURATIONS = [
  ["--interval", "CODEX_AUTH_REFRESH_INTERVAL_SECONDS", 21_600, 1, "longest time between two looks of the loop"],
  ["--safety-margin", "CODEX_AUTH_SAFETY_MARGIN_SECONDS", 14_400, 0, "refresh with this long to live, or less"],
  ["--stale-after", "CODEX_AUTH_STALE_AFTER_SECONDS", 604_800, 0, "refresh when last_refresh is this old"],
] as const;

const AFTER_HELP = `
Durations are seconds, or carry a unit: 90s, 30m, 6h, 7d.
A flag wins over the environment variable in [brackets].

Environment:
  CODEX_REFRESH_TOKEN_URL_OVERRIDE     token endpoint: https, or http on loopback
  CODEX_APP_SERVER_LOGIN_CLIENT_ID     OAuth client id, when it is not Codex's own
  CODEX_CA_CERTIFICATE, SSL_CERT_FILE  PEM file with further certificate authorities
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY

Exit codes of --once:
  0  refreshed
  1  nothing to do: no login here, another auth mode, fresh, or refreshed by somebody else
  2  try again later
  3  log in again
  4  rotated but not yet saved; the next run saves it
  64 wrong usage
  70 a bug`;

/**
 * Reads arguments and environment into settings. Pure: the caller prints and exits.
 *
 * @param argv the arguments behind the program's name
 * @param home where `.codex` is looked for when `CODEX_HOME` is not set
 */
export function parseArguments(argv: readonly string[], environment: Environment, home: string): ParsedArguments {
  const output: string[] = [];
  try {
    const command = buildCommand(environment, home);
    command.configureOutput({ writeOut: (text) => output.push(text), writeErr: () => undefined });
    command.parse(argv, { from: "user" });
    return { kind: "run", settings: readSettings(command, environment) };
  } catch (error) {
    if (error instanceof UsageError) return { kind: "usage-error", message: error.message };
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: "show", text: output.join("") };
    // An option's value is not repeated: it could be a token that somebody put in the wrong place.
    return { kind: "usage-error", message: error.message.replace(/^error: |=[^']*/g, "").replace("\n", " ") };
  }
}

/** What is wrong with a call, in one line. */
class UsageError extends Error {}

function buildCommand(environment: Environment, home: string): Command {
  const command = new Command("codex-auth-watchdog")
    .description("Keeps the ChatGPT login of the Codex CLI alive: refreshes auth.json before it expires.")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .allowExcessArguments(false)
    .exitOverride()
    .option("--once", "run one cycle and exit with its code, instead of looping", false)
    .option("--force", "refresh though the login is fresh", false)
    .addOption(
      new Option("--codex-home <dir>", "directory that holds auth.json [CODEX_HOME]")
        .default(nonBlank(environment["CODEX_HOME"]) ?? join(home, ".codex"))
        .argParser(takeOnce("--codex-home")),
    );
  for (const [flag, variable, defaultSec, minSec, help] of DURATIONS) {
    const preset = nonBlank(environment[variable]) ?? `${defaultSec}`;
    const option = new Option(`${flag} <duration>`, `${help} [${variable}]`)
      .default(readDuration(variable, preset, minSec), preset)
      .argParser((text) => readDuration(flag, text, minSec));
    command.addOption(option);
  }
  return command.addHelpText("after", AFTER_HELP);
}

function readSettings(command: Command, environment: Environment): Settings {
  const { codexHome, once, force, interval, safetyMargin, staleAfter } = command.opts();
  if (codexHome === "") throw new UsageError("--codex-home: the directory's name is empty");
  const durations = { intervalSec: interval, safetyMarginSec: safetyMargin, staleAfterSec: staleAfter };
  return { codexHome, isOnce: once, isForced: force, ...durations, endpoint: readEndpoint(environment) };
}

function readDuration(source: string, text: string, minSec: number): number {
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

function takeOnce(flag: string): (value: string) => string {
  let isTaken = false;
  return (value) => {
    if (isTaken) throw new UsageError(`${flag}: one home per process for now; start one watchdog for each`);
    isTaken = true;
    return value;
  };
}

function nonBlank(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === "" ? undefined : value;
}
