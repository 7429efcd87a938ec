import { makeKey } from "../adapters/jose-sealer.js";
import { Postgres } from "../adapters/postgres.js";
import { grantsFor, migrationSql, quoteName, SCHEMA_VERSION } from "../adapters/postgres-schema.js";
import { describeFault, type Fault } from "../core/fault.js";
import type { FleetSettings } from "./fleet-options.js";
import type { CommandName } from "./option-table.js";
import type { Settings } from "./options.js";
import { getLogin, putLogin, rotateKey } from "./store-login.js";
import { tellStore } from "./store-status.js";

export type StoreCommand = Extract<CommandName, `store ${string}`>;

/** What a command on the store has to say. */
export interface StoreAnswer {
  /** For standard output. */
  readonly text: string;
  /** For standard error, line by line; empty when there is nothing. */
  readonly notes: readonly string[];
  /** 0 done · 1 nothing to do, or refused · 2 try later · 64 wrong usage. */
  readonly exitCode: 0 | 1 | 2 | 64;
}

/** Carries out one of the commands on the store in PostgreSQL. */
export async function keepStore(command: StoreCommand, settings: Settings, isTerminal: boolean): Promise<void> {
  const { fleet } = settings;
  if (fleet === null) throw new Error("a store command without its settings");
  const db = fleet.store === null ? null : new Postgres(fleet.store);
  try {
    const { text, notes, exitCode } = await answer(command, { ...settings, isTerminal }, fleet, db);
    process.stdout.write(text);
    for (const note of notes) process.stderr.write(`codex-auth-watchdog: ${note}\n`);
    process.exitCode = exitCode;
  } finally {
    await db?.close();
  }
}

async function answer(
  command: StoreCommand,
  settings: Settings & { readonly isTerminal: boolean },
  fleet: FleetSettings,
  db: Postgres | null,
): Promise<StoreAnswer> {
  if (command === "store make-key") return { text: `${makeKey().reveal()}\n`, notes: [], exitCode: 0 };
  if (db === null) return { text: allSql(fleet), notes: [], exitCode: 0 };
  switch (command) {
    case "store init":
      return await initStore(fleet, db);
    case "store put":
      return await putLogin(settings, fleet, db);
    case "store get":
      return await getLogin(fleet, db);
    case "store rotate-key":
      return await rotateKey(fleet, db);
    case "store status":
      return await tellStore(settings, fleet, db);
  }
}

export function failed(fault: Fault): StoreAnswer {
  return { text: "", notes: [describeFault(fault)], exitCode: 2 };
}

export function refused(note: string, exitCode: 1 | 2 | 64 = 1): StoreAnswer {
  return { text: "", notes: [note], exitCode };
}

async function initStore(fleet: FleetSettings, db: Postgres): Promise<StoreAnswer> {
  if (fleet.isPrint) return { text: allSql(fleet), notes: [], exitCode: 0 };
  const version = await readSchemaVersion(db);
  if (typeof version !== "number") return failed(version);
  if (version > SCHEMA_VERSION) {
    return refused(`the schema is at version ${version}, made by a newer release; this one knows ${SCHEMA_VERSION}`);
  }
  const migrated = await db.query({ step: "create the tables in", text: migrationSql() });
  if (migrated.kind === "failed") return failed(migrated.fault);
  const lines = [
    `schema codex_auth: at version ${SCHEMA_VERSION}${version < SCHEMA_VERSION ? ` (was ${version})` : ""}`,
  ];
  const roles = { owner: fleet.ownerRole, follower: fleet.followerRole };
  for (const [part, role] of Object.entries(roles)) {
    if (role === null) continue;
    const granted = await db.query({
      step: `grant the ${part}'s rights in`,
      text: grantsFor({ owner: null, follower: null, [part]: role }),
    });
    if (granted.kind === "failed") {
      const isMissing = granted.fault.kind === "database-no-role";
      const advice = `there is no database role ${role}; create it: create role ${quoteName(role)} login;`;
      // What was done stands, and is told.
      return { ...(isMissing ? refused(advice) : failed(granted.fault)), text: textOf(lines) };
    }
    lines.push(`role ${role}: may do what ${part === "owner" ? "an owner" : "a follower"} needs`);
  }
  if (fleet.ownerRole === null && fleet.followerRole === null) lines.push("", ...ADVICE, "", grantsFor(EXAMPLE_ROLES));
  return { text: textOf(lines), notes: [], exitCode: 0 };
}

function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}

/** 0 where there is nothing yet. */
async function readSchemaVersion(db: Postgres): Promise<number | Fault> {
  const text = "select coalesce(max(number), 0) as number from codex_auth.migration";
  const result = await db.query({ step: "read the schema of", text });
  if (result.kind === "rows") return Number(result.rows[0]?.["number"]);
  return result.fault.kind === "database-schema" ? 0 : result.fault;
}

const EXAMPLE_ROLES = { owner: "codex_auth_owner", follower: "codex_auth_follower" };

const ADVICE = [
  "Roles for owners and followers: create them, give them passwords with \\password in psql, then run",
  "store init --owner-role codex_auth_owner --follower-role codex_auth_follower, or these statements:",
  "",
  "create role codex_auth_owner login;",
  "create role codex_auth_follower login;",
];

function allSql({ ownerRole, followerRole }: FleetSettings): string {
  const roles = { owner: ownerRole ?? EXAMPLE_ROLES.owner, follower: followerRole ?? EXAMPLE_ROLES.follower };
  return `begin;\n${migrationSql()}\n${grantsFor(roles)}\ncommit;\n`;
}
