/** The endpoint that is built into Codex (0.130 to 0.169). */
export const TOKEN_URL = "https://auth.openai.com/oauth/token";

/** What the program can be asked to do. `run` is the loop, or one cycle with `--once`: it has no word of its own. */
export type CommandName =
  | "run"
  | "status"
  | "check"
  | "wait"
  | "doctor"
  | "follow"
  | "store init"
  | "store put"
  | "store get"
  | "store rotate-key"
  | "store status"
  | "store make-key";

/** What each command does, for `--help` and the README. */
export const COMMANDS: Readonly<Record<Exclude<CommandName, "run">, string>> = {
  status: "show who is logged in, how long each token has, and what is wrong",
  check: "say what a cycle would do now; sends and writes nothing",
  wait: "wait until the login is healthy: 0 it is, 1 it can't be without a person, 2 time is up",
  doctor: "look for what will go wrong, and say how to mend it",
  follow: "keep a read-only copy of a login that another process refreshes; sends no refresh token, and holds none",
  "store init": "create or update the tables in PostgreSQL, and grant the roles what they need",
  "store put": "put the login of auth.json into the store, unless a newer one is there",
  "store get": "print the login as a follower gets it; --with-refresh-token prints the whole of it",
  "store rotate-key": "seal what is stored anew, with the first of the keys",
  "store status": "show what is stored, who looks after it, and what is in flight",
  "store make-key": "print a new key",
};

/** One setting: its flag, its variable, or both. */
export interface OptionRow {
  /** With the word for its value: `--interval DURATION`. Null when there is a variable alone. */
  readonly flag: string | null;
  /** In the environment, in the order in which they count. */
  readonly variables: readonly string[];
  /** As people read it; null when there is none. */
  readonly preset: string | null;
  readonly commands: readonly CommandName[];
  readonly help: string;
}

const ALL: readonly CommandName[] = ["run", "status", "check", "wait", "doctor", "follow", "store put"];
const DECIDING: readonly CommandName[] = ["run", "status", "check", "wait"];
const KEEPING: readonly CommandName[] = ["store put", "store get", "store rotate-key", "store status"];

/**
 * Every option: the one source of `--help`, of the names in the environment and of the README's list.
 *
 * The first four durations' names and values are the shell script's own.
 */
export const OPTIONS = [
  row("--once", [], null, ["run", "follow"], "one cycle, then exit with its code, instead of looping"),
  row("--force", [], null, ["run"], "refresh though the login is fresh (in the loop: in its first cycle)"),
  row("--dry-run", [], null, ["run"], "the same as the command check"),
  row(
    "--codex-home DIR...",
    ["CODEX_HOME"],
    "~/.codex",
    ALL,
    "the directory that holds auth.json; several are looked after by one process",
  ),
  row(
    "--interval DURATION",
    ["CODEX_AUTH_REFRESH_INTERVAL_SECONDS"],
    "6h",
    ["run"],
    "longest time between two looks of the loop",
  ),
  row(
    "--safety-margin DURATION",
    ["CODEX_AUTH_SAFETY_MARGIN_SECONDS"],
    "4h",
    DECIDING,
    "refresh when the access token has this long to live; at most a third of its whole life",
  ),
  row(
    "--stale-after DURATION",
    ["CODEX_AUTH_STALE_AFTER_SECONDS"],
    "7d",
    DECIDING,
    "refresh when last_refresh is this old",
  ),
  row(
    "--min-refresh-interval DURATION",
    ["CODEX_AUTH_MIN_REFRESH_INTERVAL_SECONDS"],
    "60s",
    ["run", "check"],
    "shortest time between two refreshes of tokens that our own refreshes brought; besides, four in an hour",
  ),
  row(
    "--via codex",
    ["CODEX_AUTH_REFRESH_VIA"],
    null,
    ["run"],
    "let Codex itself send the refresh, by codex app-server, as its vendor advises",
  ),
  row("--codex-program PROGRAM", ["CODEX_AUTH_CODEX_PROGRAM"], "codex", ["run"], "the codex command for --via codex"),
  row(
    "--on-event PROGRAM",
    ["CODEX_AUTH_ON_EVENT"],
    null,
    ["run"],
    "run this when a login was refreshed, is lost, can't be saved or has recovered",
  ),
  row(
    "--metrics-file FILE",
    ["CODEX_AUTH_METRICS_FILE"],
    null,
    ["run"],
    "write Prometheus metrics there after each cycle",
  ),
  row("--http HOST:PORT", ["CODEX_AUTH_HTTP"], null, ["run"], "serve /livez, /readyz and /metrics (the loop only)"),
  row(
    "--log-format text|json",
    ["CODEX_AUTH_LOG_FORMAT"],
    "text",
    ["run", "follow"],
    "the form of the lines on stderr",
  ),
  row(
    "--log-level LEVEL",
    ["CODEX_AUTH_LOG_LEVEL"],
    "info",
    ["run", "follow"],
    "error, warn, info, or debug for every look",
  ),
  row("--json", [], null, ["status", "check", "doctor", "store status"], "answer in JSON"),
  row("--exit-code", [], null, ["status"], "end with 1 when a login is not healthy, for HEALTHCHECK"),
  row("--max DURATION", [], "30s", ["wait"], "wait this long at most"),
  row(
    null,
    ["CODEX_AUTH_REFRESH_OWNER"],
    "1",
    ["run", "check"],
    "0: this process never sends a refresh token; it watches, and reports",
  ),
  row(
    null,
    ["CODEX_AUTH_JSON"],
    null,
    ["run"],
    "the text of an auth.json: written when there is none, or an older one of the same account",
  ),
  row(
    "--store URL",
    ["CODEX_AUTH_STORE"],
    null,
    ["run", "follow", "store init", ...KEEPING],
    "look after a login in PostgreSQL: postgres://USER@HOST/DATABASE?sslmode=verify-full; password in PGPASSWORD or PGPASSFILE",
  ),
  row(
    "--credential NAME",
    ["CODEX_AUTH_CREDENTIAL"],
    "default",
    ["run", "follow", ...KEEPING],
    "which login of the store",
  ),
  row(
    "--owner-key-file FILE",
    ["CODEX_AUTH_OWNER_KEY_FILE"],
    null,
    ["run", ...KEEPING],
    "the key that seals the whole login, as store make-key prints it; older keys on further lines",
  ),
  row(
    "--follower-key-file FILE",
    ["CODEX_AUTH_FOLLOWER_KEY_FILE"],
    null,
    ["run", "follow", ...KEEPING],
    "the key that seals what followers get",
  ),
  row(
    null,
    ["CODEX_AUTH_OWNER_KEY", "CODEX_AUTH_FOLLOWER_KEY"],
    null,
    ["run", "follow", ...KEEPING],
    "the keys themselves, in place of their files",
  ),
  row(
    "--from URL",
    ["CODEX_AUTH_FOLLOW_URL"],
    null,
    ["follow"],
    "follow the auth.json at this https address (http on loopback), in place of --store",
  ),
  row(
    "--bearer-file FILE",
    ["CODEX_AUTH_FOLLOW_BEARER_FILE"],
    null,
    ["follow"],
    "the bearer token for --from; or the token itself in CODEX_AUTH_FOLLOW_BEARER",
  ),
  row(
    "--poll DURATION",
    ["CODEX_AUTH_FOLLOW_POLL_SECONDS"],
    "30s",
    ["follow"],
    "longest time between two looks; 30s at most for --store",
  ),
  row("--take-over", [], null, ["follow"], "replace a login of its own that the home holds, or another account's"),
  row(
    "--with-refresh-token",
    [],
    null,
    ["store get"],
    "print the refresh token too: whoever uses it takes the login away from the store",
  ),
  row("--owner-role NAME", [], null, ["store init"], "grant this database role what an owner needs"),
  row("--follower-role NAME", [], null, ["store init"], "grant this database role what a follower needs"),
  row("--print", [], null, ["store init"], "print the SQL, and connect to nothing"),
  row(null, ["CODEX_REFRESH_TOKEN_URL_OVERRIDE"], TOKEN_URL, ["run"], "the token endpoint: https, or http on loopback"),
  row(null, ["CODEX_APP_SERVER_LOGIN_CLIENT_ID"], "Codex's own", ["run"], "the OAuth client id"),
  row(
    null,
    ["CODEX_CA_CERTIFICATE", "SSL_CERT_FILE"],
    null,
    ["run"],
    "a PEM file with further certificate authorities",
  ),
  row(
    null,
    ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"],
    null,
    ["run"],
    "as usual; an endpoint on loopback is never reached through a proxy",
  ),
] as const;

function row(
  flag: string | null,
  variables: readonly string[],
  preset: string | null,
  commands: readonly CommandName[],
  help: string,
): OptionRow {
  return { flag, variables, preset, commands, help };
}
