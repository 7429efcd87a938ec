import { renameSync, writeFileSync } from "node:fs";
import { fileCredentialStore } from "../../src/adapters/file-credential-store.js";
import { fileTicketBook } from "../../src/adapters/file-ticket-book.js";
import { systemClock } from "../../src/adapters/system-clock.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { Secret } from "../../src/core/secret.js";
import { Home } from "../../test/support/home.js";
import { makeAuthJson, makeTokens } from "../../test/support/login.js";
import { median, quantile, rounded, table } from "../figures.js";
import { countSyncs, type SyncCount } from "./syncs.js";

export interface CommitFigures {
  readonly rounds: number;
  /** The first is what the others are compared with. */
  readonly steps: readonly {
    readonly name: string;
    readonly medianMs: number;
    readonly p99Ms: number;
    readonly timesBare: number;
  }[];
  /** Of one refresh by the built program; null without strace. */
  readonly syncs: readonly SyncCount[] | null;
}

/** @param parent where the home lies: each file system has its own price */
export async function measureCommit(rounds: number, parent: string): Promise<CommitFigures> {
  const home = new Home(parent);
  const timesMs = new Map<string, number[]>();
  const timed = async <T>(name: string, body: () => Promise<T> | T): Promise<T> => {
    const startedMs = performance.now();
    const result = await body();
    timesMs.set(name, [...(timesMs.get(name) ?? []), performance.now() - startedMs]);
    return result;
  };
  try {
    for (let round = 0; round <= rounds; round += 1) {
      await save(home, timed);
      if (round === 0) timesMs.clear(); // The first round loads code.
    }
    return { rounds, steps: stepsOf(timesMs), syncs: await countSyncs(parent) };
  } finally {
    home.remove();
  }
}

/** The way of one answer to the disk. */
async function save(home: Home, timed: <T>(name: string, body: () => Promise<T> | T) => Promise<T>): Promise<void> {
  const tokens = makeTokens();
  const text = makeAuthJson(tokens);
  const base64 = Buffer.from(JSON.stringify(tokens)).toString("base64");
  const name = { fingerprint: fingerprint(new Secret(tokens.refresh_token)), attempt: 1 };
  const presented = {
    fingerprint: name.fingerprint,
    accountIds: [],
    stamps: { issuedAtMs: null, lastRefreshMs: null },
  };
  const store = fileCredentialStore(home.path);
  const book = fileTicketBook(home.authJsonPath, systemClock);

  await timed("written and renamed, without a sync", () => {
    writeFileSync(`${home.authJsonPath}.tmp`, text, { mode: 0o600 });
    renameSync(`${home.authJsonPath}.tmp`, home.authJsonPath);
  });
  await timed("preflight", () => store.preflight());
  const creation = await timed("ticket created", () => book.create(presented, name.attempt));
  if (creation.kind !== "created") throw new Error(creation.kind);
  const { ticket } = creation;
  await timed("ticket: dispatched", () => ticket.record({ event: "dispatched", atMs: Date.now() }));
  await timed("ticket: answer", () => ticket.record({ event: "answer", httpStatus: 200, base64 }));
  await timed("auth.json saved (2 syncs, 2 locks)", () =>
    store.update(
      () => ({ kind: "write", text: `${text}\n` }),
      () => Promise.resolve(null),
    ),
  );
  await ticket.close();
  await timed("ticket removed", () => book.remove([name]));
}

function stepsOf(timesMs: ReadonlyMap<string, readonly number[]>): CommitFigures["steps"] {
  const [bare = [], ...ours] = timesMs.values();
  const sums = bare.map((_ms, index) => ours.reduce((sum, list) => sum + (list[index] ?? 0), 0));
  return [...timesMs, ["all of ours", sums] as const].map(([name, list]) => ({
    name,
    medianMs: rounded(median(list)),
    p99Ms: rounded(quantile(list, 0.99)),
    timesBare: rounded(median(list) / median(bare)),
  }));
}

export function describeCommit({ rounds, steps, syncs }: CommitFigures): string {
  const cells = steps.map(({ name, medianMs, p99Ms, timesBare }) => [
    name,
    medianMs.toFixed(2),
    p99Ms.toFixed(2),
    timesBare.toFixed(1),
  ]);
  const times = `\nThe way of an answer to the disk, ${rounds} rounds:\n\n${table(["", "median ms", "p99 ms", "×"], cells)}`;
  if (syncs === null) return `${times}\n\nWithout strace the syncs are not counted.`;
  const counted = syncs.map(({ what, fsync, fdatasync }) => [what, String(fsync), String(fdatasync)]);
  return `${times}\n\nSyncs of one refresh (\`--once\` on a due login):\n\n${table(["", "fsync", "fdatasync"], counted)}`;
}
