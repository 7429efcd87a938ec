import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FleetScene } from "../support/fleet.js";
import type { PostgresServer } from "../support/postgres.js";
import type { Running, RunResult } from "../support/program.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { TokenServer } from "../support/token-server.js";
import type { Fate, Trial } from "./row.js";

/** After a disturbed run its host, and then another one, has this many runs to put it right. */
const MAX_RECOVERIES = 3;

/** A login in a database that is due, two hosts, and the network between them and the database. */
export class FleetTrial {
  readonly fleet: FleetScene;
  readonly tokenServer: TokenServer;
  readonly proxy: TcpProxy;

  private constructor(fleet: FleetScene, tokenServer: TokenServer, proxy: TcpProxy) {
    this.fleet = fleet;
    this.tokenServer = tokenServer;
    this.proxy = proxy;
  }

  static async open(server: PostgresServer): Promise<FleetTrial> {
    const tokenServer = await TokenServer.start();
    const fleet = await FleetScene.open(server, tokenServer);
    await fleet.logIn();
    const proxy = await startTcpProxy(server.port);
    fleet.port = proxy.port;
    return new FleetTrial(fleet, tokenServer, proxy);
  }

  async close(): Promise<void> {
    await this.proxy.stop();
    await this.tokenServer.stop();
    this.fleet.remove();
  }

  start(host: string, env: Record<string, string> = {}): Running {
    return this.fleet.start(host, ["--once"], "codex_owner", env);
  }

  async run(host: string, env: Record<string, string> = {}): Promise<RunResult> {
    return await this.start(host, env).ended;
  }

  /** Calls back at the n-th thing that the first host says to the database, and does with it what that says. */
  atWord(count: number, act: () => "forward" | "cut" | "cut-answer" | "hold"): void {
    let seen = 0;
    this.proxy.onClientBytes = () => {
      seen += 1;
      return seen === count ? act() : "forward";
    };
  }

  /** The network is whole again. */
  async mend(): Promise<void> {
    this.proxy.onClientBytes = null;
    this.tokenServer.onPost = null;
    await this.proxy.set("pass");
    this.proxy.cut();
  }

  /** Looks at what a disturbed run has left, lets its host and then another one put it right, and says how it ended. */
  async judge(what: string, defect: string | null): Promise<Trial> {
    await this.mend();
    const isKept = await this.#isGood();
    const isWindow = !isKept && !this.#isNewestOnDisk("a");
    const codes: (number | null)[] = [];
    for (const host of ["a", "b"]) {
      for (let tries = 0; tries < MAX_RECOVERIES && !(await this.#isDone(host)); tries += 1) {
        codes.push((await this.run(host)).code);
        // A token that was refused stays so: only a person can help.
        if (codes.at(-1) === 3) break;
      }
    }
    const isGood = await this.#isGood();
    const fate: Fate = isKept ? "kept" : isGood ? "recovered" : isWindow ? "window" : "lost";
    const isReused = this.tokenServer.reuseCount > 0 && !isWindow;
    const note = `${what}: ${fate}${codes.length === 0 ? "" : `, then exit ${codes.join(", ")}`}`;
    return {
      fate,
      posts: this.tokenServer.posts.length,
      defect: defect ?? (isReused ? "a spent token was presented" : null),
      note,
    };
  }

  /** Whether nothing is left to do for this host: it found the login fresh. */
  async #isDone(host: string): Promise<boolean> {
    const tickets = readdirSync(this.fleet.home(host)).filter((name) => name.endsWith(".ticket"));
    return tickets.length === 0 && this.tokenServer.newestToken !== null && (await this.#isGood());
  }

  async #isGood(): Promise<boolean> {
    return this.tokenServer.isActive(await this.fleet.storedRefreshToken());
  }

  /** Whether the newest refresh token lies in a journal: what is stored is asked for elsewhere. */
  #isNewestOnDisk(host: string): boolean {
    const { newestToken } = this.tokenServer;
    if (newestToken === null) return true;
    const home = this.fleet.home(host);
    return readdirSync(home)
      .filter((name) => name.endsWith(".ticket"))
      .some((name) => {
        const text = readFileSync(join(home, name), "utf8");
        const pieces = [...text.matchAll(/"base64":"([^"]*)"/g)].map(([, piece = ""]) => Buffer.from(piece, "base64"));
        return Buffer.concat(pieces).includes(newestToken);
      });
  }
}
