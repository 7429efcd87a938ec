import { COMMANDS, type CommandName, OPTIONS } from "../../src/cli/option-table.js";

/** Between these the README holds what is rendered here. */
export const MARKS = { begin: "<!-- options: begin -->\n", end: "<!-- options: end -->" };

export function renderOptions(): string {
  const commands = Object.entries(COMMANDS).map(([name, help]) => `| \`${name}\` | ${help} |`);
  const options = OPTIONS.map(({ flag, variables, preset, commands: owners, help }) => {
    const names = variables.map((name) => `\`${name}\``).join(", ");
    return `| ${flag === null ? "" : `\`${flag.replace("|", "\\|")}\``} | ${names} | ${preset ?? ""} | ${help}${ownersOf(owners)} |`;
  });
  return [
    "| command | |",
    "|---|---|",
    "| none | look after the login until told to stop; with `--once`, one cycle |",
    ...commands,
    "",
    "| flag | environment | default | |",
    "|---|---|---|---|",
    ...options,
    "| `--help`, `--version` | | | |",
    "",
  ].join("\n");
}

/** Named where an option belongs to some commands only, and not to the one without a name. */
function ownersOf(commands: readonly CommandName[]): string {
  return commands.includes("run") ? "" : ` (${commands.map((name) => `\`${name}\``).join(", ")})`;
}
