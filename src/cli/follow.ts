import { fileCredentialStore } from "../adapters/file-credential-store.js";
import { fileStatusSink } from "../adapters/file-status-sink.js";
import { watchFile } from "../adapters/file-watch.js";
import { writeCopy } from "../adapters/follower-file.js";
import { httpFollowSource } from "../adapters/http-follow-source.js";
import { joseSealer } from "../adapters/jose-sealer.js";
import { readKeySource, readSecret } from "../adapters/key-source.js";
import { Postgres } from "../adapters/postgres.js";
import { postgresFollowSource } from "../adapters/postgres-follow-source.js";
import { describeSelf } from "../adapters/process-identity.js";
import { stderrLog } from "../adapters/stderr-log.js";
import { systemClock } from "../adapters/system-clock.js";
import { Follower } from "../follow.js";
import type { FollowSource } from "../ports.js";
import type { FleetSettings } from "./fleet-options.js";
import { runLoop } from "./loop.js";
import { type Settings, VERSION } from "./options.js";
import { guardProcess, takeSignals } from "./signals.js";

/** How long a request to an https source may take, milliseconds. */
const REQUEST_DEADLINE_MS = 30_000;

/**
 * Keeps a read-only copy of a login that another process refreshes: one look with `--once`, else until told to stop.
 *
 * @returns the exit code, or what is wrong with the call
 */
export async function follow(settings: Settings): Promise<{ readonly exitCode: number; readonly message?: string }> {
  const { fleet, isOnce } = settings;
  const [codexHome = "", ...more] = settings.codexHomes;
  if (fleet === null) throw new Error("a follower without its settings");
  if (more.length > 0) return { exitCode: 64, message: "--codex-home: a follower keeps one copy; give one" };
  const source = openSource(settings, fleet);
  if ("message" in source) return { exitCode: 64, message: source.message };

  const signals = takeSignals();
  const { logFormat: format, logLevel: level } = settings;
  const log = stderrLog(systemClock, { format, level, codexHome: null });
  const store = fileCredentialStore(codexHome);
  const { isTakeOver, pollSec } = fleet.follow;
  const ports = {
    clock: systemClock,
    source,
    store,
    write: (text: string, isExpected: Parameters<typeof writeCopy>[2]) => writeCopy(codexHome, text, isExpected),
    sink: fileStatusSink(codexHome),
    log,
    random: Math.random,
  };
  const daemon = isOnce ? null : describeSelf();
  const follower = new Follower(ports, { pollMs: pollSec * 1000, isTakeOver, daemon, version: VERSION });
  try {
    await guardProcess();
    if (isOnce) return { exitCode: (await follower.cycle()).exitCode };
    log.write(
      "info",
      "starting",
      `follow: starting (source=${source.location} poll=${pollSec}s codex_home=${codexHome})`,
    );
    await loop(follower, source, store, signals);
    log.write("info", "stopped", "follow: stopped");
    return { exitCode: 0 };
  } finally {
    await source.close();
  }
}

async function loop(
  follower: Follower,
  source: FollowSource,
  store: ReturnType<typeof fileCredentialStore>,
  signals: ReturnType<typeof takeSignals>,
): Promise<void> {
  let newsCount = 0;
  let onEvent: (() => void) | null = null;
  const unwatch = source.watch(() => {
    newsCount += 1;
    onEvent?.();
  });
  const watch = (listener: () => void): (() => void) => {
    onEvent = listener;
    return watchFile(store.location, listener);
  };
  const changeMark = (): string => `${store.changeMark()} ${newsCount}`;
  const cycle = (): ReturnType<Follower["cycle"]> => follower.cycle();
  await runLoop({ clock: systemClock, changeMark, watch, cycle, onTick: () => undefined }, signals);
  unwatch();
  follower.leave();
}

function openSource(settings: Settings, fleet: FleetSettings): FollowSource | { readonly message: string } {
  const { from, bearer } = fleet.follow;
  if (from !== null) {
    return httpFollowSource({
      ...settings.endpoint,
      url: from,
      deadlineMs: REQUEST_DEADLINE_MS,
      readBearer: () => (bearer === null ? null : readSecret(bearer)),
    });
  }
  const keys = readKeySource(fleet.followerKey, "follower");
  if (keys.kind !== "keys") return keys;
  if (fleet.store === null) throw new Error("a follower without a source");
  const { credentialId } = fleet;
  const parts = { credentialId, sealer: joseSealer(keys.keys), clock: systemClock };
  return postgresFollowSource({ ...parts, db: new Postgres(fleet.store) });
}
