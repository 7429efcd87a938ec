import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import pg from "pg";
import type { Fault, FaultKind } from "../core/fault.js";
import type { Secret } from "../core/secret.js";
import type { Failed } from "../ports.js";

/** How long a connection may take, and one statement, milliseconds: a network that swallows bytes answers never. */
const CONNECT_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 15_000;

/** How long a farewell may take, milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;

/** To the channel on which the database tells of changed credentials: see `postgres-schema.ts`. */
const SUBSCRIBE = "LISTEN codex_auth";

export interface PostgresAddress {
  /** A password may be in it. */
  readonly url: Secret;
  /** `PGPASSWORD`, `PGSSLMODE` and its like; `PGPASSFILE` the library reads by itself. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export type Row = Readonly<Record<string, unknown>>;

export type QueryResult = { readonly kind: "rows"; readonly rows: readonly Row[] } | Failed;

/** One statement, and what is tried with it, as words that follow "cannot". */
export interface Statement {
  readonly step: string;
  readonly text: string;
  readonly values?: readonly unknown[];
  /** Whether it may be sent again when a connection that lay idle turns out to be dead. */
  readonly isRepeatable?: boolean;
}

/**
 * A connection to PostgreSQL that comes back by itself: each statement connects anew where that is needed.
 *
 * It needs nothing of a session, so that a proxy which pools by transaction may stand between: no prepared statements
 * with names, no settings, no locks that outlast a statement. Notices are a convenience: somebody polls behind them.
 */
export class Postgres {
  /** For people: without a password. */
  readonly shownAddress: string;
  readonly #config: pg.ClientConfig;
  readonly #sslModes: readonly SslMode[];
  #client: pg.Client | null = null;
  /** One connection is made at a time, whoever waits for it. */
  #connecting: Promise<pg.Client> | null = null;
  #onNotice: ((payload: string) => void) | null = null;

  constructor({ url, environment }: PostgresAddress) {
    const parsed = new URL(url.reveal());
    const take = (name: string, variable: string): string | null => {
      const value = parsed.searchParams.get(name) ?? environment[variable] ?? null;
      parsed.searchParams.delete(name);
      return value;
    };
    const mode = take("sslmode", "PGSSLMODE") ?? "prefer";
    const [root, cert, key] = [
      take("sslrootcert", "PGSSLROOTCERT"),
      take("sslcert", "PGSSLCERT"),
      take("sslkey", "PGSSLKEY"),
    ];
    this.#sslModes = sslModesOf(mode, { root, cert, key });
    parsed.searchParams.set("application_name", parsed.searchParams.get("application_name") ?? "codex-auth-watchdog");
    // Where there is none, the library looks into PGPASSFILE.
    if (parsed.password === "" && environment["PGPASSWORD"])
      parsed.password = encodeURIComponent(environment["PGPASSWORD"]);
    this.#config = {
      connectionString: parsed.href,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: STATEMENT_TIMEOUT_MS,
      keepAlive: true,
    };
    this.shownAddress = showAddress(parsed);
  }

  /** Runs one statement; expected failures are values. */
  async query(statement: Statement): Promise<QueryResult> {
    const isReused = this.#client !== null;
    try {
      return await this.#run(statement);
    } catch (error) {
      const fault = this.#toFault(error, statement.step);
      if (!(isReused && statement.isRepeatable === true && fault.kind === "database-away")) {
        return { kind: "failed", fault };
      }
    }
    try {
      return await this.#run(statement);
    } catch (error) {
      return { kind: "failed", fault: this.#toFault(error, statement.step) };
    }
  }

  /** Calls back for each notice from now on, as long as a connection stands that the database can tell them on. */
  listen(onNotice: (payload: string) => void): void {
    const isFirst = this.#onNotice === null;
    this.#onNotice = onNotice;
    // A connection that stands was made before anybody wanted to know. Should this fail, polling remains.
    if (isFirst) void this.#client?.query(SUBSCRIBE).catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#onNotice = null;
    const client = this.#client;
    if (client === null) return;
    this.#forget(client);
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    });
    await Promise.race([client.end().catch(() => undefined), limit]);
    clearTimeout(timer);
    destroy(client);
  }

  async #run({ text, values }: Statement): Promise<QueryResult> {
    const client = this.#client ?? (await this.#connectOnce());
    try {
      const result = await client.query(text, values === undefined ? undefined : [...values]);
      // Several statements in one text have several results; the last one counts.
      const last = Array.isArray(result) ? (result.at(-1) as pg.QueryResult) : result;
      return { kind: "rows", rows: last.rows as Row[] };
    } catch (error) {
      // After anything but a refusal by the server nobody knows what the connection is in the middle of.
      if (!(error instanceof pg.DatabaseError)) {
        this.#forget(client);
        destroy(client);
      }
      throw error;
    }
  }

  async #connectOnce(): Promise<pg.Client> {
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null;
    });
    return await this.#connecting;
  }

  async #connect(): Promise<pg.Client> {
    for (const [index, mode] of this.#sslModes.entries()) {
      const client = new pg.Client({ ...this.#config, ssl: mode === "plain" ? false : mode() });
      client.on("error", () => {
        this.#forget(client);
        destroy(client);
      });
      client.on("end", () => this.#forget(client));
      try {
        await client.connect();
      } catch (error) {
        destroy(client);
        if (index + 1 < this.#sslModes.length && isWithoutTls(error)) continue;
        throw error;
      }
      this.#client = client;
      client.on("notification", ({ payload }) => this.#onNotice?.(payload ?? ""));
      if (this.#onNotice !== null) await client.query(SUBSCRIBE);
      return client;
    }
    throw new Error("no way to connect");
  }

  #forget(client: pg.Client): void {
    if (this.#client === client) this.#client = null;
  }

  #toFault(error: unknown, step: string): Fault {
    const { code, message } = Object(error) as { code?: unknown; message?: unknown };
    const word = typeof code === "string" && /^[A-Z0-9_]{2,50}$/.test(code) ? code : wordOf(String(message));
    return { kind: kindOf(word), step, path: this.shownAddress, code: word };
  }
}

/** How to try TLS: options for it, made late because they read files, or none at all. */
type SslMode = "plain" | (() => ConnectionOptions);

interface SslFiles {
  readonly root: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

/** What libpq understands by its sslmode: https://www.postgresql.org/docs/current/libpq-ssl.html, table 32.1. */
function sslModesOf(mode: string, files: SslFiles): readonly SslMode[] {
  const read = (path: string | null): Buffer | undefined => (path === null ? undefined : readFileSync(path));
  const options = (isVerified: boolean, isNameChecked: boolean): SslMode => {
    return () => {
      const [ca, cert, key] = [read(files.root), read(files.cert), read(files.key)];
      return {
        rejectUnauthorized: isVerified,
        ...(isNameChecked ? {} : { checkServerIdentity: () => undefined }),
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
      };
    };
  };
  switch (mode) {
    case "disable":
      return ["plain"];
    case "require":
      // With a root certificate libpq verifies here too.
      return [options(files.root !== null, false)];
    case "verify-ca":
      return [options(true, false)];
    case "allow":
    case "prefer":
      return [options(false, false), "plain"];
    default:
      // verify-full; and what libpq does not know either must not connect in the clear.
      return [options(true, true)];
  }
}

function isWithoutTls(error: unknown): boolean {
  return error instanceof Error && error.message.includes("does not support SSL");
}

/** The library's own errors have no code. */
function wordOf(message: string): string {
  if (/does not support SSL/.test(message)) return "NO_TLS";
  if (/timeout/i.test(message)) return "TIMEOUT";
  if (/password must be a string|password authentication/i.test(message)) return "NO_PASSWORD";
  if (/terminated|ended|closed|not queryable/i.test(message)) return "CONNECTION_LOST";
  return "UNKNOWN";
}

const KINDS: readonly (readonly [RegExp, FaultKind])[] = [
  // SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
  [
    /^(?:08\w{3}|57P0[1-5]|TIMEOUT|CONNECTION_LOST|EAI_AGAIN|ENOTFOUND|EPIPE|ECONN\w+|ETIMEDOUT|E(?:HOST|NET)\w+)$/,
    "database-away",
  ],
  [/^(?:28\w{3}|NO_PASSWORD)$/, "database-login"],
  [/^3D000$/, "database-missing"],
  [/^42501$/, "database-role"],
  [/^42704$/, "database-no-role"],
  [/^(?:42P01|42703|3F000|42883)$/, "database-schema"],
  [/^(?:53300|53400)$/, "database-full"],
  [/^53100$/, "disk-full"],
  [/^25006$/, "database-read-only"],
  [/^(?:NO_TLS|ERR_TLS\w*|ERR_SSL\w*|\w*CERT\w*|\w*SIGNATURE\w*|UNABLE_TO\w*|ENOENT|EACCES)$/, "database-tls"],
];

function kindOf(code: string): FaultKind {
  return KINDS.find(([pattern]) => pattern.test(code))?.[1] ?? "database";
}

/** Without password, and without what nobody asks for. */
function showAddress(url: URL): string {
  const user = url.username === "" ? "" : `${url.username}@`;
  const socket = url.searchParams.get("host");
  return `postgres://${user}${url.host === "" && socket !== null ? encodeURIComponent(socket) : url.host}${url.pathname}`;
}

/** Ends a connection without a word to the other side. */
function destroy(client: pg.Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}
