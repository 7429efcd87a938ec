import { createCipheriv, generateKeyPairSync, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { deflateRawSync } from "node:zlib";
import * as fc from "fast-check";
import { CompactEncrypt } from "jose";
import { describe, expect, it } from "vitest";
import { joseSealer, keyIdOf, makeKey, readKeyId } from "../../src/adapters/jose-sealer.js";
import { readKeys, type SealKey } from "../../src/core/fleet-keys.js";
import type { Opened, SealedPlace } from "../../src/core/seal.js";
import { Secret } from "../../src/core/secret.js";

const [key, other]: [SealKey, SealKey] = [{ text: makeKey() }, { text: makeKey() }];
const sealer = joseSealer([key]);
const PLACE: SealedPlace = { credentialId: "default", version: 1_795_000_000_000, column: "owner" };
const TEXT = new Secret('{"tokens":{"refresh_token":"rt_made_up"}}');
const HEADER = {
  alg: "dir",
  enc: "A256GCM",
  kid: keyIdOf(key),
  typ: "codex-auth+jwe",
  cid: "default",
  ver: PLACE.version,
  col: "owner",
};

const bytesOf = ({ text }: SealKey): Buffer => Buffer.from(text.reveal(), "base64url");
const encode = (bytes: Buffer | string): string => Buffer.from(bytes).toString("base64url");

/** A JWE as RFC 7516 §5.1 says, without the library that the sealer uses. */
function sealByHand(header: unknown, plain: Buffer | string = TEXT.reveal(), bytes = bytesOf(key)): string {
  const [head, nonce] = [encode(JSON.stringify(header)), randomBytes(12)];
  const cipher = createCipheriv("aes-256-gcm", bytes, nonce).setAAD(Buffer.from(head));
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()]);
  return [head, "", encode(nonce), encode(sealed), encode(cipher.getAuthTag())].join(".");
}

/** A sealed text with every single bit of its five parts flipped, one after the other. */
function* flipEachBit(sealed: string): Generator<string> {
  const parts = sealed.split(".");
  for (const [index, part] of parts.entries()) {
    const bytes = Buffer.from(part, "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      yield parts.with(index, encode(changed)).join(".");
    }
  }
}

async function kindOf(sealed: string, place = PLACE): Promise<Opened["kind"]> {
  return (await sealer.open(sealed, place)).kind;
}

describe("a sealed text opens", () => {
  it("where it stands, whatever it is", async () => {
    const ids = fc.stringMatching(/^[\w.-]{1,40}$/);
    const columns = fc.constantFrom<SealedPlace["column"][]>("owner", "follower");
    const places = fc.record({ credentialId: ids, version: fc.maxSafeNat(), column: columns });
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme", maxLength: 2_000 }), places, async (text, place) => {
        const opened = await sealer.open(await sealer.seal(new Secret(text), place), place);
        expect(opened.kind === "opened" && opened.text.reveal()).toBe(text);
      }),
      { numRuns: 100 },
    );
  });

  it.each([0, 1_000_000, 16 * 1024 * 1024])("when it has %i characters", async (length) => {
    const text = "x".repeat(length);
    const opened = await sealer.open(await sealer.seal(new Secret(text), PLACE), PLACE);
    expect(opened.kind === "opened" && opened.text.reveal() === text).toBe(true);
  });

  it("with an older key, and is sealed with the first", async () => {
    const sealed = await sealer.seal(TEXT, PLACE);
    const rotated = joseSealer([other, key]);
    expect(await rotated.open(sealed, PLACE)).toMatchObject({ kind: "opened", keyId: keyIdOf(key) });
    expect(readKeyId(await rotated.seal(TEXT, PLACE))).toBe(keyIdOf(other));
  });

  it("whoever made it as the format says", async () => {
    const opened = await sealer.open(sealByHand(HEADER), PLACE);
    expect(opened.kind === "opened" && opened.text.reveal()).toBe(TEXT.reveal());
    const header = Buffer.from((await sealer.seal(TEXT, PLACE)).split(".")[0] ?? "", "base64url").toString();
    expect(JSON.parse(header)).toEqual(HEADER);
  });
});

describe("a sealed text does not open", () => {
  it.each<Partial<SealedPlace>>([{ credentialId: "other" }, { version: PLACE.version + 1 }, { column: "follower" }])(
    "at %j",
    async (elsewhere) => {
      expect(await kindOf(await sealer.seal(TEXT, PLACE), { ...PLACE, ...elsewhere })).toBe("misplaced");
    },
  );

  it.each([
    { ...HEADER, typ: "JWE" },
    { ...HEADER, typ: undefined },
    { ...HEADER, cid: undefined },
    { ...HEADER, ver: String(PLACE.version) },
    { ...HEADER, col: ["owner"] },
  ])("when its key has sealed something else: %j", async (header) => {
    expect(await kindOf(sealByHand(header))).toBe("misplaced");
  });

  it("with another key: a follower's does not open the owner's column", async () => {
    const sealed = await sealer.seal(TEXT, PLACE);
    const follower = joseSealer([other]);
    expect(await follower.open(sealed, PLACE)).toEqual({ kind: "unknown-key", keyId: keyIdOf(key) });
    // Nor does the owner take what a follower has sealed, under its own key's name or the owner's.
    expect(await kindOf(await follower.seal(TEXT, PLACE))).toBe("unknown-key");
    expect(await kindOf(sealByHand(HEADER, TEXT.reveal(), bytesOf(other)))).toBe("tampered");
  });

  it("when any of its bits is another one", async () => {
    const kinds = new Set<string>();
    for (const changed of flipEachBit(await sealer.seal(TEXT, PLACE))) kinds.add(await kindOf(changed));
    // Never misplaced: that is said of nothing but what the key has sealed.
    expect(kinds).toEqual(new Set(["tampered", "unknown-key"]));
  });

  it("when a piece of it is missing, or too much", async () => {
    const sealed = await sealer.seal(TEXT, PLACE);
    const parts = sealed.split(".");
    const texts = Array.from(sealed, (_letter, length) => sealed.slice(0, length));
    for (const index of parts.keys()) texts.push(parts.with(index, index === 1 ? "AAAA" : "").join("."));
    for (const text of [...texts, `${sealed}.`, `${sealed}AAAA`, `.${sealed}`, sealed.repeat(2)]) {
      expect([text, await kindOf(text)]).toEqual([text, "tampered"]);
    }
  });

  it("when it is anything else", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.array(fc.base64String()).map((parts) => parts.join(".")),
        ),
        async (text) => {
          expect(await kindOf(text)).toBe("tampered");
        },
      ),
    );
  });

  it("by another algorithm, though the key would fit", async () => {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const make = (header: Partial<typeof HEADER>, by: Parameters<CompactEncrypt["encrypt"]>[0]): Promise<string> =>
      new CompactEncrypt(Buffer.from(TEXT.reveal())).setProtectedHeader({ ...HEADER, ...header }).encrypt(by);
    const texts = await Promise.all([
      make({ enc: "A128CBC-HS256" }, bytesOf(key)),
      make({ alg: "A256KW" }, bytesOf(key)),
      make({ alg: "A256GCMKW" }, bytesOf(key)),
      make({ alg: "PBES2-HS512+A256KW" }, bytesOf(key)),
      make({ alg: "A128KW" }, bytesOf(key).subarray(0, 16)),
      make({ alg: "RSA-OAEP" }, publicKey),
    ]);
    const [, ...rest] = sealByHand(HEADER).split(".");
    for (const alg of ["none", "", "DIR", null, 5]) {
      texts.push(sealByHand({ ...HEADER, alg }), [encode(JSON.stringify({ ...HEADER, alg })), ...rest].join("."));
    }
    for (const text of texts) expect([text, await kindOf(text)]).toEqual([text, "tampered"]);
  });

  it.each([
    ["packed", { zip: "DEF" }, deflateRawSync(TEXT.reveal())],
    ["said to be packed", { zip: "DEF" }, Buffer.from(TEXT.reveal())],
    ["packed in a way that nobody knows", { zip: "LZ" }, Buffer.from(TEXT.reveal())],
    ["of a header that must be understood, and is not", { crit: ["x"], x: 1 }, Buffer.from(TEXT.reveal())],
  ])("when it is %s", async (_name, more, plain) => {
    expect(await kindOf(sealByHand({ ...HEADER, ...more }, plain))).toBe("tampered");
  });
});

describe("the name of a key", () => {
  it("is the beginning of its SHA-256", () => {
    // head -c 32 /dev/zero | openssl dgst -sha256 -binary | base64
    expect(keyIdOf({ text: new Secret("A".repeat(43)) })).toBe("Zmh6rfhivXdsj8GL");
  });

  it.each(["\u001b[2Jabcdefghijkl", "short", "a".repeat(17), 5, null, undefined])("is never %j", async (kid) => {
    const sealed = sealByHand({ ...HEADER, kid });
    expect(readKeyId(sealed)).toBeNull();
    expect(await kindOf(sealed)).toBe("tampered");
  });

  it("is not looked for in what no auth.json can be", () => {
    const sealed = sealByHand(HEADER);
    expect(readKeyId(sealed)).toBe(HEADER.kid);
    expect(readKeyId(sealed + "A".repeat(32 * 1024 * 1024))).toBeNull();
  });
});

describe("nothing is told", () => {
  it("by a sealed text: it is another one each time, and says only its key and place", async () => {
    const [first, second] = [await sealer.seal(TEXT, PLACE), await sealer.seal(TEXT, PLACE)];
    expect(first.split(".").slice(2)).not.toEqual(second.split(".").slice(2));
    expect(new Set([first, second].map((text) => text.split(".")[2])).size).toBe(2);
    const bytes = first.split(".").map((part) => Buffer.from(part, "base64url").toString("latin1"));
    expect(bytes.join("")).not.toContain("rt_made_up");
  });

  it("by keys, sealers and what they open", async () => {
    const made = readKeys(makeKey().reveal());
    if (made.kind !== "keys") throw new Error("a key that was made is none");
    const opened = await sealer.open(await sealer.seal(TEXT, PLACE), PLACE);
    const shown = [made, sealer, joseSealer(made.keys), opened];
    const printed = `${JSON.stringify(shown)}${inspect(shown, { depth: 9, showHidden: true })}`;
    const secrets = [key, ...made.keys].map(({ text }) => text.reveal().slice(0, 12));
    expect([...secrets, "rt_made_up"].filter((secret) => printed.includes(secret))).toEqual([]);
  });

  it("where there is no key to seal with", async () => {
    await expect(joseSealer([]).seal(TEXT, PLACE)).rejects.toThrow(/^a sealer without a key$/);
  });
});
