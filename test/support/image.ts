import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { NODE_PATH, type Running, type RunResult, start } from "./program.js";

const CONTEXT = fileURLToPath(new URL("../..", import.meta.url));
const SNIPPET = join(CONTEXT, "Dockerfile.snippet");
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const NEEDED = ["unshare", "mount", "chroot", "setpriv"];

/** Directories of this machine that the image sees, read-only but for the devices. */
const BORROWED = ["usr", "bin", "lib", "lib64", "sbin", "proc", "dev"];

/** gosu's job, done with util-linux: becomes the agent, with its home. */
const GOSU = `#!/bin/sh
[ "$1" = agent ] || { echo "gosu: no user $1" >&2; exit 1; }
shift
HOME=/home/agent exec setpriv --reuid=1000 --regid=1000 --clear-groups "$@"
`;

/** Mounts what is borrowed, then runs the rest in the root given as $1; the mounts go when the last process does. */
const ENTER = `
root=$1; shift
for name in ${BORROWED.join(" ")}; do
  if [ ! -L "/$name" ] && [ -d "/$name" ]; then
    case $name in dev | proc) how=--rbind ;; *) how="--rbind -o ro" ;; esac
    mount $how "/$name" "$root/$name"
  fi
done
mount --bind "$root.local" "$root/usr/local"
exec chroot "$root" "$@"
`;

export const AGENT = 1000;

export interface Instruction {
  readonly name: string;
  readonly value: string;
}

/** The instructions of Dockerfile.snippet in order: comments dropped, continued lines joined. */
export function readInstructions(): Instruction[] {
  const lines = readFileSync(SNIPPET, "utf8").split("\n");
  const text = lines.filter((line) => !line.startsWith("#")).join("\n");
  return text
    .replaceAll("\\\n", "")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, name, value] = /^([A-Z]+) +(.+)$/.exec(line) ?? [];
      if (name === undefined || value === undefined) throw new Error(`Dockerfile.snippet: can't read the line ${line}`);
      return { name, value };
    });
}

/** The lines that Dockerfile.snippet gives for start.sh. */
export function readStartLines(): string {
  const [, lines] =
    /^# --- start\.sh ---\n(.+)^# --- end of start\.sh ---$/ms.exec(readFileSync(SNIPPET, "utf8")) ?? [];
  if (lines === undefined) throw new Error("Dockerfile.snippet: no lines between its two marks for start.sh");
  return lines.replaceAll(/^# ?/gm, "");
}

/**
 * A root directory like a container's of node:20-slim with gosu and an agent, in which commands run literally:
 * by chroot in a mount namespace of their own, since there is no container engine here. Needs root.
 */
export class Image {
  /** The image's root directory, as seen from outside. */
  readonly root: string;
  readonly #holder: string;
  readonly #env: Record<string, string> = {};
  #healthcheck = "";

  constructor() {
    this.#holder = mkdtempSync(join(tmpdir(), "watchdog-image-"));
    chmodSync(this.#holder, 0o755);
    this.root = join(this.#holder, "root");
    for (const name of ["etc", "opt", "root", "run", "home", "tmp"])
      mkdirSync(join(this.root, name), { recursive: true });
    chmodSync(this.path("tmp"), 0o1777);
    for (const name of BORROWED) {
      const found = lstatSync(`/${name}`, { throwIfNoEntry: false });
      if (found?.isSymbolicLink()) cpSync(`/${name}`, this.path(name), { verbatimSymlinks: true });
      else mkdirSync(this.path(name));
    }
    writeFileSync(this.path("etc/passwd"), "root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::/home/agent:/bin/sh\n");
    writeFileSync(this.path("etc/group"), "root:x:0:\nagent:x:1000:\n");
    mkdirSync(this.path("home/agent"));
    chownSync(this.path("home/agent"), AGENT, AGENT);
    mkdirSync(join(this.#local, "bin"), { recursive: true });
    copyFileSync(NODE_PATH, join(this.#local, "bin/node"));
    writeFileSync(join(this.#local, "bin/gosu"), GOSU, { mode: 0o755 });
  }

  /** /usr/local of the image. */
  get #local(): string {
    return `${this.root}.local`;
  }

  /** A path of the image, as seen from outside; not for what lies in /usr. */
  path(inside: string): string {
    return join(this.root, inside);
  }

  /** Carries out the snippet's instructions as an image build does, and ends at the first RUN that fails. */
  async build(): Promise<RunResult[]> {
    const results: RunResult[] = [];
    for (const instruction of readInstructions()) {
      const result = await this.#carryOut(instruction);
      if (result !== null) results.push(result);
      if (result !== null && result.code !== 0) break;
    }
    return results;
  }

  /** Starts a shell command in the image as root, with the image's environment. */
  start(command: string, env: Readonly<Record<string, string>> = {}): Running {
    const enter = ["--mount", "--propagation", "private", "/bin/sh", "-euc", ENTER, "enter", this.root];
    return start("unshare", [...enter, "/bin/sh", "-c", command], {
      env: { PATH, HOME: "/root", ...this.#env, ...env },
    });
  }

  async run(command: string, env: Readonly<Record<string, string>> = {}): Promise<RunResult> {
    return await this.start(command, env).ended;
  }

  /** What the engine does now and then while a container runs. */
  async checkHealth(): Promise<RunResult> {
    return await this.run(this.#healthcheck);
  }

  /** Every path that the image itself holds, sorted. */
  list(): string[] {
    return [this.root, this.#local].flatMap((from) => readdirSync(from, { recursive: true, encoding: "utf8" })).sort();
  }

  remove(): void {
    const mounted = readdirSync(this.path("usr")).filter((name) => name !== "local");
    if (mounted.length > 0) throw new Error(`${this.root}/usr is still mounted; not removed`);
    rmSync(this.#holder, { recursive: true, force: true });
  }

  async #carryOut({ name, value }: Instruction): Promise<RunResult | null> {
    switch (name) {
      case "COPY": {
        const [from = "", to = "", ...more] = value.split(/\s+/);
        if (more.length > 0 || from.startsWith("-"))
          throw new Error(`Dockerfile.snippet: can't carry out COPY ${value}`);
        cpSync(join(CONTEXT, from), this.path(to), { recursive: true });
        return null;
      }
      case "ENV": {
        const [, key, text] = /^(\w+)=(\S+)$/.exec(value) ?? [];
        if (key === undefined || text === undefined)
          throw new Error(`Dockerfile.snippet: can't carry out ENV ${value}`);
        this.#env[key] = text;
        return null;
      }
      case "RUN":
        return await this.run(value);
      case "HEALTHCHECK": {
        const [, words] = /^(?:--[\w=-]+ +)*CMD +(\[.+\])$/.exec(value) ?? [];
        this.#healthcheck = (JSON.parse(words ?? "[]") as string[]).map((word) => `'${word}'`).join(" ");
        return null;
      }
      default:
        throw new Error(`Dockerfile.snippet: this test can't carry out ${name}`);
    }
  }
}

/** Says in one line what this machine lacks for images. */
export function requireTools(): void {
  if (process.getuid?.() !== 0) throw new Error("the container test needs root: it mounts, and becomes another user");
  for (const tool of NEEDED) {
    try {
      execFileSync("sh", ["-c", `command -v ${tool}`], { stdio: "ignore" });
    } catch {
      throw new Error(`the container test needs ${tool} (Debian packages util-linux, mount, coreutils)`);
    }
  }
}
