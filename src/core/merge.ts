import { applyEdits, findNodeAtLocation, modify, parseTree } from "jsonc-parser";
import type { TokenName } from "./credential.js";
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

  const unique = [["tokens"], ...changes.map(([path]) => path)].reduce(dropShadowed, text);
  return changes.reduce((current, [path, value]) => edit(current, path, value), unique);
}

/** Where a key stands twice readers take the last one, and an edit changes the first: so only the last one stays. */
function dropShadowed(text: string, path: string[]): string {
  const root = parseTree(text);
  const parent = root && findNodeAtLocation(root, path.slice(0, -1));
  const twins = parent?.children?.filter(({ children }) => children?.[0]?.value === path.at(-1)) ?? [];
  return twins.slice(1).reduce((current) => edit(current, path, undefined), text);
}

function edit(text: string, path: string[], value: string | undefined): string {
  const formattingOptions = { insertSpaces: true, tabSize: 2, eol: "\n" };
  return applyEdits(text, modify(text, path, value, { formattingOptions }));
}
