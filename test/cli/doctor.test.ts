import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fileLock } from "../../src/adapters/file-lock.js";
import { fileTicketBook } from "../../src/adapters/file-ticket-book.js";
import { readHostFacts } from "../../src/adapters/host-facts.js";
import { describeSelf } from "../../src/adapters/process-identity.js";
import { systemClock } from "../../src/adapters/system-clock.js";
import { doctor } from "../../src/cli/doctor.js";
import type { Finding } from "../../src/core/findings.js";
import { fingerprint } from "../../src/core/fingerprint.js";
import { Secret } from "../../src/core/secret.js";
import { showHolder } from "../../src/core/status.js";
import type { OpenTicket } from "../../src/ports.js";
import { Home } from "../support/home.js";
import { findLeak, makeAuthJson, makeRefreshToken, makeTokens } from "../support/login.js";
import { fillDisk, onBindMount, onTmpfs } from "../support/mounts.js";
import { NODE_PATH, type RunResult, start, waitUntil } from "../support/program.js";

const isRoot = process.geteuid?.() === 0;
const hasStrace = spawnSync("strace", ["-V"]).status === 0;
const AGENT = 1000;
const DAY_MS = 86_400_000;
const PATH = { PATH: process.env["PATH"] };

const tokens = makeTokens({ expiresInSec: 5 * 86_400 });
const LOGIN = makeAuthJson(tokens);

let home: Home;
let other: Home;
const children: ChildProcess[] = [];

beforeEach(() => {
  home = new Home();
  other = new Home();
  home.writeAuth(LOGIN);
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  home.remove();
  other.remove();
});

/** Everything about a home that anybody could have changed; what a look at a file moves (atime) is left out. */
function pictureOf(directory: string): unknown[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .concat(".")
    .sort((a, b) => a.localeCompare(b))
    .map((name) => {
      const path = join(directory, name);
      const { dev, ino, mode, uid, gid, size, mtimeNs, ctimeNs } = lstatSync(path, { bigint: true });
      const text = lstatSync(path).isFile() ? readFileSync(path, "latin1") : null;
      return [name, dev, ino, mode, uid, gid, size, mtimeNs, ctimeNs, text];
    });
}

interface Options {
  readonly homes?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly nowMs?: number;
}

/** The findings as JSON has them. The homes stay as they were, and no token is told. */
async function examine({ homes = [home.path], env = {}, nowMs = Date.now() }: Options = {}): Promise<Finding[]> {
  const before = [home, other].map(({ path }) => pictureOf(path));
  const input = { codexHomes: homes, env: { ...PATH, ...env }, nowMs, isTerminal: false };
  const json = await doctor({ ...input, isJson: true });
  const text = await doctor({ ...input, isJson: false });
  expect([home, other].map(({ path }) => pictureOf(path))).toEqual(before);
  expect(findLeak(json.text + text.text, Object.values(tokens))).toBeNull();
  const report = JSON.parse(json.text) as Record<string, unknown> & { findings: Finding[] };
  expect(report).toMatchObject({ schema_version: 1, checked_at: new Date(nowMs).toISOString(), homes });
  const isBad = report.findings.some(({ severity }) => severity !== "info");
  expect([json.exitCode, text.exitCode]).toEqual(isBad ? [1, 1] : [0, 0]);
  for (const { what, cure } of report.findings) {
    expect(text.text).toContain(`: ${what}\n`);
    if (cure !== null) expect(text.text).toContain(`\n    → ${cure}\n`);
  }
  return report.findings;
}

async function codes(options: Options = {}): Promise<string[]> {
  return (await examine(options)).map(({ code }) => code);
}

/** The one finding with this code. */
async function find(code: string, options: Options = {}): Promise<Finding> {
  const [finding, ...more] = (await examine(options)).filter((each) => each.code === code);
  if (finding === undefined || more.length > 0) throw new Error(`${code} was found ${more.length} times and once`);
  return finding;
}

function begin(command: string, args: string[], env: Record<string, string> = {}, argv0 = command): ChildProcess {
  const child = spawn(command, args, { argv0, stdio: "ignore", env: { ...PATH, ...env } });
  children.push(child);
  return child;
}

describe("a home", () => {
  it("that is sound has no findings, and one friendly line", async () => {
    expect(await examine()).toEqual([]);
    const input = { codexHomes: [home.path], isJson: false, env: PATH, nowMs: Date.now(), isTerminal: false };
    expect(await doctor(input)).toEqual({ exitCode: 0, text: `All is well with ${home.path}.\n` });
  });

  it("that is absent stays absent", async () => {
    const absent = join(home.path, "no", "such");
    expect(await codes({ homes: [absent] })).toEqual(["home_missing"]);
    expect(existsSync(join(home.path, "no"))).toBe(false);
  });

  it("may be a file, or lie below one", async () => {
    expect(await codes({ homes: [home.authJsonPath] })).toEqual(["home_not_a_directory"]);
    expect(await codes({ homes: [join(home.authJsonPath, "below")] })).toEqual(["home_not_a_directory"]);
  });

  it("is coloured on a terminal only", async () => {
    const input = { codexHomes: [other.path], isJson: false, env: PATH, nowMs: Date.now() };
    expect((await doctor({ ...input, isTerminal: true })).text).toContain("\u001b[36minfo\u001b[0m no_login: ");
    expect((await doctor({ ...input, isTerminal: false })).text).not.toContain("\u001b");
  });
});

describe("auth.json", () => {
  it.each([
    ["no_login", () => home.removeAuth()],
    ["no_login", () => home.writeAuth("")],
    ["unreadable_auth_json", () => home.writeAuth(LOGIN.slice(0, 500))],
    ["other_auth_mode", () => home.writeAuth('{"auth_mode":"apikey"}')],
    ["no_refresh_token", () => home.writeAuth(LOGIN.replace(tokens.refresh_token, ""))],
    ["access_token_opaque", () => home.writeAuth(LOGIN.replace(tokens.access_token, "opaque"))],
    ["write_protected", () => chmodSync(home.authJsonPath, 0o400)],
    ["too_open", () => chmodSync(home.authJsonPath, 0o640)],
    ["too_open", () => chmodSync(home.path, 0o777)],
    ["hard_links", () => linkSync(home.authJsonPath, join(other.path, "twin"))],
  ])("%s", async (code, arrange) => {
    arrange();
    expect(await codes()).toEqual([code]);
  });

  it("may be a directory or a FIFO", async () => {
    home.removeAuth();
    mkdirSync(home.authJsonPath, { mode: 0o700 });
    expect(await codes()).toEqual(["auth_json_not_a_file"]);
    rmSync(home.authJsonPath, { recursive: true });
    spawnSync("mkfifo", ["-m", "600", home.authJsonPath]);
    expect((await find("auth_json_not_a_file")).what).toContain("special file");
  });

  it("may be a symbolic link, also to nothing", async () => {
    home.removeAuth();
    symlinkSync(other.authJsonPath, home.authJsonPath);
    expect(await codes()).toEqual(["dangling_symlink"]);
    other.writeAuth(LOGIN);
    expect((await find("symlink")).what).toContain(`points to ${other.authJsonPath}`);
  });

  it.each(["keyring", "auto", "ephemeral"])("may be a leftover of the %s store", async (setting) => {
    writeFileSync(join(home.path, "config.toml"), `cli_auth_credentials_store = "${setting}"\n`);
    expect(await codes()).toEqual([`${setting}_store`]);
  });

  it("may be the same login in two homes", async () => {
    other.writeAuth(LOGIN);
    const finding = await find("same_login", { homes: [home.path, other.path] });
    expect(finding).toMatchObject({ severity: "error", home: other.path });
  });

  it("may be one file in two homes", async () => {
    symlinkSync(home.authJsonPath, other.authJsonPath);
    expect(await codes({ homes: [home.path, other.path] })).toEqual(["same_file", "symlink"]);
  });

  it.runIf(isRoot)("is one file under two mounts of its directory, and two under two mounts of the file", async () => {
    const homes = [home.path, other.path];
    await onBindMount(home.path, other.path, "writable", async () => {
      expect(await codes({ homes })).toEqual(["same_file"]);
    });
    other.writeAuth("");
    await onBindMount(home.authJsonPath, other.authJsonPath, "writable", async () => {
      expect(await codes({ homes })).toEqual(["file_mount", "same_login"]);
    });
  });

  it.runIf(isRoot)("may be root's in an agent's home, where a root's directory is found too", async () => {
    chownSync(home.path, AGENT, AGENT);
    const { what, cure } = await find("owner_differs");
    expect(what).toContain(`belongs to root, in a home of uid ${AGENT}`);
    expect(cure).toBe(`chown ${AGENT} ${home.path} ${home.authJsonPath}`);

    const inner = join(home.path, ".codex");
    mkdirSync(inner, { mode: 0o700 });
    writeFileSync(join(inner, "auth.json"), LOGIN, { mode: 0o600 });
    expect((await find("owner_differs", { homes: [inner] })).cure).toBe(`chown ${AGENT} ${inner} ${inner}/auth.json`);
  });
});

describe("the place", () => {
  it.runIf(isRoot)("may be a mount of the single file", async () => {
    other.writeAuth(LOGIN);
    await onBindMount(other.authJsonPath, home.authJsonPath, "writable", async () => {
      expect(await codes()).toEqual(["file_mount"]);
    });
  });

  it.runIf(isRoot)("may be read-only", async () => {
    await onBindMount(home.path, home.path, "read-only", async () => {
      expect(await codes()).toEqual(["read_only"]);
    });
  });

  it.runIf(isRoot)("may be full, and its file system is known", async () => {
    await onTmpfs(other.path, "size=256k,mode=700", async () => {
      other.writeAuth(LOGIN);
      const { homes } = await readHostFacts([home.path, other.path], PATH, Date.now());
      expect(homes[1]?.directory?.fileSystem).toBe("tmpfs");
      fillDisk(other.path);
      const finding = await find("disk_nearly_full", { homes: [other.path] });
      expect(finding.what).toMatch(/has 0 KiB left/);
    });
  });
});

describe("locks", () => {
  it("tells who holds one of Codex's, without waiting for it or taking it", async () => {
    const path = join(home.path, "auth.json.lock");
    const holder = begin("flock", ["-x", "--no-fork", path, "sleep", "60"]);
    await waitUntil("the lock is held", () => existsSync(path) && !isFree(path));
    const waiting = begin("flock", ["-x", "--no-fork", path, "sleep", "60"]);
    await waitUntil("somebody waits for it", () => readFileSync("/proc/locks", "utf8").includes(`${waiting.pid} `));

    const finding = await find("codex_lock_held");
    expect(finding.what).toBe(`${path} is locked by sleep (pid ${holder.pid})`);
    expect(await codes()).toEqual(["codex_lock_held"]);
  });

  it("finds a directory in the place of one", async () => {
    for (const name of ["auth.lock", "auth.json.lock"]) {
      mkdirSync(join(home.path, name));
      const { severity, cure } = await find("codex_lock_is_directory");
      expect([severity, cure]).toEqual(["error", `when no Codex runs: rmdir ${home.path}/${name}`]);
      rmSync(join(home.path, name), { recursive: true });
    }
  });

  it("looks beside the real file", async () => {
    other.writeAuth(LOGIN);
    home.removeAuth();
    symlinkSync(other.authJsonPath, home.authJsonPath);
    mkdirSync(join(other.path, "auth.json.lock"));
    expect(await codes()).toEqual(["codex_lock_is_directory", "symlink"]);
  });

  it.runIf(isRoot)("finds one that root has left in an agent's home", async () => {
    for (const path of [home.path, home.authJsonPath]) chownSync(path, AGENT, AGENT);
    writeFileSync(join(home.path, "auth.lock"), "");
    expect((await find("codex_lock_owner_differs")).cure).toBe(`chown ${AGENT} ${home.path}/auth.lock`);
  });

  it("names who holds ours", async () => {
    const attempt = await fileLock(home.authJsonPath, systemClock, () => undefined).tryAcquire();
    if (attempt.kind !== "held") throw new Error(attempt.kind);
    const finding = await find("our_lock_held");
    expect(finding.what).toMatch(
      new RegExp(`^process ${process.pid} on ${hostname()} \\(since .*\\) has the lock on \\S+$`),
    );
    await attempt.lock.release();
    expect(await codes()).toEqual([]);
  });

  it("tells one of ours that a dead process has left", async () => {
    const dead = spawnSync("true").pid;
    const lock = join(home.path, ".auth.json.watchdog.lock");
    mkdirSync(lock);
    utimesSync(lock, 1_000, 1_000);
    const holder = { ...showHolder(describeSelf()), pid: dead, start_ticks: null, since: new Date().toISOString() };
    writeFileSync(join(home.path, ".auth.json.watchdog.holder"), JSON.stringify(holder));
    expect((await find("our_lock_held")).what).toMatch(
      /, and is gone; untouched for \d+ d( \d+ h)?, so the next run takes it/,
    );
    writeFileSync(join(home.path, ".auth.json.watchdog.holder"), tokens.refresh_token);
    expect((await find("our_lock_held")).what).toMatch(/^another process has the lock/);
  });

  function isFree(path: string): boolean {
    return spawnSync("flock", ["-n", path, "true"]).status === 0;
  }
});

describe("tickets", () => {
  it("tells an answer that is not saved yet", async () => {
    const ticket = await openTicket();
    const base64 = Buffer.from(JSON.stringify(makeTokens())).toString("base64");
    await ticket.record({ event: "dispatched", atMs: Date.now() - DAY_MS });
    await ticket.record({ event: "answer", httpStatus: 200, base64 });
    await ticket.close();
    expect(await codes()).toEqual(["unsaved_answer"]);
  });

  it("tells a refused token, with the verdict", async () => {
    const ticket = await openTicket();
    await ticket.record({ event: "dispatched", atMs: Date.now() });
    await ticket.close();
    const rejection = { cause: "revoked", httpStatus: 401 } as const;
    await book().conclude({ fingerprint: name(), attempt: 1 }, { event: "rejected", atMs: Date.now(), rejection });
    expect((await find("login_required")).what).toMatch(/was refused \d+ s ago \(HTTP 401\): .* was revoked$/);
  });

  it("tells a request without an answer, and an answer that was set aside", async () => {
    const ticket = await openTicket();
    await ticket.record({ event: "dispatched", atMs: Date.now() });
    await ticket.record({ event: "unanswered", atMs: Date.now(), cause: "deadline" });
    await ticket.close();
    expect((await find("request_unanswered")).what).toMatch(/it rests until \d{4}-/);
    await book().setAside({ fingerprint: name(), attempt: 1 });
    expect((await find("set_aside_answers")).what).toContain(`.auth.json.watchdog.${name()}.1.set-aside`);
  });

  const book = () => fileTicketBook(home.authJsonPath, systemClock);
  const name = (): string => fingerprint(new Secret(tokens.refresh_token));

  async function openTicket(): Promise<OpenTicket> {
    const stamps = { issuedAtMs: null, lastRefreshMs: null };
    const creation = await book().create({ fingerprint: name(), accountIds: [], stamps }, 1);
    if (creation.kind !== "created") throw new Error(creation.kind);
    return creation.ticket;
  }
});

describe("running Codex processes", () => {
  const SLEEP = ["-e", "setTimeout(() => undefined, 60_000)"];

  it("are told when they began before the last change of the file, and never with their arguments", async () => {
    const codex = begin(process.execPath, [...SLEEP, tokens.refresh_token], { CODEX_HOME: home.path }, "/opt/codex");
    const stranger = begin(process.execPath, SLEEP, { CODEX_HOME: other.path }, "codex");
    await waitUntil("both run", () => [codex, stranger].every(({ pid }) => isCalled(pid, "codex")));
    const laterSec = Date.now() / 1000 + 5;
    utimesSync(home.authJsonPath, laterSec, laterSec);
    const { what } = await find("codex_older_than_file");
    expect(what).toMatch(new RegExp(`\\(pid ${codex.pid}\\) began before`));
    expect(what).not.toContain(`${stranger.pid}`);

    utimesSync(home.authJsonPath, laterSec - 3_600, laterSec - 3_600);
    expect(await codes()).toEqual([]);
  });

  it("are told when their release writes in place, by the package that they lie in", async () => {
    const inner = join(other.path, "node_modules/@openai/codex-linux-x64");
    const binary = join(inner, "vendor/target/codex/codex");
    mkdirSync(dirname(binary), { recursive: true });
    writeFileSync(join(inner, "package.json"), JSON.stringify({ name: "@openai/codex", version: "0.165.1-linux-x64" }));
    copyFileSync(process.execPath, binary);
    const codex = begin(binary, SLEEP, { CODEX_HOME: home.path });
    await waitUntil("it runs", () => isCalled(codex.pid, binary));

    const { what, home: codexHome } = await find("codex_writes_in_place");
    expect(what).toMatch(new RegExp(`^Codex 0\\.165\\.1 \\(codex \\(pid ${codex.pid}\\)\\) writes`));
    expect(codexHome).toBe(home.path);
  });

  it("are told when they are only installed, and would write in place", async () => {
    const inner = join(other.path, "node_modules/@openai/codex");
    mkdirSync(join(inner, "bin"), { recursive: true });
    writeFileSync(join(inner, "package.json"), JSON.stringify({ name: "@openai/codex", version: "0.130.0" }));
    writeFileSync(join(inner, "bin/codex.js"), "", { mode: 0o755 });
    symlinkSync(join(inner, "bin/codex.js"), join(other.path, "codex"));
    const env = { PATH: `${other.path}:${process.env["PATH"]}` };

    const { what, home: codexHome } = await find("codex_writes_in_place", { env });
    expect(what).toContain(`Codex 0.130.0 (${join(other.path, "codex")}) writes`);
    expect(codexHome).toBe(null);
  });

  it("are told when a variable makes them bypass the file, without its value", async () => {
    const env = { HOME: other.path, CODEX_ACCESS_TOKEN: tokens.access_token };
    mkdirSync(join(other.path, ".codex"));
    const codex = begin(process.execPath, SLEEP, env, "codex");
    await waitUntil("it runs", () => isCalled(codex.pid, "codex"));
    const { what, home: codexHome } = await find("env_override", { homes: [join(other.path, ".codex")] });
    expect(what).toMatch(new RegExp(`^CODEX_ACCESS_TOKEN is set for \\S+ \\(pid ${codex.pid}\\)`));
    expect(codexHome).toBe(join(other.path, ".codex"));
  });

  function isCalled(pid: number | undefined, program: string): boolean {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0]?.endsWith(program) === true;
  }
});

describe("the environment", () => {
  it.each([
    ["no_flock", { PATH: "/nonexistent" }],
    ["env_override", { CODEX_API_KEY: tokens.refresh_token }],
    ["ca_file_unreadable", { SSL_CERT_FILE: `/nonexistent/${tokens.refresh_token}` }],
    ["ca_file_unreadable", { CODEX_CA_CERTIFICATE: "/proc/version" }],
    ["proxy_unreadable", { HTTPS_PROXY: tokens.refresh_token }],
    ["endpoint_override", { CODEX_REFRESH_TOKEN_URL_OVERRIDE: `https://a.example/${tokens.refresh_token}` }],
  ])("%s", async (code, env) => {
    expect(await find(code, { env })).toMatchObject({ home: null });
  });

  it("may name a good proxy and good certificates", async () => {
    const ca = join(other.path, "ca.pem");
    writeFileSync(ca, "-----BEGIN CERTIFICATE-----\n");
    expect(await codes({ env: { https_proxy: "http://proxy.example:3128", CODEX_CA_CERTIFICATE: ca } })).toEqual([]);
  });
});

describe("the clock and the loop", () => {
  it("may be days behind", async () => {
    const findings = await codes({ nowMs: Date.now() - 6 * DAY_MS });
    expect(findings).toEqual(["clock_behind"]);
  });

  it("may have been ahead when the file was written", async () => {
    const laterSec = Date.now() / 1000 + 3_600;
    utimesSync(home.authJsonPath, laterSec, laterSec);
    expect(await codes()).toEqual(["clock_ahead"]);
  });

  it("may be so late that the login has expired, and the loop is gone", async () => {
    const now = new Date().toISOString();
    const daemon = { pid: process.pid, host: "another", boot_id: "b", pid_namespace: null, start_ticks: null };
    const status = { watchdog_last_run_iso: now, next_check_at: now, daemon };
    writeFileSync(join(home.path, "auth_refresh_status.json"), JSON.stringify(status));
    expect(await codes({ nowMs: Date.now() + 60_000 })).toEqual([]);
    expect(await codes({ nowMs: Date.now() + 6 * DAY_MS })).toEqual(["access_token_expired", "daemon_down"]);
  });

  it("may have forgotten a login", async () => {
    const options = { expiresInSec: 1_200 };
    home.writeAuth(makeAuthJson({ ...makeTokens(options), refresh_token: makeRefreshToken() }));
    expect(await codes()).toEqual(["refresh_overdue"]);
  });
});

describe("as a program of its own", () => {
  let directory: string;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "watchdog-doctor-"));
    chmodSync(directory, 0o755);
    const source = fileURLToPath(new URL("../../src/cli/doctor.ts", import.meta.url));
    const contents = `import { doctor } from ${JSON.stringify(source)};
      doctor({ codexHomes: process.argv.slice(2), isJson: true, env: process.env, nowMs: Date.now(), isTerminal: false })
        .then(({ text }) => process.stdout.write(text));`;
    const stdin = { contents, resolveDir: directory };
    await build({ stdin, bundle: true, platform: "node", format: "cjs", outfile: join(directory, "doctor.cjs") });
  });

  afterEach(() => rmSync(directory, { recursive: true }));

  const codesOf = ({ stdout }: RunResult): string[] =>
    (JSON.parse(stdout) as { findings: Finding[] }).findings.map(({ code }) => code);

  it.runIf(isRoot)("sees as much as its user may, and ends well", async () => {
    const doctorAs = async (uid: number): Promise<string[]> =>
      codesOf(await start(NODE_PATH, [join(directory, "doctor.cjs"), home.path], { uid, cwd: "/" }).ended);
    expect(await doctorAs(AGENT)).toEqual(["not_writable", "unreadable_auth_json"]); // The directory is closed to it.
    chmodSync(home.path, 0o755);
    chmodSync(home.authJsonPath, 0o644);
    expect(await doctorAs(AGENT)).toEqual(["not_writable", "owner_differs", "too_open"]);
    for (const path of [home.path, home.authJsonPath]) chownSync(path, AGENT, AGENT);
    expect(await doctorAs(AGENT)).toEqual(["too_open"]);
  });

  it.runIf(hasStrace)(
    "opens nothing to create it, changes no name, takes no lock and opens no connection",
    async () => {
      const trace = join(directory, "trace");
      const calls = "trace=file,network,flock,fcntl,ftruncate,fchmod,fchown,write,pwrite64";
      const command = [NODE_PATH, join(directory, "doctor.cjs"), home.path];
      const result = await start("strace", ["-f", "-y", "-o", trace, "-e", calls, ...command]).ended;
      expect(codesOf(result)).toEqual([]);
      const lines = readFileSync(trace, "utf8").split("\n");
      expect(lines.some((line) => line.includes(home.authJsonPath))).toBe(true);
      const changes = lines.filter((line) => {
        if (/\b(O_CREAT|O_TRUNC|F_SETLKW?|F_OFD_SETLKW?)\b|\b(flock|connect|sendto|bind|listen)\(/.test(line))
          return true;
        if (/\b(rename|unlink|mkdir|rmdir|symlink|link|chmod|chown|utime|utimensat|mknod)\w*\(/.test(line)) return true;
        return line.includes(home.path) && /\b(write|pwrite64|ftruncate|fchmod|fchown)\(/.test(line);
      });
      expect(changes).toEqual([]);
    },
  );
});
