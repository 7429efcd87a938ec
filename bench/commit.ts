/**
 * What it costs that a rotated token can't be lost: each step on the way of an answer to the disk, beside the same
 * text written and renamed without any sync, as the shell script does it.
 *
 * The steps run in turn, round after round, in one home; median and 99th percentile are printed, and the ratio of the
 * medians. `--rounds N` and `--parent DIR` (another file system) change the defaults.
 */
import { renameSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { fileCredentialStore } from "../src/adapters/file-credential-store.js";
import { fileTicketBook } from "../src/adapters/file-ticket-book.js";
import { systemClock } from "../src/adapters/system-clock.js";
import { fingerprint } from "../src/core/fingerprint.js";
import { Secret } from "../src/core/secret.js";
import { Home } from "../test/support/home.js";
import { makeAuthJson, makeTokens } from "../test/support/login.js";
import { median, quantile, say } from "./figures.js";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "300" }, parent: { type: "string", default: tmpdir() } },
});

const home = new Home(values.parent);
const timesMs = new Map<string, number[]>();

async function timed<T>(name: string, body: () => Promise<T> | T): Promise<T> {
  const startedMs = performance.now();
  const result = await body();
  timesMs.set(name, [...(timesMs.get(name) ?? []), performance.now() - startedMs]);
  return result;
}

async function round(): Promise<void> {
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

try {
  for (let count = -1; count < Number(values.rounds); count += 1) {
    await round();
    if (count < 0) timesMs.clear(); // The first round loads code.
  }
  report();
} finally {
  home.remove();
}

function report(): void {
  const names = [...timesMs.keys()];
  const [bareName = "", ...ours] = names;
  const sums = (timesMs.get(bareName) ?? []).map((_ms, index) =>
    ours.reduce((sum, name) => sum + (timesMs.get(name)?.[index] ?? 0), 0),
  );
  const bareMs = median(timesMs.get(bareName) ?? []);
  for (const [name, list] of [...timesMs, ["all of ours", sums] as const]) {
    const [medianMs, p99Ms] = [median(list), quantile(list, 0.99)];
    const ratio = (medianMs / bareMs).toFixed(1);
    say(`${name.padEnd(38)} median ${medianMs.toFixed(2)} ms  p99 ${p99Ms.toFixed(2)} ms  ×${ratio}`);
  }
}
