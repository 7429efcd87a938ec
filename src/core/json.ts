/** A JSON object, as opposed to an array, a null or a plain value. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Reads a text that should be a JSON object; null when it is none. The parser's own message is dropped on
 * purpose: it quotes the text, and the texts of this program hold tokens.
 */
export function parseObject(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}
