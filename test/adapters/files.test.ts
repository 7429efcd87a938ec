import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { toFault } from "../../src/adapters/errno.js";
import { fileCredentialStore } from "../../src/adapters/file-credential-store.js";
import { fileLock } from "../../src/adapters/file-lock.js";
import { fileTicketBook } from "../../src/adapters/file-ticket-book.js";
import { describeSelf } from "../../src/adapters/process-identity.js";
import { systemClock } from "../../src/adapters/system-clock.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { Secret } from "../../src/core/secret.js";
import { showHolder } from "../../src/core/status.js";
import { Home } from "../support/home.js";
import { waitUntil } from "../support/program.js";
import {
  describeClock,
  describeCredentialStore,
  describeLock,
  describeTicketBook,
  loginText,
} from "./ports.contract.js";

const homes: Home[] = [];

function newHome(): Home {
  const home = new Home();
  homes.push(home);
  return home;
}

afterEach(() => {
  for (const home of homes.splice(0)) home.remove();
});

const noRedo = (): Promise<null> => Promise.reject(new Error("a redo log was asked for"));

const isRoot = process.geteuid?.() === 0;

describeCredentialStore("auth.json", () => {
  const home = newHome();
  return {
    store: fileCredentialStore(home.path),
    put: (text) => {
      if (text === null) rmSync(home.authJsonPath, { force: true });
      else home.writeAuth(text);
    },
    text: () => (existsSync(home.authJsonPath) ? home.readAuth() : null),
  };
});

describeTicketBook("files", () => {
  const home = newHome();
  return {
    book: fileTicketBook(home.authJsonPath, systemClock),
    again: fileTicketBook(home.authJsonPath, systemClock),
  };
});

describeLock("a directory", () => {
  const home = newHome();
  home.writeAuth(loginText("rt"));
  const ignore = (): void => undefined;
  return {
    lock: fileLock(home.authJsonPath, systemClock, ignore),
    again: fileLock(home.authJsonPath, systemClock, ignore),
    holder: new RegExp(`^process ${process.pid} on ${hostname()} \\(since \\d{4}-`),
    compromise: async (isKnown) => {
      rmSync(join(home.path, ".auth.json.watchdog.lock"), { recursive: true });
      await waitUntil("the lock's heartbeat to miss it", isKnown);
    },
  };
});

describe("a lock that was left behind", () => {
  const dead = spawnSync("true").pid;

  it.each<[string, number | null, number, "held" | "taken"]>([
    ["by a process that is gone is taken over within seconds", dead, 2_500, "held"],
    ["by a process that lives is waited for", process.ppid, 2_500, "taken"],
    ["by somebody unknown is waited for", null, 2_500, "taken"],
    ["is taken over when nobody has touched it for long, whoever it was", null, 16_000, "held"],
    // Its maker has not written its own name yet.
    ["is waited for when it was just made, whatever old name stands beside it", dead, 100, "taken"],
  ])("%s", async (_, pid, untouchedMs, expected) => {
    const home = newHome();
    home.writeAuth(loginText("rt"));
    const own = (suffix: string): string => join(home.path, `.auth.json.watchdog.${suffix}`);
    mkdirSync(own("lock"));
    const touchedSec = (Date.now() - untouchedMs) / 1000;
    utimesSync(own("lock"), touchedSec, touchedSec);
    const holder = { ...showHolder(describeSelf()), pid, start_ticks: null, since: new Date().toISOString() };
    if (pid !== null) writeFileSync(own("holder"), JSON.stringify(holder));
    const lock = fileLock(home.authJsonPath, systemClock, () => undefined);

    const first = await lock.tryAcquire();
    const attempt = first.kind === "held" ? first : await lock.tryAcquire();
    expect(attempt.kind).toBe(expected);
    if (attempt.kind === "held") await attempt.lock.release();
  });
});

describeClock("the system's", () => systemClock);

describe("an error of the machine", () => {
  it("has its name also where libuv knows none", () => {
    const error = Object.assign(new Error("Unknown system error -122"), {
      errno: -122,
      code: "Unknown system error -122",
    });
    expect(toFault(error, "write", "/x")).toMatchObject({ kind: "disk-full", code: "EDQUOT" });
  });

  it("is thrown on when it is none", () => {
    const bug = new TypeError("x is not a function");
    expect(() => toFault(bug, "write", "/x")).toThrow(bug);
  });
});

describe("auth.json as a file", () => {
  const written = { kind: "write", text: loginText("rt-2") } as const;

  it("is written for its owner alone, whatever it was before", async () => {
    const home = newHome();
    home.writeAuth(loginText("rt-1"));
    chmodSync(home.authJsonPath, 0o644);
    await fileCredentialStore(home.path).update(() => written, noRedo);
    expect(statSync(home.authJsonPath).mode & 0o777).toBe(0o600);
    expect(home.listAll()).toEqual(["auth.json", "auth.json.lock", "auth.lock"]);
  });

  it.each([
    ["", ""],
    // Its options in 1.37: -s, -x, -u and -n.
    [", with the flock of busybox", 'case "$*" in *-w*) exit 1;; esac'],
  ])("is saved under the locks of Codex, which lie where a linked auth.json really is%s", async (_what, refusal) => {
    const home = newHome();
    const path = process.env["PATH"] ?? "";
    const flock = join(home.path, "flock");
    writeFileSync(flock, `#!/bin/sh\n${refusal}\nPATH=${path} exec flock "$@"\n`, { mode: 0o755 });
    vi.stubEnv("PATH", `${home.path}:${path}`);
    mkdirSync(join(home.path, "elsewhere"));
    const real = join(home.path, "elsewhere", "real.json");
    writeFileSync(real, loginText("rt-1"));
    symlinkSync("elsewhere/real.json", home.authJsonPath);
    // One who holds the second lock until it is told to end.
    const codex = spawn("flock", [`${real}.lock`, "cat"], { stdio: ["pipe", "inherit", "inherit"] });
    await waitUntil("the lock file", () => existsSync(`${real}.lock`));
    await waitUntil("the lock", () => spawnSync("flock", ["-n", `${real}.lock`, "true"]).status === 1);
    let isSaved = false;
    const saved = fileCredentialStore(home.path)
      .update(() => written, noRedo)
      .then(() => {
        isSaved = true;
      });
    await waitUntil(
      "the first lock",
      () => spawnSync("flock", ["-n", join(home.path, "auth.lock"), "true"]).status === 1,
    );
    expect([isSaved, readFileSync(real, "utf8")]).toEqual([false, loginText("rt-1")]);
    codex.stdin.end();
    await saved;
    expect(readFileSync(real, "utf8")).toBe(loginText("rt-2"));
    expect(lstatSync(home.authJsonPath).isSymbolicLink()).toBe(true);
  });

  it.runIf(isRoot)("keeps its owner when root writes it", async () => {
    const home = newHome();
    home.writeAuth(loginText("rt-1"));
    chownSync(home.authJsonPath, 1_234, 4_321);
    await fileCredentialStore(home.path).update(() => written, noRedo);
    expect(statSync(home.authJsonPath)).toMatchObject({ uid: 1_234, gid: 4_321 });
  });

  it("stays a symbolic link, and its target is written", async () => {
    const home = newHome();
    const target = join(home.path, "real", "login.json");
    mkdirSync(join(home.path, "real"));
    writeFileSync(target, loginText("rt-1"));
    symlinkSync("real/login.json", home.authJsonPath);
    await fileCredentialStore(home.path).update(() => written, noRedo);
    expect(lstatSync(home.authJsonPath).isSymbolicLink()).toBe(true);
    expect(readFileSync(target, "utf8")).toBe(written.text);
  });

  it("is replaced as a whole: whoever has it open keeps the old one", async () => {
    const home = newHome();
    home.writeAuth(loginText("rt-1"));
    const before = statSync(home.authJsonPath).ino;
    await fileCredentialStore(home.path).update(() => written, noRedo);
    expect(statSync(home.authJsonPath).ino).not.toBe(before);
  });

  it("that is a directory is no login, and is left alone", () => {
    const home = newHome();
    mkdirSync(home.authJsonPath);
    const reading = fileCredentialStore(home.path).read();
    expect(reading).toMatchObject({ kind: "unreadable", problem: expect.stringContaining("EISDIR") });
  });

  it("that dangles, or lies in a home that is not there, is absent", () => {
    const home = newHome();
    symlinkSync("nowhere", home.authJsonPath);
    expect(fileCredentialStore(home.path).read().kind).toBe("absent");
    expect(fileCredentialStore(join(home.path, "none")).read().kind).toBe("absent");
  });

  it("that is not UTF-8 may be half written", () => {
    const home = newHome();
    home.writeAuth(Buffer.from([0x7b, 0xff, 0xfe]));
    expect(fileCredentialStore(home.path).read().kind).toBe("torn");
  });

  it("that is far too large is not read", () => {
    const home = newHome();
    home.writeAuth(Buffer.alloc(16 * 1024 * 1024 + 1, " "));
    expect(fileCredentialStore(home.path).read()).toMatchObject({ kind: "unreadable" });
  });

  it("that cannot be replaced keeps what it held", async () => {
    const home = newHome();
    home.writeAuth(loginText("rt-1"));
    const result = await fileCredentialStore(home.path).update((reading) => {
      expect(reading.kind).toBe("login");
      renameSync(home.path, `${home.path}.moved`);
      return written;
    }, noRedo);
    renameSync(`${home.path}.moved`, home.path);
    expect(result).toMatchObject({ kind: "failed", fault: { kind: "missing" } });
    expect(home.readAuth()).toBe(loginText("rt-1"));
  });

  it.each([
    ["no config", null, "file"],
    ["a keyring", 'cli_auth_credentials_store = "keyring"', "keyring"],
    ["the setting of a profile only", '[profiles.x]\ncli_auth_credentials_store = "keyring"', "file"],
    ["a comment", '# cli_auth_credentials_store = "keyring"', "file"],
    ["a config that nobody can read", 'cli_auth_credentials_store = "keyring', "file"],
    ["a number", "cli_auth_credentials_store = 7", "file"],
  ])("with %s in config.toml belongs where Codex says", async (_what, config, setting) => {
    const home = newHome();
    if (config !== null) writeFileSync(join(home.path, "config.toml"), config);
    expect(await fileCredentialStore(home.path).readCredentialsStoreSetting()).toBe(setting);
  });
});

describe("tickets as files", () => {
  const presented = {
    fingerprint: fingerprint(new Secret("rt-1")),
    accountIds: [],
    stamps: { issuedAtMs: null, lastRefreshMs: null },
  };
  const fileName = `.auth.json.watchdog.${presented.fingerprint}.1.ticket`;

  it("are for their owner alone, and reserve their space", async () => {
    const home = newHome();
    const creation = await fileTicketBook(home.authJsonPath, systemClock).create(presented, 1);
    if (creation.kind !== "created") throw new Error(creation.kind);
    const stats = statSync(join(home.path, fileName));
    expect(stats.mode & 0o777).toBe(0o600);
    expect(stats.size).toBe(64 * 1024);
    expect(stats.blocks * 512).toBeGreaterThanOrEqual(64 * 1024);
    await creation.ticket.close();
  });

  it("lie beside the real auth.json, so that two links to it share them", async () => {
    const home = newHome();
    const other = newHome();
    home.writeAuth(loginText("rt-1"));
    symlinkSync(home.authJsonPath, other.authJsonPath);
    const creation = await fileTicketBook(other.authJsonPath, systemClock).create(presented, 1);
    if (creation.kind === "created") await creation.ticket.close();
    expect(home.listAll()).toContain(fileName);
    expect(other.list()).toEqual(["auth.json"]);
    expect((await fileTicketBook(home.authJsonPath, systemClock).create(presented, 1)).kind).toBe("exists");
  });

  it.runIf(isRoot)("belong to the owner of auth.json when root creates them", async () => {
    const home = newHome();
    home.writeAuth(loginText("rt-1"));
    chownSync(home.authJsonPath, 1_234, 4_321);
    const book = fileTicketBook(home.authJsonPath, systemClock);
    const creation = await book.create(presented, 1);
    if (creation.kind === "created") await creation.ticket.close();
    const owner = { uid: 1_234, gid: 4_321 };
    expect(statSync(join(home.path, fileName))).toMatchObject(owner);
    const rejection = { cause: "expired", httpStatus: 401 } as const;
    await book.conclude({ ...presented, attempt: 1 }, { event: "rejected", atMs: 1, rejection });
    expect(statSync(join(home.path, fileName))).toMatchObject(owner);
  });

  it("follow no symbolic link that waits under their name", async () => {
    const home = newHome();
    const victim = join(home.path, "victim");
    symlinkSync(victim, join(home.path, fileName));
    const book = fileTicketBook(home.authJsonPath, systemClock);
    expect((await book.create(presented, 1)).kind).toBe("exists");
    expect(existsSync(victim)).toBe(false);
    expect(book.list()).toMatchObject({ tickets: [{ attempt: 1, state: { kind: "opaque" } }] });
  });

  it("in a directory that is gone are refused", async () => {
    const home = newHome();
    const book = fileTicketBook(join(home.path, "none", "auth.json"), systemClock);
    expect(book.list()).toEqual({ kind: "tickets", tickets: [], setAside: [] });
    expect(await book.create(presented, 1)).toMatchObject({ kind: "failed", fault: { kind: "missing" } });
  });

  it("are told from whatever else lies there", () => {
    const home = newHome();
    const noise = [
      "auth.json.lock",
      ".auth.json.watchdog.lock",
      `${fileName}.tmp`,
      `x${fileName}`,
      `${fileName.replace("1.t", "t")}`,
    ];
    for (const name of noise) writeFileSync(join(home.path, name), "");
    expect(fileTicketBook(home.authJsonPath, systemClock).list()).toEqual({
      kind: "tickets",
      tickets: [],
      setAside: [],
    });
  });

  it("tell whether the process that wrote them is still there", async () => {
    const home = newHome();
    const book = fileTicketBook(home.authJsonPath, systemClock);
    const creation = await book.create(presented, 1);
    if (creation.kind === "created") await creation.ticket.close();
    const [line = ""] = readFileSync(join(home.path, fileName), "utf8").split("\n");
    const own = JSON.parse(line) as { holder: Record<string, unknown> };
    const lifeOf = (change: Record<string, unknown>): unknown => {
      const holder = { ...own.holder, ...change };
      writeFileSync(join(home.path, fileName), `${JSON.stringify({ ...own, holder })}\n`);
      const listing = book.list();
      return listing.kind === "tickets" && listing.tickets[0]?.life;
    };
    const ended = spawnSync(process.execPath, ["-e", ""]).pid;

    expect(lifeOf({})).toBe("self");
    expect(lifeOf({ pid: process.ppid, startTicks: null })).toBe("alive");
    expect(lifeOf({ pid: ended })).toBe("gone");
    expect(lifeOf({ startTicks: "1" })).toBe("gone"); // Our pid, in an earlier life of it.
    expect(lifeOf({ bootId: "another boot" })).toBe("unknown");
    expect(lifeOf({ pidNamespace: "another container" })).toBe("unknown");
    expect(lifeOf({ bootId: null })).toBe("unknown");
  });
});

describe("the lock as a directory", () => {
  it("leaves nothing behind, and never touches Codex's own lock files", async () => {
    const home = newHome();
    home.writeAuth(loginText("rt"));
    for (const name of ["auth.json.lock", "auth.lock"]) writeFileSync(join(home.path, name), "");
    const attempt = await fileLock(home.authJsonPath, systemClock, () => undefined).tryAcquire();
    if (attempt.kind !== "held") throw new Error(attempt.kind);
    expect(home.listAll()).toEqual([
      ".auth.json.watchdog.holder",
      ".auth.json.watchdog.lock",
      "auth.json",
      "auth.json.lock",
      "auth.lock",
    ]);
    await attempt.lock.release();
    expect(home.listAll()).toEqual(["auth.json", "auth.json.lock", "auth.lock"]);
  });

  it("can be taken though there is no auth.json", async () => {
    const attempt = await fileLock(newHome().authJsonPath, systemClock, () => undefined).tryAcquire();
    expect(attempt.kind).toBe("held");
    if (attempt.kind === "held") await attempt.lock.release();
  });

  it("says what is wrong when there is no directory for it", async () => {
    const path = join(newHome().path, "none", "auth.json");
    const attempt = await fileLock(path, systemClock, () => undefined).tryAcquire();
    expect(attempt).toMatchObject({ kind: "failed", fault: { kind: "missing" } });
  });
});
