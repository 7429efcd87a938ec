import * as fc from "fast-check";
import { CompactEncrypt } from "jose";
import { describe, expect, it } from "vitest";
import { joseSealer, keyIdOf, makeKey, readKeyId } from "../../src/adapters/jose-sealer.js";
import { describeUnopened, type SealedPlace } from "../../src/core/seal.js";
import { Secret } from "../../src/core/secret.js";

const [key, other] = [{ text: makeKey() }, { text: makeKey() }];
const sealer = joseSealer([key]);
const PLACE: SealedPlace = { credentialId: "default", version: 1_795_000_000_000, column: "owner" };
const TEXT = new Secret('{"tokens":{"refresh_token":"rt_made_up"}}');

describe("a sealed text", () => {
  it("opens where it stands, whatever it is", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme", maxLength: 2_000 }), async (text) => {
        const opened = await sealer.open(await sealer.seal(new Secret(text), PLACE), PLACE);
        expect(opened.kind === "opened" && opened.text.reveal()).toBe(text);
      }),
      { numRuns: 100 },
    );
    const large = new Secret("x".repeat(1_000_000));
    expect(await sealer.open(await sealer.seal(large, PLACE), PLACE)).toMatchObject({
      kind: "opened",
      keyId: keyIdOf(key),
    });
  });

  it("is another one each time, and says only its key", async () => {
    const [first, second] = [await sealer.seal(TEXT, PLACE), await sealer.seal(TEXT, PLACE)];
    expect(first).not.toBe(second);
    expect(Buffer.from(first.split(".").join(""), "base64url").toString("latin1")).not.toContain("rt_made_up");
    expect(readKeyId(first)).toBe(keyIdOf(key));
  });

  it.each<Partial<SealedPlace>>([{ credentialId: "other" }, { version: PLACE.version + 1 }, { column: "follower" }])(
    "does not open at %j",
    async (elsewhere) => {
      const sealed = await sealer.seal(TEXT, PLACE);
      expect(await sealer.open(sealed, { ...PLACE, ...elsewhere })).toEqual({ kind: "misplaced" });
    },
  );

  it("opens with an older key, and with no other", async () => {
    const sealed = await sealer.seal(TEXT, PLACE);
    expect((await joseSealer([other, key]).open(sealed, PLACE)).kind).toBe("opened");
    expect(await joseSealer([other]).open(sealed, PLACE)).toEqual({ kind: "unknown-key", keyId: keyIdOf(key) });
    expect(readKeyId(await joseSealer([other, key]).seal(TEXT, PLACE))).toBe(keyIdOf(other));
  });

  it("does not open when any of its letters is another one", async () => {
    const sealed = await sealer.seal(TEXT, PLACE);
    for (let at = 0; at < sealed.length; at += 1) {
      // The last letter of a part may carry bits that say nothing; the one in its place differs in the first bit.
      const letter = sealed[at] ?? "";
      const changed = `${sealed.slice(0, at)}${"AQgwz".includes(letter) ? "7" : "A"}${sealed.slice(at + 1)}`;
      const { kind } = await sealer.open(changed, PLACE);
      expect([at, kind === "opened"]).toEqual([at, false]);
    }
    for (const length of [0, 1, 10, 100, sealed.length - 1]) {
      expect((await sealer.open(sealed.slice(0, length), PLACE)).kind).toBe("tampered");
    }
  });

  it("is opened by no other algorithm, and never unpacked", async () => {
    const bytes = Buffer.from(key.text.reveal(), "base64url");
    const header = { kid: keyIdOf(key), typ: "codex-auth+jwe", cid: "default", ver: PLACE.version, col: "owner" };
    const plain = new TextEncoder().encode(TEXT.reveal());
    const wrapped = await new CompactEncrypt(plain)
      .setProtectedHeader({ ...header, alg: "A256KW", enc: "A256GCM" })
      .encrypt(bytes);
    const gcm = await new CompactEncrypt(plain)
      .setProtectedHeader({ ...header, alg: "A256GCMKW", enc: "A256GCM" })
      .encrypt(bytes);
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const none = `${part({ ...header, alg: "none" })}..${part("x")}`;
    const zipped = `${part({ ...header, alg: "dir", enc: "A256GCM", zip: "DEF" })}....`;
    for (const text of [wrapped, gcm, none, zipped, "", "a.b.c.d.e", "x".repeat(100)]) {
      expect(await sealer.open(text, PLACE)).toEqual({ kind: "tampered" });
    }
  });

  it("says what to do when it does not open", () => {
    for (const column of ["owner", "follower"] as const) {
      const words = ([{ kind: "unknown-key", keyId: "k" }, { kind: "tampered" }, { kind: "misplaced" }] as const).map(
        (each) => describeUnopened(each, column),
      );
      expect(words).toEqual([
        expect.stringContaining(`CODEX_AUTH_${column.toUpperCase()}_KEY_FILE`),
        expect.stringContaining("store put"),
        expect.stringContaining("store put"),
      ]);
    }
  });
});
