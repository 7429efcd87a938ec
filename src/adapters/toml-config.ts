import { parse } from "smol-toml";

/**
 * Reads one string from the top level of a TOML text.
 *
 * @returns null when it is not there, is no string, or the text is no TOML (Codex itself refuses to start then)
 */
export function readTopLevelString(text: string, key: string): string | null {
  try {
    const value = parse(text)[key];
    return typeof value === "string" ? value : null;
  } catch {
    return null;
  }
}
