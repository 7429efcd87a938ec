import { isObject, parseObject } from "./json.js";

/**
 * What a follower gets of a login: enough for Codex to work, nothing that can be refreshed, and nothing else.
 *
 * Measured on Codex 0.130 to 0.169: with an empty refresh token it works, sends nothing, and picks up the next tokens. It
 * reads no login without `account_id` and `last_refresh`. Other fields of the owner's file (an API key, an agent's
 * identity, whatever comes) are secrets of the owner's, so this is a list of what goes, not of what stays.
 *
 * @param text of an auth.json
 * @returns null when it holds no ChatGPT login, or when its refresh token would still stand somewhere in the result
 */
export function toFollowerText(text: string): string | null {
  const tokens = parseObject(text)?.["tokens"];
  if (!isObject(tokens)) return null;
  const { id_token, access_token, account_id, refresh_token } = tokens;
  const lastRefresh = parseObject(text)?.["last_refresh"];
  const copy = {
    auth_mode: "chatgpt",
    OPENAI_API_KEY: null,
    tokens: {
      ...(typeof id_token === "string" ? { id_token } : {}),
      ...(typeof access_token === "string" ? { access_token } : {}),
      refresh_token: "",
      ...(typeof account_id === "string" ? { account_id } : {}),
    },
    ...(typeof lastRefresh === "string" ? { last_refresh: lastRefresh } : {}),
  };
  const result = JSON.stringify(copy, null, 2);
  // As it would stand in the result.
  const spelled = typeof refresh_token === "string" ? JSON.stringify(refresh_token).slice(1, -1) : "";
  return spelled !== "" && result.includes(spelled) ? null : result;
}
