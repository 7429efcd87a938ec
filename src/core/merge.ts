import { applyEdits, modify } from "jsonc-parser";
import type { TokenName } from "./credential.js";
import { isObject } from "./json.js";
import type { Secret } from "./secret.js";

/** The tokens that an answer brought. A name that is missing keeps its old value in the file. */
export type GrantedTokens = Partial<Record<TokenName, Secret>>;

/**
 * Puts granted tokens and a new `last_refresh` into the text of `auth.json`.
 *
 * Only those values change. Everything else stays as it was spelled: unknown fields, their order, numbers
 * that JavaScript cannot hold, the writer's own layout.
 *
 * @param text a text that `readCredential` took for a login
 * @param nowMs the time of the refresh, milliseconds since 1970
 * @returns the new text, without a newline at the end when there was none (Codex writes none); null when the
 *   text nests deeper than it can be worked on (Codex reads 128 levels)
 */
export function mergeTokens(text: string, tokens: GrantedTokens, nowMs: number): string | null {
  try {
    return merge(text, tokens, nowMs);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function merge(text: string, tokens: GrantedTokens, nowMs: number): string {
  const changes: [path: string[], value: string][] = Object.entries(tokens).map(([name, token]) => [
    ["tokens", name],
    token.reveal(),
  ]);
  changes.push([["last_refresh"], new Date(nowMs).toISOString()]);

  const edited = changes.reduce(
    (current, [path, value]) =>
      applyEdits(
        current,
        modify(current, path, value, { formattingOptions: { insertSpaces: true, tabSize: 2, eol: "\n" } }),
      ),
    text,
  );
  return changes.every(([path, value]) => valueAt(edited, path) === value) ? edited : rewrite(text, changes);
}

/**
 * The fallback for a text in which a key stands twice: an edit changes the first one, readers take the last.
 * Writing the parsed document anew leaves each key once.
 */
function rewrite(text: string, changes: readonly [path: string[], value: string][]): string {
  const document = JSON.parse(text) as Record<string, unknown>;
  for (const [path, value] of changes) {
    const [parent, child] = path;
    if (parent === undefined) continue;
    if (child === undefined) document[parent] = value;
    else
      document[parent] = {
        ...(document[parent] as Record<string, unknown> | null | undefined),
        [child]: value,
      };
  }
  return JSON.stringify(document, null, 2);
}

function valueAt(text: string, path: readonly string[]): unknown {
  return path.reduce<unknown>((node, key) => (isObject(node) ? node[key] : undefined), JSON.parse(text));
}
