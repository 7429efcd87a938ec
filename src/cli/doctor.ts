import { readHostFacts } from "../adapters/host-facts.js";
import { diagnose, oneLine } from "../core/doctor.js";
import type { Finding, Severity } from "../core/findings.js";

const COLOURS: Readonly<Record<Severity, string>> = { error: "31", warning: "33", info: "36" };

/**
 * Finds what will go wrong on this machine with these homes. Reads only.
 *
 * @param input.env the environment that a watchdog would be started with
 * @param input.nowMs milliseconds since 1970
 * @returns the text for standard output; exit code 0 when there is nothing worse than an info
 */
export async function doctor(input: {
  readonly codexHomes: readonly string[];
  readonly isJson: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly nowMs: number;
  readonly isTerminal: boolean;
}): Promise<{ readonly exitCode: 0 | 1; readonly text: string }> {
  const { env, nowMs, isJson, isTerminal } = input;
  const codexHomes = [...new Set(input.codexHomes)];
  const { machine, homes } = await readHostFacts(codexHomes, env, nowMs);
  const findings = diagnose(machine, homes, nowMs);
  const text = isJson ? toJson(findings, codexHomes, nowMs) : toText(findings, codexHomes, isTerminal);
  return { exitCode: findings.every(({ severity }) => severity === "info") ? 0 : 1, text };
}

function toJson(findings: readonly Finding[], homes: readonly string[], nowMs: number): string {
  const report = { schema_version: 1, checked_at: new Date(nowMs).toISOString(), homes, findings };
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** The machine's findings, then home after home; a home without any is passed over. */
function toText(findings: readonly Finding[], homes: readonly string[], isTerminal: boolean): string {
  const paint = (code: string, text: string): string => (isTerminal ? `\u001b[${code}m${text}\u001b[0m` : text);
  if (findings.length === 0) return `All is well with ${oneLine(homes.join(", "))}.\n`;
  const groups = [null, ...homes].flatMap((home) => {
    const own = findings.filter((finding) => finding.home === home);
    const lines = own.flatMap(({ code, severity, what, cure }) => [
      `  ${paint(COLOURS[severity], severity)} ${code}: ${what}`,
      ...(cure === null ? [] : [`    → ${cure}`]),
    ]);
    return own.length === 0 ? [] : [[paint("1", oneLine(home ?? "this machine")), ...lines, ""].join("\n")];
  });
  const isBad = findings.some(({ severity }) => severity !== "info");
  return `${groups.join("\n")}${isBad ? "" : "\nNothing of this needs mending.\n"}`;
}
