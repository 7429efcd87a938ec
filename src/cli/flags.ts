import { Command, CommanderError, Option } from "commander";
import { COMMANDS, type CommandName, OPTIONS } from "./option-table.js";
import { type Flags, type ParsedArguments, UsageError, VERSION } from "./options.js";

const WORDS = Object.keys(COMMANDS) as Exclude<CommandName, "run">[];

const STORE_WORDS = WORDS.filter((word) => word.startsWith("store ")).join(", ");

/** How far into a line of help the words begin that explain an option. */
const HELP_COLUMN = 33;

const AFTER_HELP = `
Exit codes of --once:
  0  refreshed
  1  nothing to do: no login here, another auth mode, fresh, or refreshed by somebody else
  2  try again later
  3  log in again
  4  rotated but not yet saved; the next run saves it
  64 wrong usage
  70 a bug`;

export type ParsedCall =
  | { readonly kind: "call"; readonly command: CommandName; readonly flags: Flags }
  | Exclude<ParsedArguments, { kind: "run" }>;

/** Reads a call word by word. What the words are worth is for `options.ts` to say. */
export function parseFlags(argv: readonly string[]): ParsedCall {
  const output: string[] = [];
  let call: ParsedCall | null = null;
  try {
    const program = buildProgram((command, options) => {
      call = { kind: "call", command, flags: toFlags(options) };
    });
    for (const each of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
      each.exitOverride().configureOutput({ writeOut: (text) => output.push(text), writeErr: () => undefined });
    }
    program.parse(argv, { from: "user" });
    return call ?? { kind: "usage-error", message: unknownCommand() };
  } catch (error) {
    if (error instanceof UsageError) return { kind: "usage-error", message: error.message };
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "commander.help")
      return { kind: "usage-error", message: `a command is missing: ${STORE_WORDS}` };
    if (error.exitCode === 0) return { kind: "show", text: output.join("") };
    const isWord = error.code === "commander.excessArguments" || error.code === "commander.unknownCommand";
    if (isWord) return { kind: "usage-error", message: unknownCommand() };
    // An option's value is not repeated: it could be a token that somebody put in the wrong place.
    return { kind: "usage-error", message: error.message.replace(/^error: |=[^']*/g, "").replace("\n", " ") };
  }
}

function unknownCommand(): string {
  return `there is a word too many; the commands are ${WORDS.join(", ")}, and none for the loop`;
}

function buildProgram(onCall: (command: CommandName, options: Record<string, unknown>) => void): Command {
  const program = new Command("codex-auth-watchdog")
    .description("Keeps the ChatGPT login of the Codex CLI alive: refreshes auth.json before it expires.")
    .usage("[command] [options]")
    .version(VERSION, "-V, --version", "print the version")
    .helpCommand(false)
    .allowExcessArguments(false)
    .enablePositionalOptions() // Or commander gives a command's options to the program, which has them too.
    .action((options: Record<string, unknown>) => onCall("run", options));
  addOptions(program, "run");
  const groups = new Map<string, Command>();
  for (const word of WORDS) {
    const [last = word, group] = word.split(" ").reverse();
    const command = parentOf(group, program, groups)
      .command(last)
      .description(COMMANDS[word])
      .allowExcessArguments(false)
      .action((options: Record<string, unknown>) => {
        if (Object.keys(program.opts()).length > 0) throw new UsageError(`write ${word} before its options`);
        onCall(word, options);
      });
    addOptions(command, word);
  }
  return program.addHelpText("after", helpAfter("run"));
}

/** `store init` is the command `init` of the group `store`. */
function parentOf(group: string | undefined, program: Command, groups: Map<string, Command>): Command {
  if (group === undefined) return program;
  const known = groups.get(group);
  if (known !== undefined) return known;
  const made = program.command(group).description("a login in PostgreSQL, for several hosts").helpCommand(false);
  groups.set(group, made);
  return made;
}

function addOptions(command: Command, name: CommandName): void {
  command.helpOption("-h, --help", "print this help");
  for (const { flag, variables, preset, commands, help } of OPTIONS) {
    if (flag === null || !commands.includes(name)) continue;
    const [word, value] = flag.split(" ");
    const shownPreset = preset === null ? "" : `, else ${preset}`;
    const source = variables.length === 0 ? shownPreset.slice(2) : `${variables.join(", ")}${shownPreset}`;
    const text = source === "" ? help : `${help} [${source}]`;
    command.addOption(new Option(value === undefined ? `${word}` : `${word} <${value}>`, text));
  }
}

function helpAfter(name: CommandName): string {
  const rows = OPTIONS.filter(({ flag, commands }) => flag === null && commands.includes(name));
  const lines = rows.map(({ variables, help }) => {
    const names = variables.join(", ");
    return names.length < HELP_COLUMN
      ? `  ${names.padEnd(HELP_COLUMN)} ${help}`
      : `  ${names}\n${" ".repeat(HELP_COLUMN + 3)}${help}`;
  });
  return `
Durations are seconds, or carry a unit: 90s, 30m, 6h, 7d.
A flag wins over the environment variable in [brackets].

Further variables in the environment:
${lines.join("\n")}
${AFTER_HELP}`;
}

/** Commander's own names back into flags: `codexHome` is `--codex-home`. */
function toFlags(options: Record<string, unknown>): Flags {
  const flags = new Map<string, readonly string[]>();
  for (const [name, value] of Object.entries(options)) {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    flags.set(flag, value === true ? [] : [value].flat().map(String));
  }
  const misplaced = flags.get("--codex-home")?.find((path) => WORDS.some((word) => word === path));
  if (misplaced === undefined) return flags;
  throw new UsageError(`--codex-home takes every word that follows it: write '${misplaced}' first, or ./${misplaced}`);
}
