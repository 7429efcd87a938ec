import { mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { isHolderAlive, STALE_MS } from "../../src/adapters/lock-holder.js";
import { findPlace, type Place } from "../../src/adapters/place.js";
import { describeSelf } from "../../src/adapters/process-identity.js";
import { showHolder } from "../../src/core/status.js";
import { Home } from "../support/home.js";

const TOUCHED_SEC = 1_790_000_000;
const TOUCHED_MS = TOUCHED_SEC * 1000;

let home: Home;
let place: Place;

beforeEach(() => {
  home = new Home();
  place = findPlace(home.authJsonPath);
  mkdirSync(place.own("lock"));
  utimesSync(place.own("lock"), TOUCHED_SEC, TOUCHED_SEC);
});

afterEach(() => {
  home.remove();
});

function nameHolder(pid: number, startTicks: string | null): void {
  const holder = { ...showHolder({ ...describeSelf(), pid, startTicks }), since: "2026-11-26T00:00:00.000Z" };
  writeFileSync(place.own("holder"), JSON.stringify(holder));
}

it("is thought to be at work while the lock is kept fresh, whoever it is", () => {
  expect(isHolderAlive(place, TOUCHED_MS)).toBe(true);
  expect(isHolderAlive(place, TOUCHED_MS + STALE_MS - 1)).toBe(true);
});

it("is not waited for once nobody keeps the lock fresh, or it is gone", () => {
  expect(isHolderAlive(place, TOUCHED_MS + STALE_MS)).toBe(false);
  rmSync(place.own("lock"), { recursive: true });
  expect(isHolderAlive(place, TOUCHED_MS)).toBe(false);
});

it("is not waited for when its process is gone, and is when that one lives", () => {
  const self = describeSelf();
  nameHolder(self.pid, self.startTicks);
  expect(isHolderAlive(place, TOUCHED_MS)).toBe(true);
  nameHolder(self.pid, "1"); // The pid lives again, as another process.
  expect(isHolderAlive(place, TOUCHED_MS)).toBe(false);
});
