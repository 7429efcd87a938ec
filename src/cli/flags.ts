import { Command, CommanderError, Option } from "commander";
import { DURATIONS, type ParsedArguments, readDuration, type Settings, UsageError, VERSION } from "./options.js";

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

/** Reads the flags of a call, on top of the settings that hold without them. */
export function parseFlags(argv: readonly string[], settings: Settings): ParsedArguments {
  const output: string[] = [];
  try {
    const command = buildCommand(settings);
    command.configureOutput({ writeOut: (text) => output.push(text), writeErr: () => undefined });
    command.parse(argv, { from: "user" });
    const { codexHome, once, force, interval, safetyMargin, staleAfter } = command.opts();
    if (codexHome === "") throw new UsageError("--codex-home: the directory's name is empty");
    if (argv.filter((word) => /^--codex-home(=|$)/.test(word)).length > 1) {
      throw new UsageError("--codex-home: one home per process for now; start one watchdog for each");
    }
    const durations = { intervalSec: interval, safetyMarginSec: safetyMargin, staleAfterSec: staleAfter };
    return { kind: "run", settings: { ...settings, codexHome, isOnce: once, isForced: force, ...durations } };
  } catch (error) {
    if (error instanceof UsageError) return { kind: "usage-error", message: error.message };
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: "show", text: output.join("") };
    // An option's value is not repeated: it could be a token that somebody put in the wrong place.
    return { kind: "usage-error", message: error.message.replace(/^error: |=[^']*/g, "").replace("\n", " ") };
  }
}

function buildCommand(settings: Settings): Command {
  const command = new Command("codex-auth-watchdog")
    .description("Keeps the ChatGPT login of the Codex CLI alive: refreshes auth.json before it expires.")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .allowExcessArguments(false)
    .exitOverride()
    .option("--once", "run one cycle and exit with its code, instead of looping", false)
    .option("--force", "refresh though the login is fresh", false)
    .option("--codex-home <dir>", "directory that holds auth.json [CODEX_HOME]", settings.codexHome);
  const presets = [settings.intervalSec, settings.safetyMarginSec, settings.staleAfterSec];
  for (const [index, [flag, variable, , minSec, help]] of DURATIONS.entries()) {
    const option = new Option(`${flag} <duration>`, `${help} [${variable}]`)
      .default(presets[index])
      .argParser((text) => readDuration(flag, text, minSec));
    command.addOption(option);
  }
  return command.addHelpText("after", AFTER_HELP);
}
