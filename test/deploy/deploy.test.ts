import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MAX_WAIT_MS } from "../../src/adapters/codex-locks.js";
import { parseDurationSec } from "../../src/cli/duration.js";
import { REQUEST_DEADLINE_MS } from "../../src/core/ticket.js";
import { SETTLE_MS } from "../../src/reading.js";
import {
  type Call,
  collectCalls,
  type Fields,
  hasTool,
  listDeployments,
  objectsWith,
  readCron,
  readDeployment,
  readUnit,
  readYaml,
  unitValues,
} from "../support/deployments.js";
import { Home } from "../support/home.js";
import { AGENT, requireTools } from "../support/image.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import {
  copyProgram,
  NODE_PATH,
  PROGRAM_PATH,
  runProgram,
  start,
  startProgram,
  waitUntil,
} from "../support/program.js";
import { DASHBOARD, RULE_TESTS, RULES } from "../support/prometheus.js";
import { TokenServer } from "../support/token-server.js";

const DAEMON = "systemd/codex-auth-watchdog.service";
const ONCE = "systemd/codex-auth-watchdog-once.service";
const TIMER = "systemd/codex-auth-watchdog-once.timer";
const UNITS = [DAEMON, ONCE, TIMER];
const YAML = ["compose.yaml", "kubernetes.yaml", "fleet/compose.yaml", "fleet/kubernetes.yaml"];

/**
 * How long a TERM in the worst moment takes: the request that has just begun, Codex's two locks held by one that
 * hangs, and a file that another program is writing.
 */
const LONGEST_STOP_SEC = (REQUEST_DEADLINE_MS + 2 * MAX_WAIT_MS + SETTLE_MS) / 1000;

interface Ending {
  readonly code: number;
  readonly when: string;
  /** Brings it about; gives what the environment needs for it. */
  readonly arrange: () => Readonly<Record<string, string>>;
}

/** Each way in which one run can end. */
const ENDINGS: readonly Ending[] = [
  { code: 0, when: "a login is refreshed", arrange: () => writeDueLogin() },
  { code: 1, when: "there is no login", arrange: () => ({}) },
  {
    code: 2,
    when: "the server is busy",
    arrange: () => {
      server.always({ status: 503 });
      return writeDueLogin();
    },
  },
  {
    code: 3,
    when: "the login is rejected",
    arrange: () => {
      server.always({ status: 401, body: { error: { code: "refresh_token_expired" } } });
      return writeDueLogin();
    },
  },
  {
    code: 4,
    when: "the new tokens can't be saved",
    arrange: () => {
      server.script({ beforeAnswer: () => home.writeAuth("{") });
      return writeDueLogin();
    },
  },
  { code: 64, when: "a setting can't be read", arrange: () => ({ CODEX_AUTH_REFRESH_INTERVAL_SECONDS: "soon" }) },
];

const EACH_ENDING = ENDINGS.map((ending): [string, Ending] => [`exit ${ending.code} when ${ending.when}`, ending]);

let server: TokenServer;
let home: Home;
let folder: string;

beforeEach(async () => {
  server = await TokenServer.start();
  home = new Home();
  folder = mkdtempSync(join(tmpdir(), "watchdog-deploy-"));
});

afterEach(async () => {
  await server.stop();
  home.remove();
  rmSync(folder, { recursive: true, force: true });
});

function writeDueLogin(): Readonly<Record<string, string>> {
  home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));
  return {};
}

function env(): Record<string, string> {
  return { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url };
}

describe("every deployment", () => {
  it.each(YAML)("%s is YAML that its parser has nothing against", (file) => {
    const { documents, complaints } = readYaml(file);

    expect(complaints).toEqual([]);
    expect(documents.length).toBeGreaterThan(0);
  });

  it.each([
    [DAEMON, () => unitValues(DAEMON, "TimeoutStopSec")],
    [ONCE, () => unitValues(ONCE, "TimeoutStopSec")],
    ["compose.yaml", () => valuesOf("stop_grace_period", "compose.yaml")],
    ["kubernetes.yaml", () => valuesOf("terminationGracePeriodSeconds", "kubernetes.yaml")],
  ])("%s lets a refresh that has begun be saved before it kills", (_, readGraces) => {
    const graces = readGraces().map((grace) => parseDurationSec(String(grace)));

    expect(graces.length).toBeGreaterThan(0);
    for (const grace of graces) expect(grace).toBeGreaterThan(LONGEST_STOP_SEC);
  });

  it.each(YAML)("%s mounts the directory CODEX_HOME, never a file in it", (file) => {
    const containers = containersOf(file);

    expect(containers.length).toBeGreaterThan(0);
    for (const { name, home, mounts } of containers) {
      expect(home, name).toMatch(/^\/.*\/\.codex$/);
      expect(mounts, name).toContain(home);
    }
    expect(readDeployment(file)).not.toMatch(/^[^#\n]*(auth\.json|subpath)/im);
  });

  it("leaves no core dump of the process with the tokens", () => {
    for (const file of [DAEMON, ONCE]) expect(unitValues(file, "LimitCORE"), file).toEqual(["0"]);
    expect(valuesOf("core", "compose.yaml")).toEqual([0]);
    const limitedFirst = /ulimit -c 0; .*codex-auth-watchdog/;
    expect(readCron().command).toMatch(limitedFirst);
    expect(sidecar()["command"]).toEqual(["/bin/sh", "-c", expect.stringMatching(limitedFirst)]);
  });

  it("is told of in the README, which tells of no other", () => {
    const links = [...readDeployment("README.md").matchAll(/\]\(([^)]+)\)/g)].map(([, to]) => to);

    const own = links.filter((to) => !to?.startsWith("../"));
    expect(new Set(own)).toEqual(new Set(listDeployments().filter((file) => file !== "README.md")));
  });
});

describe("a command line in deploy/", () => {
  const calls = collectCalls();
  const named = (list: readonly Call[]): [string, Call][] =>
    list.map((call) => [`codex-auth-watchdog ${call.words.join(" ")} (${call.file})`, call]);

  it("stands in each file that starts the program", () => {
    const others = ["README.md", TIMER, RULES, RULE_TESTS, DASHBOARD];
    const files = listDeployments().filter((file) => !others.includes(file) && !file.startsWith("fleet/"));
    expect(new Set(calls.map(({ file }) => file))).toEqual(new Set(files));
  });

  it.each(named(calls))("does what it is there for: %s", async (_, call) => {
    await expectToWork(call);
  });
});

describe("the cron line", () => {
  it.each(EACH_ENDING)("says nothing unless a person is needed: %s", async (_, { code, arrange }) => {
    const result = await runCronLine({ ...arrange(), ...env() });

    if (code <= 2) expect(result).toEqual({ code: 0, signal: null, stdout: "", stderr: "" });
    else expect(result).toMatchObject({ code, stdout: expect.stringMatching(/\S/) });
  });

  it("tells again of a rejection that is remembered, without asking the server", async () => {
    home.writeAuth(makeAuthJson(makeTokens()));
    await runCronLine(env());

    const { code, stdout } = await runCronLine(env());

    expect({ code, posts: server.posts.length }).toEqual({ code: 3, posts: 1 });
    expect(stdout).toContain("remembered");
  });

  it("tells of a program that is not there", async () => {
    const { code, stdout } = await runCronLine(env(), false);

    expect(code).toBe(127);
    expect(stdout).toContain("not found");
  });

  it("waits a little before it runs, never more than a few minutes", async () => {
    await runCronLine(env());

    const [seconds = "", ...more] = readFileSync(join(folder, "slept"), "utf8").trim().split("\n");
    expect(more).toEqual([]);
    expect(seconds).toMatch(/^\d+$/);
    expect(Number(seconds)).toBeLessThanOrEqual(300);
  });

  it("runs every hour, and holds no % that cron would make a line break of", () => {
    const { schedule, command } = readCron();
    expect(schedule).toMatch(/^\d+ \* \* \* \*$/);
    expect(command).not.toContain("%");
  });
});

describe("the systemd units", () => {
  it.each(EACH_ENDING)("fail only when a person is needed: %s", async (_, { code, arrange }) => {
    const [{ words } = { words: [] }] = collectCalls().filter(({ file }) => file === ONCE);

    const result = await runProgram({ args: words, env: { ...arrange(), ...env() } });

    const good = ["0", ...unitValues(ONCE, "SuccessExitStatus").flatMap((value) => value.split(" "))];
    expect(result.code).toBe(code);
    expect(good.includes(String(result.code))).toBe(code <= 2);
  });

  it("lock both services up alike", () => {
    const own = ["Type", "ExecStart", "Restart", "RestartSec", "RestartPreventExitStatus", "SuccessExitStatus"];
    const shared = (file: string): string[] =>
      readUnit(file)
        .filter(({ section, key }) => section === "Service" && !own.includes(key))
        .map(({ key, value }) => `${key}=${value}`);

    expect(shared(ONCE)).toEqual(shared(DAEMON));
    expect(shared(DAEMON)).toEqual(expect.arrayContaining(["UMask=0077", "KillMode=mixed"]));
  });

  it("let the program write in CODEX_HOME", () => {
    const [, directory = ""] = /^CODEX_HOME=(.+)$/.exec(unitValues(DAEMON, "Environment")[0] ?? "") ?? [];
    const writable = unitValues(DAEMON, "ReadWritePaths");

    expect(directory).toMatch(/^\/./);
    expect(writable.some((path) => `${directory}/`.startsWith(`${path}/`))).toBe(true);
  });

  describe.skipIf(!hasTool("systemd-analyze"))("(these need systemd-analyze: apt-get install systemd)", () => {
    it("have nothing that systemd-analyze verify complains about", () => {
      for (const file of UNITS) {
        // It looks whether the program is there.
        const text = readDeployment(file).replaceAll("/usr/local/bin/codex-auth-watchdog", PROGRAM_PATH);
        writeFileSync(join(folder, file.replace("systemd/", "")), text);
      }
      const paths = readdirSync(folder).map((name) => join(folder, name));

      const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", ...paths], {
        encoding: "utf8",
      });

      expect(paths).toHaveLength(UNITS.length);
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
    });

    it("have the timer run every hour", () => {
      const [expression = ""] = unitValues(TIMER, "OnCalendar");
      const { stdout } = spawnSync("systemd-analyze", ["calendar", expression], { encoding: "utf8" });
      expect(stdout).toMatch(/Normalized form: \*-\*-\* \*:00:00\n/);
    });

    it("allow every system call of a refresh", async () => {
      writeDueLogin();
      const trace = join(folder, "trace");

      const { code } = await start("strace", ["-f", "-qq", "-o", trace, NODE_PATH, PROGRAM_PATH, "--once"], {
        env: env(),
      }).ended;

      const called = [...readFileSync(trace, "utf8").matchAll(/^\d+ +(\w+)\(/gm)].map(([, name = ""]) => name);
      const allowed = systemCalls(unitValues(ONCE, "SystemCallFilter").join(" "));
      expect(code).toBe(0);
      // The third is flock(1)'s own: what the program starts was traced as well.
      expect(called).toEqual(expect.arrayContaining(["connect", "fsync", "flock", "rename"]));
      expect([...new Set(called)].filter((name) => !allowed.has(name))).toEqual([]);
    });
  });
});

describe("the sandboxes", () => {
  it("leave the daemon what it needs: CODEX_HOME, /tmp, and the agent's rights without any capability", async () => {
    requireTools();
    const program = copyProgram(mkdirIn(folder, "program"));
    chmodSync(folder, 0o755);
    writeDueLogin();
    for (const path of [home.path, home.authJsonPath]) chownSync(path, AGENT, AGENT);
    const lockUp = `
      mount --bind "$1" "$1"
      mount -o remount,bind,ro /
      shift
      exec setpriv --reuid=${AGENT} --regid=${AGENT} --clear-groups --no-new-privs --bounding-set=-all "$@"`;

    const enter = ["--mount", "--propagation", "private", "/bin/sh", "-euc", lockUp, "lock-up", home.path];
    const locked = [...enter, NODE_PATH, program];
    const { ended, child, stderr } = start("unshare", locked, { env: env() });
    await waitUntil("the refresh", () => stderr().includes("refresh: ok") || child.exitCode !== null);
    child.kill("SIGTERM");

    expect(await ended).toMatchObject({ code: 0, signal: null });
    expect(server.isActive(home.readRefreshToken())).toBe(true);
    expect(home.readStatus()).toMatchObject({ state: "ok" });
    // That the root was read-only at all.
    const touch = await start("unshare", [...enter, "touch", join(folder, "new")]).ended;
    expect(touch.stderr).toContain("Read-only file system");
  });
});

describe("compose.yaml and kubernetes.yaml", () => {
  it("probe the port that the sidecar listens on, at an address that the kubelet reaches", () => {
    const { command, ports, livenessProbe, readinessProbe } = sidecar();
    const [, host, port] = /--http (\S+):(\d+)/.exec((command as string[]).join(" ")) ?? [];

    expect(host).toBe("0.0.0.0");
    expect(ports).toEqual([{ name: "http", containerPort: Number(port) }]);
    expect(livenessProbe).toMatchObject({ httpGet: { path: "/livez", port: "http" } });
    expect(readinessProbe).toMatchObject({ httpGet: { path: "/readyz", port: "http" } });
  });

  it("let the sidecar start before the gate, and the gate before the agent", () => {
    const [{ initContainers, containers } = { initContainers: [], containers: [] }] = objectsWith(
      "initContainers",
      readYaml("kubernetes.yaml").documents,
    );
    const [first, gate] = initContainers as Fields[];

    expect(first).toMatchObject({ name: "codex-auth-watchdog", restartPolicy: "Always" });
    expect(gate).toMatchObject({ command: ["codex-auth-watchdog", "wait", "--max", "30s"] });
    expect(gate).not.toHaveProperty("restartPolicy"); // It has to end before anything else starts.
    expect(containers).toHaveLength(1);
  });

  it("run one pod at a time, on a volume that outlives it", () => {
    const { documents } = readYaml("kubernetes.yaml");
    const [deployment] = objectsWith("replicas", documents);

    expect(deployment).toMatchObject({ replicas: 1, strategy: { type: "Recreate" } });
    const claims = documents.filter(({ kind }) => kind === "PersistentVolumeClaim").map(({ metadata }) => metadata);
    expect(valuesOf("persistentVolumeClaim", "kubernetes.yaml")).toEqual([{ claimName: "codex-home" }]);
    expect(claims).toEqual([{ name: "codex-home" }]);
  });

  it("ask the container's health of the program that runs in it", () => {
    const [service] = objectsWith("healthcheck", readYaml("compose.yaml").documents);

    expect(service).toMatchObject({
      entrypoint: ["codex-auth-watchdog"],
      healthcheck: { test: ["CMD", "codex-auth-watchdog", "status", "--exit-code"] },
    });
  });

  it("run as the agent, with a root that can't be written and no capability", () => {
    const [service] = objectsWith("healthcheck", readYaml("compose.yaml").documents);
    expect(service).toMatchObject({
      user: `${AGENT}:${AGENT}`,
      init: true,
      read_only: true,
      tmpfs: [expect.stringMatching(/^\/tmp:/)],
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
    });

    const { documents } = readYaml("kubernetes.yaml");
    const [pod] = objectsWith("runAsUser", documents);
    expect(pod).toMatchObject({ runAsNonRoot: true, runAsUser: AGENT, runAsGroup: AGENT, fsGroup: AGENT });
    const containers = objectsWith("image", documents);
    expect(containers).toHaveLength(3);
    for (const { securityContext, volumeMounts } of containers) {
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      expect((volumeMounts as Fields[]).map(({ mountPath }) => mountPath)).toContain("/tmp");
    }
  });
});

/** Runs one call on a healthy login, as long as it takes: a loop until it has started and is told to stop. */
async function expectToWork({ words }: Call): Promise<void> {
  home.writeAuth(makeAuthJson(makeTokens({ expiresInSec: 864_000 })));
  const port = await findFreePort();
  // The tests must not need a certain port of this machine.
  const args = words.map((word) => (/^0\.0\.0\.0:\d+$/.test(word) ? `127.0.0.1:${port}` : word));
  const isLoop = !/^(--once|status|wait)\b/.test(words.join(" "));
  const { ended, child, stderr } = startProgram({ args, env: env() });
  if (isLoop) {
    await waitUntil("the loop's first look", () => stderr().includes("no-op: fresh") || child.exitCode !== null);
    if (args.includes("--http")) await expect.poll(() => askProbes(port), { timeout: 20_000 }).toEqual([200, 200]);
    child.kill("SIGTERM");
  }
  const { code, signal, stderr: log } = await ended;
  expect({ code, signal, log }).toEqual({ code: words.includes("--once") ? 1 : 0, signal: null, log });
}

/** What the program answers to the kubelet's two probes. */
async function askProbes(port: number): Promise<number[]> {
  const probes = objectsWith("httpGet", readYaml("kubernetes.yaml").documents).map(({ httpGet }) => httpGet as Fields);
  const answers = probes.map(({ path }) => fetch(`http://127.0.0.1:${port}${String(path)}`));
  return (await Promise.all(answers)).map(({ status }) => status);
}

async function findFreePort(): Promise<number> {
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return address.port;
}

/** Runs the cron line's command as cron does, with a `sleep` that only notes how long it should. */
async function runCronLine(more: Readonly<Record<string, string>>, isInstalled = true) {
  const { command, env: settings } = readCron();
  const bin = mkdirIn(folder, "bin");
  symlinkSync(NODE_PATH, join(bin, "node"));
  if (isInstalled) symlinkSync(PROGRAM_PATH, join(bin, "codex-auth-watchdog"));
  writeFileSync(join(bin, "sleep"), `#!/bin/sh\necho "$1" >>'${join(folder, "slept")}'\n`, { mode: 0o755 });
  const result = await start(settings["SHELL"] ?? "", ["-c", command], {
    env: { ...settings, ...more, PATH: `${bin}:/usr/bin:/bin` },
  }).ended;
  rmSync(bin, { recursive: true });
  return result;
}

function mkdirIn(parent: string, name: string): string {
  const path = join(parent, name);
  mkdirSync(path);
  return path;
}

/** The names of the system calls in a filter: sets start with an @, and hold further ones. */
function systemCalls(filter: string): Set<string> {
  return new Set(
    filter.split(/\s+/).flatMap((name) => {
      if (!name.startsWith("@")) return [name];
      const lines = execFileSync("systemd-analyze", ["--no-pager", "syscall-filter", name], { encoding: "utf8" })
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "" && line !== name && !line.startsWith("#"));
      return [...systemCalls(lines.join(" "))];
    }),
  );
}

function valuesOf(field: string, file: string): unknown[] {
  return objectsWith(field, readYaml(file).documents).map((object) => object[field]);
}

/** The watchdog's container in kubernetes.yaml. */
function sidecar(): Fields {
  const [found] = objectsWith("restartPolicy", readYaml("kubernetes.yaml").documents);
  if (found === undefined) throw new Error("kubernetes.yaml has no sidecar");
  return found;
}

/** Of each container of a YAML file: what it has as CODEX_HOME, and where something is mounted. */
function containersOf(file: string): { name: string; home: unknown; mounts: unknown[] }[] {
  const containers = objectsWith("image", readYaml(file).documents);
  // The database's has another's image; what several share in a compose file is no container yet.
  const own = containers.filter(
    ({ image, volumes, volumeMounts }) => image !== "postgres:18" && (volumes ?? volumeMounts),
  );
  return own.map((container) => {
    const { image, env: list, environment, volumeMounts, volumes } = container;
    const told = ((list ?? []) as Fields[]).find(({ name }) => name === "CODEX_HOME");
    const home = told?.["value"] ?? (environment as Fields | undefined)?.["CODEX_HOME"];
    const mounts = ((volumeMounts ?? volumes) as Fields[]).map(({ mountPath, target }) => mountPath ?? target);
    return { name: String(image), home, mounts };
  });
}
