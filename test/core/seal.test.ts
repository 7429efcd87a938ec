import { describe, expect, it } from "vitest";
import { describeUnopened, type Opened } from "../../src/core/seal.js";

type Unopened = Exclude<Opened, { kind: "opened" }>;

const PUT = "put the login again with codex-auth-watchdog store put";

describe("a sealed text that does not open", () => {
  it.each<[Unopened, "owner" | "follower", string]>([
    [
      { kind: "unknown-key", keyId: "abcdefghijklmnop" },
      "owner",
      "is sealed with the key abcdefghijklmnop, which is not among ours; put that key into CODEX_AUTH_OWNER_KEY_FILE",
    ],
    [
      { kind: "unknown-key", keyId: "abcdefghijklmnop" },
      "follower",
      "is sealed with the key abcdefghijklmnop, which is not among ours; put that key into CODEX_AUTH_FOLLOWER_KEY_FILE",
    ],
    [{ kind: "tampered" }, "owner", `was changed by somebody who has not its key; ${PUT}`],
    [{ kind: "misplaced" }, "follower", `holds what was sealed for another row or version; ${PUT}`],
  ])("%j in the %s's column: what is wrong, and what to do", (opened, column, words) => {
    expect(describeUnopened(opened, column)).toBe(words);
  });
});
