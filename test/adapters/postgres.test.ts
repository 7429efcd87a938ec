import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { databaseClock } from "../../src/adapters/database-clock.js";
import { fileTicketBook } from "../../src/adapters/file-ticket-book.js";
import { fleetTicketBook } from "../../src/adapters/fleet-ticket-book.js";
import { joseSealer, makeKey } from "../../src/adapters/jose-sealer.js";
import { Postgres } from "../../src/adapters/postgres.js";
import { type PostgresStore, postgresCredentialStore } from "../../src/adapters/postgres-credential-store.js";
import { migrationSql } from "../../src/adapters/postgres-schema.js";
import { systemClock } from "../../src/adapters/system-clock.js";
import { versionMark } from "../../src/adapters/version-mark.js";
import { readCredential } from "../../src/core/credential.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { toFollowerText } from "../../src/core/follower-text.js";
import { Secret } from "../../src/core/secret.js";
import type { TicketBook } from "../../src/ports.js";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { describeCredentialStore, describeTicketBook, loginText } from "./ports.contract.js";

const keys = { owner: [{ text: makeKey() }], follower: [{ text: makeKey() }] };
const sealers = { owner: joseSealer(keys.owner), follower: joseSealer(keys.follower) };
const folders: string[] = [];
const connections: Postgres[] = [];

afterEach(async () => {
  for (const db of connections.splice(0)) await db.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** What one owner sees, on a host of its own. */
interface Owner {
  readonly db: Postgres;
  readonly store: PostgresStore;
  readonly book: TicketBook;
}

function openOwner(url: string, journal = newFolder()): Owner {
  const db = new Postgres({ url: new Secret(url), environment: {} });
  connections.push(db);
  const clock = databaseClock(systemClock);
  const journalPath = join(journal, "fleet.default");
  const credentialId = "default";
  const mark = versionMark(journalPath);
  return {
    db,
    store: postgresCredentialStore({ db, credentialId, sealers, clock, versionMark: mark, ownerName: "test" }),
    book: fleetTicketBook({ db, credentialId, local: fileTicketBook(journalPath, clock), clock }),
  };
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "watchdog-journal-"));
  folders.push(folder);
  return folder;
}

/** Puts any text into the row, as nobody should: sealed well, whatever it says. */
async function putText(db: Postgres, text: string | null): Promise<void> {
  const version = Date.now() * 1000 + count;
  count += 1;
  const reading = text === null ? null : readCredential(text);
  const mark = reading?.kind === "login" ? fingerprint(reading.credential.refreshToken) : "0".repeat(64);
  const place = { credentialId: "default", version };
  const sealed =
    text === null
      ? null
      : await Promise.all([
          sealers.owner.seal(new Secret(text), { ...place, column: "owner" }),
          sealers.follower.seal(new Secret(toFollowerText(text) ?? ""), { ...place, column: "follower" }),
        ]);
  const statement =
    sealed === null
      ? { step: "empty", text: "delete from codex_auth.credential" }
      : {
          step: "fill",
          text: `insert into codex_auth.credential (id, version, refresh_fp, account_ids, sealed_owner, sealed_follower, updated_by)
            values ('default', $1, $2, '[]', $3, $4, 'test') on conflict (id) do update set version = excluded.version,
            refresh_fp = excluded.refresh_fp, sealed_owner = excluded.sealed_owner, sealed_follower = excluded.sealed_follower`,
          values: [version, mark, ...sealed],
        };
  const result = await db.query(statement);
  if (result.kind === "failed") throw new Error(JSON.stringify(result.fault));
}

let count = 0;

describe.each([16, 18] as const)("PostgreSQL %i", (major) => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres(major);
  });

  afterAll(async () => {
    await server.stop();
  });

  async function newUrl(): Promise<string> {
    const database = await server.createDatabase();
    await server.query(migrationSql(), database);
    return server.adminUrl.replace(/postgres$/, database);
  }

  describeCredentialStore(`a row of PostgreSQL ${major}`, async () => {
    const { db, store } = openOwner(await newUrl());
    const read = async (): Promise<string | null> => {
      const result = await db.query({ step: "read", text: "select version, sealed_owner from codex_auth.credential" });
      const [row] = result.kind === "rows" ? result.rows : [];
      if (row === undefined) return null;
      const place = { credentialId: "default", version: Number(row["version"]), column: "owner" } as const;
      const opened = await sealers.owner.open(String(row["sealed_owner"]), place);
      return opened.kind === "opened" ? opened.text.reveal() : opened.kind;
    };
    return {
      store,
      put: (text) => putText(db, text),
      text: read,
      mark: async () => {
        const result = await db.query({ step: "look", text: "select version from codex_auth.credential" });
        const [row] = result.kind === "rows" ? result.rows : [];
        store.noteVersion(row === undefined ? null : Number(row["version"]));
        return store.changeMark();
      },
    };
  });

  describeTicketBook(`spend rows of PostgreSQL ${major} and a journal`, async () => {
    const url = await newUrl();
    const journal = newFolder();
    const [{ db, book }, { book: again }] = [openOwner(url, journal), openOwner(url, journal)];
    await putText(db, loginText("rt-1"));
    return { book, again };
  });

  describe("two hosts", () => {
    const PRESENTED = {
      fingerprint: fingerprint(new Secret("rt-1")),
      accountIds: [],
      stamps: { issuedAtMs: null, lastRefreshMs: null },
    };

    async function openTwo(): Promise<readonly [Owner, Owner]> {
      const url = await newUrl();
      const two = [openOwner(url), openOwner(url)] as const;
      await putText(two[0].db, loginText("rt-1"));
      return two;
    }

    async function create({ book }: Owner, attempt: number) {
      const creation = await book.create(PRESENTED, attempt);
      if (creation.kind !== "created") throw new Error(creation.kind);
      return creation.ticket;
    }

    async function statesOf({ book }: Owner): Promise<unknown[]> {
      const listing = await book.list();
      if (listing.kind !== "tickets") throw new Error(listing.kind);
      return listing.tickets.map(({ attempt, life, state }) => [attempt, state.kind, life]);
    }

    it("make one of twenty who try at once", async () => {
      const url = await newUrl();
      const owners = Array.from({ length: 20 }, () => openOwner(url));
      await putText(owners[0]?.db ?? never(), loginText("rt-1"));
      const kinds = await Promise.all(owners.map(async ({ book }) => (await book.create(PRESENTED, 1)).kind));
      expect(kinds.filter((kind) => kind === "created")).toHaveLength(1);
      expect(kinds.filter((kind) => kind === "exists")).toHaveLength(19);
    });

    it("see of each other that a token has left, and not what came of it", async () => {
      const [first, second] = await openTwo();
      const ticket = await create(first, 1);
      expect(await statesOf(second)).toEqual([[1, "prepared", "unknown"]]);
      expect(await ticket.record({ event: "dispatched", atMs: 5 })).toBeNull();
      expect(await statesOf(second)).toEqual([[1, "dispatched", "alive"]]);
      const base64 = Buffer.from('{"refresh_token":"rt-2"}').toString("base64");
      await ticket.record({ event: "answer", httpStatus: 200, base64 });
      expect(await statesOf(second)).toEqual([[1, "dispatched", "alive"]]);
      expect(await statesOf(first)).toEqual([[1, "answered", "alive"]]);
      await ticket.close();
    });

    it("hear from a host that comes back what became of its request", async () => {
      const [first, second] = await openTwo();
      const ticket = await create(first, 1);
      await ticket.record({ event: "dispatched", atMs: 5 });
      expect(await statesOf(second)).toEqual([[1, "dispatched", "alive"]]);
      await ticket.close(); // As a process that has died: nobody is at work with it.
      await statesOf(first);
      expect(await statesOf(second)).toEqual([[1, "unanswered", "unknown"]]);
    });

    it("don't let the first go on once the second has made the next attempt", async () => {
      const [first, second] = await openTwo();
      const stopped = await create(first, 1);
      await create(second, 2);
      expect(await stopped.record({ event: "dispatched", atMs: 5 })).toBeNull();
      expect(stopped.isInPlace()).toBe(false);
      expect(await statesOf(first)).toEqual([
        [1, "prepared", "alive"],
        [2, "prepared", "unknown"],
      ]);
    });

    it("don't let a token leave that the store does not hold any more", async () => {
      const [first, second] = await openTwo();
      const ticket = await create(first, 1);
      await putText(second.db, loginText("rt-2"));
      await ticket.record({ event: "dispatched", atMs: 5 });
      expect(ticket.isInPlace()).toBe(false);
    });

    it("share a refusal, and forget a token that was given back", async () => {
      const [first, second] = await openTwo();
      const name = { fingerprint: PRESENTED.fingerprint, attempt: 1 };
      await (await create(first, 1)).record({ event: "dispatched", atMs: 5 });
      await first.book.remove([name]);
      expect(await statesOf(second)).toEqual([]);
      await (await create(first, 1)).record({ event: "dispatched", atMs: 5 });
      const rejection = { cause: "reused", httpStatus: 401 } as const;
      expect(await first.book.conclude(name, { event: "rejected", atMs: 7, rejection })).toBeNull();
      expect(await statesOf(second)).toEqual([[1, "rejected", "unknown"]]);
    });

    it("know a token again that was replaced, when an old row comes back", async () => {
      const [first, second] = await openTwo();
      await (await create(first, 1)).record({ event: "dispatched", atMs: 5 });
      await putText(first.db, loginText("rt-2"));
      await first.book.remove([{ fingerprint: PRESENTED.fingerprint, attempt: 1 }]);
      expect(await statesOf(second)).toEqual([]);
      await putText(first.db, loginText("rt-1"));
      expect(await statesOf(second)).toEqual([[1, "rejected", "unknown"]]);
    });

    it("don't touch a row with an older version than they have seen", async () => {
      const [first, second] = await openTwo();
      const old = await first.db.query({ step: "read", text: "select * from codex_auth.credential" });
      await putText(first.db, loginText("rt-2"));
      expect((await first.store.read()).kind).toBe("login");
      const { version, refresh_fp, sealed_owner } = (old.kind === "rows" ? old.rows[0] : null) ?? {};
      await second.db.query({
        step: "restore",
        text: "update codex_auth.credential set version = $1, refresh_fp = $2, sealed_owner = $3",
        values: [version, refresh_fp, sealed_owner],
      });
      expect(await first.store.read()).toMatchObject({
        kind: "unreadable",
        problem: expect.stringMatching(/restored/),
      });
      expect((await second.store.read()).kind).toBe("login");
    });

    it("wait for the disk, on a server that is set not to", async () => {
      const database = new URL(await newUrl()).pathname.slice(1);
      for (const write of [
        "update codex_auth.credential set updated_at = now()",
        "delete from codex_auth.spend",
        `insert into codex_auth.spend values ('x', '${"0".repeat(64)}', 1, '{}')`,
      ]) {
        const sql = `begin; set local synchronous_commit = off; ${write}; show synchronous_commit`;
        expect(await server.query(sql, database)).toEqual([{ synchronous_commit: "on" }]);
      }
    });

    it("notice a row that was changed by somebody without the key", async () => {
      const [first] = await openTwo();
      for (const [change, problem] of [
        ["sealed_owner = sealed_owner || 'A'", /changed by somebody/],
        ["sealed_owner = sealed_follower", /key .{16}, which is not among ours/],
        ["version = version + 1", /another row or version/],
        [`refresh_fp = '${"1".repeat(64)}'`, /another token than it says/],
      ] as const) {
        await putText(first.db, loginText("rt-1"));
        await first.db.query({ step: "tamper", text: `update codex_auth.credential set ${change}` });
        expect(await first.store.read()).toMatchObject({ kind: "unreadable", problem: expect.stringMatching(problem) });
      }
    });
  });
});

function never(): never {
  throw new Error("never");
}
