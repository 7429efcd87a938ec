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

interface DurationOption {
  readonly flag: string;
  readonly variable: string;
  readonly defaultSec: number;
  readonly minSec: number;
  readonly help: string;
}

/** The numbers that the shell script took from the environment; each has a flag now. */
const DURATIONS = {
  interval: {
    flag: "--interval",
    variable: "CODEX_AUTH_REFRESH_INTERVAL_SECONDS",
    defaultSec: 21_600,
    minSec: 1,
    help: "longest time between two looks of the loop",
  },
  safetyMargin: {
    flag: "--safety-margin",
    variable: "CODEX_AUTH_SAFETY_MARGIN_SECONDS",
    defaultSec: 14_400,
    minSec: 0,
    help: "refresh when the access token has this long to live",
  },
  staleAfter: {
    flag: "--stale-after",
    variable: "CODEX_AUTH_STALE_AFTER_SECONDS",
    defaultSec: 604_800,
    minSec: 0,
    help: "refresh when last_refresh is this old",
  },
} as const satisfies Record<string, DurationOption>;

const AFTER_HELP = `
Durations are seconds, or carry a unit: 90s, 30m, 6h, 7d. A flag wins over the environment.

Environment:
  CODEX_HOME                            same as --codex-home
  CODEX_AUTH_REFRESH_INTERVAL_SECONDS   same as --interval
  CODEX_AUTH_SAFETY_MARGIN_SECONDS      same as --safety-margin
  CODEX_AUTH_STALE_AFTER_SECONDS        same as --stale-after
  CODEX_REFRESH_TOKEN_URL_OVERRIDE      token endpoint: https, or http on loopback
  CODEX_APP_SERVER_LOGIN_CLIENT_ID      OAuth client id, when it is not Codex's own
  CODEX_CA_CERTIFICATE, SSL_CERT_FILE   PEM file with further certificate authorities
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
 * @param homeDirectory where `.codex` is looked for when `CODEX_HOME` is not set
 */
export function parseArguments(
  argv: readonly string[],
  environment: Environment,
  homeDirectory: string,
): ParsedArguments {
  const output: string[] = [];
  const command = buildCommand(environment, homeDirectory).configureOutput({
    writeOut: (text) => output.push(text),
    writeErr: () => undefined,
  });
  try {
    command.parse(argv, { from: "user" });
    return { kind: "run", settings: readSettings(command.opts(), environment) };
  } catch (error) {
    if (error instanceof UsageError) return { kind: "usage-error", message: error.message };
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0
      ? { kind: "show", text: output.join("") }
      : { kind: "usage-error", message: error.message.replace(/^error: /, "").replace(/\s+/g, " ") };
  }
}

/** What is wrong with a call, in one line. */
class UsageError extends Error {}

function buildCommand(environment: Environment, homeDirectory: string): Command {
  const command = new Command("codex-auth-watchdog")
    .description(
      "Keeps the ChatGPT login of the Codex CLI alive: refreshes auth.json before it expires,\n" +
        "spends each refresh token once, and never loses a rotated one.",
    )
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .allowExcessArguments(false)
    .exitOverride()
    .option("--once", "run one cycle and exit with its code, instead of looping", false)
    .option("--force", "refresh though the login is fresh", false)
    .addOption(
      new Option("--codex-home <dir>", "the directory that holds auth.json")
        .default(nonBlank(environment["CODEX_HOME"]) ?? join(homeDirectory, ".codex"))
        .argParser(takeOnce("--codex-home")),
    );
  for (const { flag, variable, defaultSec, help } of Object.values(DURATIONS)) {
    const preset = nonBlank(environment[variable]);
    command.addOption(
      new Option(`${flag} <duration>`, help)
        .default(
          { text: preset ?? String(defaultSec), source: preset === undefined ? flag : variable },
          preset ?? String(defaultSec),
        )
        .argParser((text): DurationText => ({ text, source: flag })),
    );
  }
  return command.addHelpText("after", AFTER_HELP);
}

/** A duration as written, and where it was written. */
interface DurationText {
  readonly text: string;
  readonly source: string;
}

interface RawOptions {
  readonly once: boolean;
  readonly force: boolean;
  readonly codexHome: string;
  readonly interval: DurationText;
  readonly safetyMargin: DurationText;
  readonly staleAfter: DurationText;
}

function readSettings(raw: RawOptions, environment: Environment): Settings {
  if (raw.codexHome === "") throw new UsageError("--codex-home: the directory's name is empty");
  return {
    codexHome: raw.codexHome,
    isOnce: raw.once,
    isForced: raw.force,
    intervalSec: readDuration(raw.interval, DURATIONS.interval),
    safetyMarginSec: readDuration(raw.safetyMargin, DURATIONS.safetyMargin),
    staleAfterSec: readDuration(raw.staleAfter, DURATIONS.staleAfter),
    endpoint: readEndpoint(environment),
  };
}

function readDuration({ text, source }: DurationText, option: DurationOption): number {
  const seconds = parseDurationSec(text);
  if (seconds !== null && seconds >= option.minSec) return seconds;
  const least = option.minSec === 0 ? "" : `, at least ${option.minSec}s`;
  throw new UsageError(`${source}: '${text.slice(0, 40)}' is no duration; write seconds, or 90s, 30m, 6h, 7d${least}`);
}

function readEndpoint(environment: Environment): EndpointSettings {
  const anyProxy = firstSet(environment, "ALL_PROXY", "all_proxy");
  const httpProxy = firstSet(environment, "http_proxy", "HTTP_PROXY") ?? anyProxy ?? "";
  return {
    url: readTokenUrl(nonBlank(environment["CODEX_REFRESH_TOKEN_URL_OVERRIDE"])),
    clientId: nonBlank(environment["CODEX_APP_SERVER_LOGIN_CLIENT_ID"]) ?? CODEX_CLIENT_ID,
    userAgent: `codex-auth-watchdog/${VERSION}`,
    httpProxy,
    httpsProxy: firstSet(environment, "https_proxy", "HTTPS_PROXY") ?? anyProxy ?? "",
    noProxy: firstSet(environment, "no_proxy", "NO_PROXY") ?? "",
    caFile: firstSet(environment, "CODEX_CA_CERTIFICATE", "SSL_CERT_FILE") ?? null,
  };
}

/** The token goes to https, or to this very machine; anywhere else it would travel in the clear. */
function readTokenUrl(text: string | undefined): URL {
  if (text === undefined) return new URL(TOKEN_URL);
  const source = "CODEX_REFRESH_TOKEN_URL_OVERRIDE";
  if (!URL.canParse(text)) throw new UsageError(`${source}: this is no URL`);
  const url = new URL(text);
  const isLocal = url.protocol === "http:" && isLoopbackHost(url.hostname);
  if (url.protocol !== "https:" && !isLocal) {
    throw new UsageError(`${source}: must be https, or http on loopback (127.0.0.1, [::1], localhost)`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new UsageError(`${source}: must not hold a user name or a password`);
  }
  return url;
}

function takeOnce(flag: string): (value: string) => string {
  let isTaken = false;
  return (value) => {
    if (isTaken) throw new UsageError(`${flag}: one home per process for now; start one watchdog for each`);
    isTaken = true;
    return value;
  };
}

function firstSet(environment: Environment, ...names: string[]): string | undefined {
  return names.map((name) => nonBlank(environment[name])).find((value) => value !== undefined);
}

function nonBlank(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === "" ? undefined : value;
}
