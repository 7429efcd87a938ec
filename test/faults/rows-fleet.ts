import { writeFileSync } from "node:fs";
import { type PostgresServer, startPostgres } from "../support/postgres.js";
import { FleetTrial } from "./fleet-scene.js";
import type { Depth, Row, Trial } from "./row.js";
import { inTurn, misbehaviour, sleep, spread } from "./scene.js";

type Body = (trial: FleetTrial, server: PostgresServer) => Promise<Trial>;

/** A row of trials on one server, which is started for it. */
function fleetRow(name: string, list: (words: number, depth: Depth) => readonly Body[], workers = 2): Row {
  return {
    name: `a fleet: ${name}`,
    needs: [],
    isComparable: false,
    run: async (_subject, depth) => {
      const server = await startPostgres(18);
      try {
        const bodies = list(await countWords(server), depth);
        return await inTurn(
          bodies.map((body) => () => onTrial(server, body)),
          workers,
        );
      } finally {
        await server.stop();
      }
    },
  };
}

async function onTrial<T>(
  server: PostgresServer,
  body: (trial: FleetTrial, server: PostgresServer) => Promise<T>,
): Promise<T> {
  const trial = await FleetTrial.open(server);
  try {
    return await body(trial, server);
  } finally {
    await trial.close();
  }
}

/** How often an undisturbed refresh says something to the database: connecting, asking, and taking its leave. */
async function countWords(server: PostgresServer): Promise<number> {
  return await onTrial(server, async (trial) => {
    let words = 0;
    trial.proxy.onClientBytes = () => {
      words += 1;
      return "forward";
    };
    await trial.run("a");
    return words;
  });
}

function numbers(count: number, depth: Depth, few: number): readonly number[] {
  const all = Array.from({ length: count }, (_none, index) => index + 1);
  return depth === "full" ? all : spread(all, few);
}

/** The first host dies when it has just said its n-th word, which is heard or not. */
function killed(count: number, isHeard: boolean): Body {
  return async (trial) => {
    const owner = trial.start("a");
    trial.atWord(count, () => {
      owner.child.kill("SIGKILL");
      return isHeard ? "forward" : "cut";
    });
    const result = await owner.ended;
    const defect = result.signal === "SIGKILL" ? null : misbehaviour(result);
    return await trial.judge(`killed at word ${count}, ${isHeard ? "heard" : "unheard"}`, defect);
  };
}

function killedAtPost(delayMs: number): Body {
  return async (trial) => {
    trial.tokenServer.always({ delayMs: 40 });
    const owner = trial.start("a");
    trial.tokenServer.onPost = () => {
      setTimeout(() => owner.child.kill("SIGKILL"), delayMs);
    };
    await owner.ended;
    trial.tokenServer.always(null);
    return await trial.judge(`killed ${delayMs} ms after its request`, null);
  };
}

function cut(count: number, action: "cut" | "cut-answer" | "hold"): Body {
  return async (trial) => {
    trial.atWord(count, () => action);
    const result = await trial.run("a");
    return await trial.judge(`${action} at word ${count}: exit ${result.code}`, misbehaviour(result));
  };
}

/** The database is away from the request on, for a while, and its network is bad in one of three ways. */
function awayAfterPost(mode: "reset" | "stall" | "drop" | "refuse", isBefore: boolean): Body {
  return async (trial) => {
    trial.tokenServer.always({ delayMs: 30 });
    trial.tokenServer.onPost = async () => {
      if (!isBefore) await sleep(25);
      await trial.proxy.set(mode);
      if (mode === "refuse") trial.proxy.cut();
    };
    const result = await trial.run("a");
    return await trial.judge(
      `${mode} ${isBefore ? "from" : "during"} the request: exit ${result.code}`,
      misbehaviour(result),
    );
  };
}

function databaseKilled(count: number): Body {
  return async (trial, server) => {
    let restarted = Promise.resolve();
    const bounce = async (): Promise<void> => {
      await server.kill();
      await sleep(100);
      await server.restart();
    };
    if (count === 0) {
      trial.tokenServer.onPost = () => {
        restarted = bounce();
      };
    } else {
      trial.atWord(count, () => {
        restarted = bounce();
        return "forward";
      });
    }
    const result = await trial.run("a");
    await restarted;
    return await trial.judge(`database killed at word ${count}: exit ${result.code}`, misbehaviour(result));
  };
}

/** The first host stops just before its token leaves, for longer than the others wait; then it wakes. */
const stoppedOverTakeOver: Body = async (trial) => {
  const owner = trial.start("a");
  const isStopped = new Promise<void>((resolve) => {
    trial.proxy.onClientBytes = (bytes) => {
      if (!bytes.includes("set dispatched_at")) return "forward";
      owner.child.kill("SIGSTOP");
      resolve();
      return "hold";
    };
  });
  await isStopped;
  trial.proxy.onClientBytes = null;
  // Whoever has noted a request and not said that it left is waited for this long: 45 s.
  const codes: (number | null)[] = [];
  for (const untilMs = Date.now() + 100_000; Date.now() < untilMs && codes.at(-1) !== 0; )
    codes.push((await trial.run("b")).code);
  await trial.proxy.set("pass");
  owner.child.kill("SIGCONT");
  const woken = await owner.ended;
  const posts = trial.tokenServer.posts.length;
  const defect = posts === 1 ? misbehaviour(woken) : `${posts} requests`;
  return await trial.judge(
    `stopped while another took over (exit ${codes.join(", ")}), then exit ${woken.code}`,
    defect,
  );
};

/** Owners on hosts whose clocks are hours apart, all at once. */
const clocksApart: Body = async (trial) => {
  const hours = [-100_000, -12, -1, 0, 1, 12, 100_000];
  const runs = hours.map(async (each) => {
    const preload = trial.fleet.path(`clock${each}.cjs`);
    writeFileSync(preload, `const now = Date.now; Date.now = () => now() + ${each * 3_600_000};`);
    return (await trial.run(`host${each}`, { NODE_OPTIONS: `--require ${preload}` })).code;
  });
  const codes = await Promise.all(runs);
  const isOne = codes.filter((code) => code === 0).length === 1 && codes.every((code) => code === 0 || code === 1);
  return await trial.judge(`clocks apart: exit ${codes.join(", ")}`, isOne ? null : `exit ${codes.join(", ")}`);
};

/** The login, or all tables, as they were before the refresh. Nothing is presented then: a new login is what helps. */
function playedBack(tables: readonly string[], host: "a" | "b"): Body {
  return async (trial, server) => {
    const { database } = trial.fleet;
    for (const table of tables) await server.query(`create table old_${table} as table codex_auth.${table}`, database);
    await trial.run("a");
    for (const table of tables) {
      const sql = `delete from codex_auth.${table}; insert into codex_auth.${table} select * from old_${table}`;
      await server.query(sql, database);
    }
    const { code } = await trial.run(host);
    const posts = trial.tokenServer.posts.length;
    await trial.fleet.logIn();
    const defect = posts === 1 && (code === 2 || code === 3) ? null : `exit ${code}, ${posts} requests`;
    return await trial.judge(`${tables.join(" and ")} played back: exit ${code}`, defect);
  };
}

export const FLEET_ROWS: readonly Row[] = [
  fleetRow("kill -9 at each word to the database, heard and unheard", (words, depth) => [
    ...numbers(words, depth, 2).flatMap((count) => [killed(count, true), killed(count, false)]),
  ]),
  fleetRow("kill -9 while the request is on its way, and right after it", (_words, depth) =>
    numbers(depth === "full" ? 20 : 2, "full", 0).map((count) => killedAtPost(count * 8)),
  ),
  fleetRow("the network breaks at each word, or loses the answer to it", (words, depth) =>
    numbers(words, depth, 2).flatMap((count) => [cut(count, "cut"), cut(count, "cut-answer")]),
  ),
  // Each of them waits for its time to be up.
  fleetRow(
    "the network swallows everything from each word on",
    (words, depth) => numbers(words, depth, 2).map((count) => cut(count, "hold")),
    6,
  ),
  fleetRow(
    "the database is out of reach from the request on, in four ways",
    (_words, depth) =>
      (depth === "full" ? [true, false] : [true]).flatMap((isBefore) =>
        (depth === "full" ? (["reset", "stall", "drop", "refuse"] as const) : (["reset"] as const)).map((mode) =>
          awayAfterPost(mode, isBefore),
        ),
      ),
    4,
  ),
  fleetRow(
    "the database is killed at each word and during the request, and comes back",
    (words, depth) => [0, ...numbers(words, depth, 2)].map(databaseKilled),
    1,
  ),
  fleetRow("an owner is stopped until another has taken over, and wakes", (_words, depth) =>
    depth === "full" ? [stoppedOverTakeOver, stoppedOverTakeOver] : [stoppedOverTakeOver],
  ),
  fleetRow("seven owners at once whose clocks are up to eleven years apart", (_words, depth) =>
    Array.from({ length: depth === "full" ? 10 : 1 }, () => clocksApart),
  ),
  fleetRow("an old backup is played back", () => [
    playedBack(["credential"], "a"),
    playedBack(["credential"], "b"),
    playedBack(["credential", "spend"], "a"),
  ]),
];
