import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Reading, readCredential } from "../../src/core/credential.js";
import { diagnose } from "../../src/core/doctor.js";
import type { FileFacts, HomeFacts, MachineFacts } from "../../src/core/doctor-facts.js";
import { FINDINGS, type Finding, type FindingCode } from "../../src/core/findings.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { Secret } from "../../src/core/secret.js";
import { encodeEvent, readTicketText, type Ticket, type TicketEvent } from "../../src/core/ticket.js";
import { findLeak, type LoginOptions, makeAuthJson, makeTokens } from "../support/login.js";

const NOW_MS = Date.now();
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_SEC = 86_400;
const AGENT = 1000;
const HOME = "/home/agent/.codex";
const tokens = makeTokens({ expiresInSec: 5 * DAY_SEC });
const TEXT = makeAuthJson(tokens);

const FILE: FileFacts = {
  path: `${HOME}/auth.json`,
  uid: AGENT,
  mode: 0o600,
  kind: "file",
  linkCount: 1,
  changedAtMs: NOW_MS - HOUR_MS,
  isMountPoint: false,
  id: "1:2/auth.json",
};
const DIRECTORY = { path: HOME, uid: AGENT, mode: 0o700, fileSystem: "ext4", freeBytes: 1e9 };
const WELL: HomeFacts = {
  codexHome: HOME,
  kind: "directory",
  parentUid: AGENT,
  path: FILE.path,
  reading: readCredential(TEXT),
  storeSetting: "file",
  linkTarget: null,
  file: FILE,
  directory: DIRECTORY,
  faults: [],
  tickets: [],
  setAside: [],
  codexLocks: [],
  ownLock: null,
  codexes: [],
  loop: "running",
  lookedAtMs: NOW_MS - HOUR_MS,
  followed: null,
};
const MACHINE: MachineFacts = {
  uid: AGENT,
  hasFlock: true,
  codex: { path: "/usr/bin/codex", version: "0.169.0" },
  overrides: [],
  caProblem: null,
  brokenProxies: [],
  endpointOrigin: null,
};
const LOCK = { path: `${FILE.path}.lock`, kind: "file", uid: AGENT, mode: 0o600, holders: [] } as const;
const CODEX = { pid: 7, command: "codex", startedAtMs: NOW_MS, version: "1.0.0", overrides: [] };

/** A login with the same refresh token, and these times. */
function login(options: LoginOptions): Reading {
  const { refresh_token } = tokens;
  return readCredential(makeAuthJson({ ...makeTokens(options), refresh_token }, options));
}

function withToken(change: Record<string, unknown>): Reading {
  const { tokens: old, ...rest } = JSON.parse(TEXT) as { tokens: object };
  return readCredential(JSON.stringify({ ...rest, tokens: { ...old, ...change } }));
}

/** A ticket of the token in the file. */
function ticket(events: readonly TicketEvent[], change: Partial<Ticket> = {}): Ticket {
  const name = fingerprint(new Secret(tokens.refresh_token));
  const presented = { fingerprint: name, accountIds: [], stamps: { issuedAtMs: null, lastRefreshMs: null } };
  const holder = { pid: 7, host: "h", bootId: null, pidNamespace: null, startTicks: null };
  const createdAtMs = NOW_MS - HOUR_MS;
  const prepared: TicketEvent = { event: "prepared", atMs: createdAtMs, holder, presented };
  const read = readTicketText([prepared, ...events].map(encodeEvent).join(""));
  return { ...read, fingerprint: name, attempt: 1, createdAtMs, life: "gone", ...change };
}

function answer(httpStatus: number, body: string): TicketEvent {
  return { event: "answer", httpStatus, base64: Buffer.from(body).toString("base64") };
}

const DISPATCHED: TicketEvent = { event: "dispatched", atMs: NOW_MS - HOUR_MS };
const JUST_DISPATCHED: TicketEvent = { event: "dispatched", atMs: NOW_MS - 1_000 };
const UNANSWERED: TicketEvent = { event: "unanswered", atMs: NOW_MS, cause: "deadline" };
const GRANT = answer(200, JSON.stringify(makeTokens()));
const OPAQUE: Partial<Ticket> = { state: { kind: "opaque" }, prepared: null, createdAtMs: NOW_MS };
const STALE_LOCK = { holder: "process 7 on host", life: "gone", isStale: true, untouchedMs: HOUR_MS } as const;

function refused(cause: "reused" | "unnamed"): Ticket {
  return ticket([DISPATCHED, { event: "rejected", atMs: NOW_MS, rejection: { cause, httpStatus: 401 } }]);
}

function fault(kind: "read-only" | "permission", code: string) {
  return { kind, step: "write", path: FILE.path, code } as const;
}

function ofHome(change: Partial<HomeFacts>, machine: Partial<MachineFacts> = {}): readonly Finding[] {
  return diagnose({ ...MACHINE, ...machine }, [{ ...WELL, ...change }], NOW_MS);
}

function ofFile(change: Partial<FileFacts>, machine: Partial<MachineFacts> = {}): readonly Finding[] {
  return ofHome({ file: { ...FILE, ...change } }, machine);
}

function ofDirectory(change: Partial<typeof DIRECTORY>): readonly Finding[] {
  return ofHome({ directory: { ...DIRECTORY, ...change } });
}

function ofMachine(change: Partial<MachineFacts>): readonly Finding[] {
  return diagnose({ ...MACHINE, ...change }, [WELL], NOW_MS);
}

function ofTwo(id: string): readonly Finding[] {
  const other = { ...WELL, codexHome: "/b", path: "/b/auth.json", file: { ...FILE, path: "/b/auth.json", id } };
  return diagnose(MACHINE, [WELL, other], NOW_MS);
}

const ABSENT = { reading: { kind: "absent" }, file: null } as const;
const A_DIRECTORY: Partial<HomeFacts> = {
  reading: { kind: "unreadable", problem: "cannot be read (EISDIR): put a regular file there" },
  file: { ...FILE, kind: "directory" },
};
const ROOTS: Partial<HomeFacts> = { file: { ...FILE, uid: 0 }, directory: { ...DIRECTORY, uid: 0 } };

/** Each arrangement differs from a sound one in one thing, and gives exactly this finding. */
const CASES: readonly (readonly [FindingCode, string, readonly Finding[]])[] = [
  ["home_missing", "an absent home", ofHome({ ...ABSENT, kind: "missing" })],
  ["home_not_a_directory", "a file as home", ofHome({ ...ABSENT, kind: "not-a-directory" })],
  ["no_login", "no auth.json", ofHome(ABSENT)],
  ["no_login", "an empty auth.json", ofHome({ reading: readCredential("") })],
  ["other_auth_mode", "an API key", ofHome({ reading: readCredential('{"auth_mode":"apikey"}') })],
  ["no_refresh_token", "no refresh token", ofHome({ reading: withToken({ refresh_token: "" }) })],
  ["copy", "a copy", ofHome({ reading: withToken({ refresh_token: "" }), followed: "https://vault.test/login" })],
  ["unreadable_auth_json", "half of it", ofHome({ reading: readCredential(TEXT.slice(0, 400)) })],
  ["auth_json_not_a_file", "a directory", ofHome(A_DIRECTORY)],
  ["auth_json_not_a_file", "a FIFO", ofFile({ kind: "other" })],
  ["keyring_store", "keyring", ofHome({ storeSetting: "keyring" })],
  ["auto_store", "auto", ofHome({ storeSetting: "auto" })],
  ["ephemeral_store", "ephemeral", ofHome({ storeSetting: "ephemeral" })],
  ["unknown_store", "a token in the wrong place", ofHome({ storeSetting: tokens.refresh_token })],
  ["access_token_expired", "an old access token", ofHome({ reading: login({ expiresInSec: -3_600 }) })],
  ["access_token_opaque", "no JWT", ofHome({ reading: withToken({ access_token: "opaque" }) })],
  ["refresh_overdue", "half an hour to live", ofHome({ reading: login({ expiresInSec: 1_800 }) })],
  ["refresh_overdue", "nine days old", ofHome({ reading: login({ expiresInSec: 9e4, lastRefreshAgoSec: 8e5 }) })],
  ["short_lived_token", "ten minutes", ofHome({ reading: login({ expiresInSec: 590, livesForSec: 600 }) })],
  ["clock_behind", "an iat to come", ofHome({ reading: login({ expiresInSec: 11 * DAY_SEC }) })],
  ["clock_ahead", "a file from the future", ofFile({ changedAtMs: NOW_MS + 6 * MINUTE_MS })],
  ["clock_ahead", "the same in it", ofHome({ reading: login({ expiresInSec: 4e5, lastRefreshAgoSec: -400 }) })],
  ["login_required", "a latched token", ofHome({ tickets: [refused("reused")] })],
  ["login_required", "a 401 that is not latched yet", ofHome({ tickets: [ticket([DISPATCHED, answer(401, "")])] })],
  ["unsaved_answer", "an answer in a ticket", ofHome({ tickets: [ticket([DISPATCHED, GRANT])] })],
  ["set_aside_answers", "an answer set aside", ofHome({ setAside: [".auth.json.watchdog.0.1.set-aside"] })],
  ["request_unanswered", "no answer", ofHome({ tickets: [ticket([DISPATCHED, UNANSWERED])] })],
  ["request_unanswered", "no answer just now", ofHome({ tickets: [ticket([JUST_DISPATCHED, UNANSWERED])] })],
  ["request_unanswered", "a ticket that can't be read", ofHome({ tickets: [ticket([], OPAQUE)] })],
  ["file_mount", "a mounted file", ofFile({ isMountPoint: true })],
  ["symlink", "a link", ofHome({ linkTarget: "/elsewhere/auth.json" })],
  ["dangling_symlink", "a link to nothing", ofHome({ ...ABSENT, linkTarget: "/elsewhere" })],
  ["hard_links", "two names", ofFile({ linkCount: 2 })],
  ["read_only", "a read-only mount", ofHome({ faults: [fault("read-only", "EROFS")] })],
  ["not_writable", "no rights", ofHome({ faults: [fault("permission", "EACCES")] })],
  ["write_protected", "a file of mode 0400", ofFile({ mode: 0o400 })],
  ["write_protected", "a directory of mode 0500", ofDirectory({ mode: 0o500 })],
  ["owner_differs", "root's file in the agent's home", ofFile({ uid: 0 }, { uid: 0 })],
  ["owner_differs", "root's directory in the agent's home", ofHome(ROOTS, { uid: 0 })],
  ["owner_differs", "a third user's file", ofFile({ uid: 1001 }, { uid: 0 })],
  ["owner_differs", "another user at work", ofHome({}, { uid: 1001 })],
  ["too_open", "a file for all to read", ofFile({ mode: 0o644 })],
  ["too_open", "a directory for all to write", ofDirectory({ mode: 0o777 })],
  ["codex_lock_is_directory", "a directory", ofHome({ codexLocks: [{ ...LOCK, kind: "directory" }] })],
  ["codex_lock_owner_differs", "root's lock", ofHome({ codexLocks: [{ ...LOCK, uid: 0 }] })],
  ["codex_lock_held", "a held lock", ofHome({ codexLocks: [{ ...LOCK, holders: [{ pid: 7, command: null }] }] })],
  ["our_lock_held", "our lock", ofHome({ ownLock: STALE_LOCK })],
  ["no_flock", "no flock(1)", ofMachine({ hasFlock: false })],
  ["env_override", "a variable here", ofMachine({ overrides: ["CODEX_API_KEY"] })],
  ["env_override", "a variable there", ofHome({ codexes: [{ ...CODEX, overrides: ["CODEX_API_KEY"] }] })],
  ["endpoint_override", "another endpoint", ofMachine({ endpointOrigin: "http://127.0.0.1:1" })],
  ["ca_file_unreadable", "no CA", ofMachine({ caProblem: { variable: "SSL_CERT_FILE", problem: "a missing file" } })],
  ["proxy_unreadable", "no proxy", ofMachine({ brokenProxies: ["https_proxy"] })],
  ["same_login", "a copy", ofTwo("another")],
  ["same_file", "one file", ofTwo(FILE.id)],
  ["codex_older_than_file", "an old Codex", ofHome({ codexes: [{ ...CODEX, startedAtMs: 0 }] })],
  ["codex_writes_in_place", "a running one", ofHome({ codexes: [{ ...CODEX, version: "0.166.0" }] })],
  ["codex_writes_in_place", "an installed one", ofMachine({ codex: { path: "/usr/bin/codex", version: "0.9.0" } })],
  ["network_file_system", "NFS", ofDirectory({ fileSystem: "nfs4" })],
  ["disk_nearly_full", "a full disk", ofDirectory({ freeBytes: 4_096 })],
  ["daemon_down", "a loop that is gone", ofHome({ loop: "down" })],
];

it("finds nothing where all is well", () => {
  expect(diagnose(MACHINE, [WELL], NOW_MS)).toEqual([]);
  expect(diagnose({ ...MACHINE, uid: 0 }, [WELL], NOW_MS)).toEqual([]);
});

it.each(CASES)("%s: %s", (code, _, findings) => {
  expect(findings.map((finding) => finding.code)).toEqual([code]);
});

it("has a case for every code", () => {
  expect(new Set(CASES.map(([code]) => code))).toEqual(new Set(Object.keys(FINDINGS)));
});

describe("what it says", () => {
  const all = CASES.flatMap(([, , findings]) => findings);

  it("is one line each, with every word filled in", () => {
    for (const { code, severity, what, cure } of all) {
      expect(severity).toBe(FINDINGS[code][0]);
      expect(what).toMatch(/^[^\p{Cc}]+$/u);
      expect(`${what} ${cure}`).not.toMatch(/undefined|NaN|\{|\[object|''/);
      if (severity !== "info") expect(cure).toMatch(/^[^\p{Cc}]+$/u);
    }
  });

  it("holds no token, also where one stands in a wrong place", () => {
    expect(findLeak(JSON.stringify(all), Object.values(tokens))).toBeNull();
  });

  it("names paths so that a shell takes them as they are", () => {
    const [finding] = ofHome({ codexHome: "/it's here", reading: readCredential("") });
    expect(finding?.cure).toBe("log in: CODEX_HOME='/it'\\''s here' codex login");
  });

  it("lets no file name break a line or colour a terminal", () => {
    const [finding] = ofHome({ path: "/a\n\u001b[31m/auth.json", reading: readCredential("") });
    expect(finding?.what).toMatch(/^[^\p{Cc}]+$/u);
  });

  it("gives the fault's own cure, behind what is wrong", () => {
    const [finding] = ofHome({ faults: [fault("read-only", "EROFS")] });
    expect(finding).toMatchObject({ what: `cannot write ${FILE.path} (EROFS)`, cure: "mount it writable" });
  });

  it("advises to ask again only after a refusal without a known code", () => {
    expect(ofHome({ tickets: [refused("unnamed")] })[0]?.cure).toMatch(/--once .*--force$/);
    expect(ofHome({ tickets: [refused("reused")] })[0]?.cure).not.toContain("--force");
  });

  it("is sorted by severity, then home, then code", () => {
    const homes: HomeFacts[] = [
      { ...WELL, codexHome: "/b", loop: "down", storeSetting: "auto", linkTarget: "/x" },
      { ...WELL, codexHome: "/a", loop: "down", file: { ...FILE, isMountPoint: true, id: "another" } },
    ];
    const findings = diagnose({ ...MACHINE, hasFlock: false }, homes, NOW_MS);
    expect(findings.map(({ severity, home, code }) => `${severity} ${home} ${code}`)).toEqual([
      "error /a file_mount",
      "error /a same_login",
      "warning null no_flock",
      "warning /a daemon_down",
      "warning /b auto_store",
      "warning /b daemon_down",
      "info /b symlink",
    ]);
  });
});

it.each([
  ["no loop, and no status", ofHome({ loop: "none", lookedAtMs: null })],
  ["Codex's own lock files", ofHome({ codexLocks: [LOCK] })],
  ["a Codex that began after the last change", ofHome({ codexes: [CODEX] })],
  ["a group's volume", ofHome({ directory: { ...DIRECTORY, uid: 0, mode: 0o2770 }, parentUid: 0 })],
  ["a sticky directory", ofDirectory({ mode: 0o1777 })],
  ["a FUSE that is local", ofDirectory({ fileSystem: "fuse.fuse-overlayfs" })],
  ["an answer that is about to be saved", ofHome({ tickets: [ticket([JUST_DISPATCHED, GRANT], { life: "alive" })] })],
  ["a request on its way", ofHome({ tickets: [ticket([DISPATCHED], { life: "alive" })] })],
  ["another token's latch", ofHome({ tickets: [{ ...refused("reused"), fingerprint: "f".repeat(64) }] })],
])("%s is no finding", (_, findings) => {
  expect(findings).toEqual([]);
});

it("stands in docs/doctor.md with every code and its severity", () => {
  const page = readFileSync(new URL("../../docs/doctor.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `(\w+)` \| (error|warning|info) \| \S/gm)].map(([, ...row]) => row);
  expect(rows).toEqual(Object.entries(FINDINGS).map(([code, [severity]]) => [code, severity]));
});
