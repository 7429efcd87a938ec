import { LOGIN_AGAIN } from "./outcome.js";

export type Severity = "error" | "warning" | "info";

/** Something that will go wrong, or that a person should know of. No token in it, nor a part of one. */
export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** The CODEX_HOME that it concerns; null for the machine. */
  readonly home: string | null;
  /** One line: what is wrong, and where. */
  readonly what: string;
  /** One line: what to do; null where nothing is to be done. */
  readonly cure: string | null;
}

const LOG_IN = "log in: CODEX_HOME={home} codex login";

/** How one cycle is run by hand. */
export const RUN_ONCE = "codex-auth-watchdog --once --codex-home {home}";
const USE_FILE_STORE = 'set cli_auth_credentials_store = "file" in {home}/config.toml, then log in again';
const SET_CLOCK = "set this machine's clock, and keep it by NTP: timedatectl set-ntp true";

/**
 * Every finding: how bad it is, and its cure. In braces: {home}, {file} and {directory} of the login, {owner}, the
 * uid that they should belong to, and {path}, what the finding is about.
 */
export const FINDINGS = {
  home_not_a_directory: ["error", "name the directory that holds auth.json: --codex-home, or CODEX_HOME"],
  unreadable_auth_json: ["error", `mend {file}, or ${LOG_IN}`],
  auth_json_not_a_file: ["error", `move {path} away, then ${LOG_IN}`],
  dangling_symlink: ["error", `create what it points to, or remove the link and ${LOG_IN}`],
  login_required: ["error", LOGIN_AGAIN],
  unsaved_answer: ["error", `keep the ticket; this saves it: ${RUN_ONCE}`],
  file_mount: ["error", "mount its directory instead of the single file"],
  read_only: ["error", "mount it writable"],
  not_writable: ["error", "run this as the user who owns {file}"],
  write_protected: ["error", "chmod u+w {path}"],
  owner_differs: ["error", "chown {owner} {path}"],
  codex_lock_is_directory: ["error", "when no Codex runs: rmdir {path}"],
  codex_lock_owner_differs: ["error", "chown {owner} {path}"],
  same_login: ["error", `rm {file} (a logout, or a login over it, would revoke the token of both), then ${LOG_IN}`],
  ca_file_unreadable: ["error", "let it name a PEM file that this user can read, or unset it"],
  proxy_unreadable: ["error", "let it hold a URL such as http://proxy.example:3128, or unset it"],

  keyring_store: ["warning", USE_FILE_STORE],
  auto_store: ["warning", USE_FILE_STORE],
  ephemeral_store: ["warning", USE_FILE_STORE],
  unknown_store: ["warning", USE_FILE_STORE],
  no_refresh_token: ["warning", `${LOG_IN}; nothing to do where another host refreshes for this one`],
  access_token_expired: ["warning", `${RUN_ONCE}; and see to it that the loop runs`],
  refresh_overdue: ["warning", `${RUN_ONCE}; and see to it that the loop runs`],
  set_aside_answers: ["warning", "see whether {file} works; if so, the next successful refresh removes them"],
  request_unanswered: ["warning", "check the network to the token endpoint; a new login ends the wait"],
  hard_links: ["warning", "find the other names and remove them: find / -xdev -samefile {file}"],
  too_open: ["warning", "chmod go-rwx {path}"],
  codex_lock_held: ["warning", "end that process if it hangs: a save is over in milliseconds"],
  no_flock: ["warning", "install util-linux or busybox, or mend PATH"],
  env_override: ["warning", "unset it where Codex is started"],
  clock_behind: ["warning", SET_CLOCK],
  clock_ahead: ["warning", SET_CLOCK],
  short_lived_token: ["warning", "keep the loop running: it refreshes after two thirds of such a token's life"],
  codex_writes_in_place: ["warning", "update Codex to 0.169 or newer, and start it anew"],
  network_file_system: ["warning", "keep CODEX_HOME on a local disk, one for each machine"],
  disk_nearly_full: ["warning", "free some space there"],
  daemon_down: ["warning", "start it: codex-auth-watchdog --codex-home {home}"],

  home_missing: ["info", "if the login lies elsewhere, name its directory: --codex-home, or CODEX_HOME"],
  no_login: ["info", LOG_IN],
  other_auth_mode: ["info", null],
  copy: ["info", null],
  access_token_opaque: ["info", null],
  symlink: ["info", null],
  our_lock_held: ["info", null],
  same_file: ["info", "one of them is enough for --codex-home"],
  codex_older_than_file: ["info", "start it anew if it should use the new tokens at once"],
  endpoint_override: ["info", "unset CODEX_REFRESH_TOKEN_URL_OVERRIDE if that is not meant"],
} as const satisfies Readonly<Record<string, readonly [Severity, string | null]>>;

export type FindingCode = keyof typeof FINDINGS;
