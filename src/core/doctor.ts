import type { Credential } from "./credential.js";
import { decide } from "./decide.js";
import type {
  DirectoryFacts,
  FileFacts,
  HomeFacts,
  MachineFacts,
  Owned,
  OwnLockFacts,
  ProcessFacts,
} from "./doctor-facts.js";
import { describeFault } from "./fault.js";
import { FINDINGS, type Finding, type FindingCode, RUN_ONCE, type Severity } from "./findings.js";
import { fingerprint } from "./fingerprint.js";
import { isUncertain } from "./grant.js";
import { LOGIN_AGAIN, REJECTED_BECAUSE } from "./outcome.js";
import { describeSpan } from "./span.js";
import { planAttempt, REQUEST_DEADLINE_MS, type Ticket } from "./ticket.js";

/** What differs from the table: another cure, what it is about, whom it should belong to. */
interface Words {
  readonly cure?: string | undefined;
  readonly path?: string;
  readonly owner?: number;
}

interface Found extends Words {
  readonly code: FindingCode;
  readonly what: string;
}

function found(code: FindingCode, what: string, words: Words = {}): Found {
  return { code, what, ...words };
}

/** A rule's results, with `false` where it does not hold. */
type Maybe = readonly (Found | false)[];

/** Clocks may differ by this much, milliseconds. */
const MAX_CLOCK_SKEW_MS = 300_000;

/**
 * A token that lives shorter than this is not always valid, milliseconds: it is due after two thirds of its life, and
 * the brake lets four in an hour be refreshed (simulated: 20 minutes 98 % of the time, 21 all of it).
 */
const SHORT_LIFE_MS = 1_260_000;

/** Far laxer than the defaults of `cli/options.ts`: a login that is due by this has no watchdog at work. */
const LAX_POLICY = { safetyMarginSec: 3_600, staleAfterSec: 8 * 86_400 };

const MIN_FREE_BYTES = 1024 * 1024;

/** Where locks, `O_EXCL` or watches may not hold what they promise. fuseblk and fuse-overlayfs are local. */
const NETWORK_FILE_SYSTEM =
  /^(nfs\d?|cifs|smb\d?|smbfs|9p|ceph|afs|lustre|glusterfs|virtiofs|vboxsf|fuse(?!blk|\.fuse-overlayfs)(\..*)?)$/;

const SEVERITIES: readonly Severity[] = ["error", "warning", "info"];

/**
 * Finds what will go wrong with these homes.
 *
 * @param nowMs milliseconds since 1970
 * @returns sorted by severity, home (the machine first), code
 * @see CODEX.md, which says for each rule what Codex does (measured on 0.130 to 0.169)
 */
export function diagnose(machine: MachineFacts, homes: readonly HomeFacts[], nowMs: number): readonly Finding[] {
  const findings = [
    ...ofMachine(machine).map((each) => toFinding(each, null)),
    ...homes.flatMap((home, index) => {
      const ofPair = comparedWith(homes.slice(0, index), home);
      return holding([...ofHome(home, machine, nowMs), ofPair]).map((each) => toFinding(each, home));
    }),
  ];
  const keyOf = ({ severity, home, code, what }: Finding): string =>
    [SEVERITIES.indexOf(severity), home ?? "", code, what].join("\0");
  return findings.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function toFinding({ code, what, cure, path, owner }: Found, home: HomeFacts | null): Finding {
  const [severity, usual]: readonly [Severity, string | null] = FINDINGS[code];
  const words: Readonly<Record<string, string>> = {
    home: quote(home?.codexHome ?? ""),
    file: quote(home?.path ?? ""),
    directory: quote(home?.directory?.path ?? ""),
    path: quote(path ?? home?.path ?? ""),
    owner: String(owner),
  };
  const filled = (cure ?? usual)?.replace(/\{(\w+)\}/g, (braces, name: string) => words[name] ?? braces) ?? null;
  return { code, severity, home: home?.codexHome ?? null, what: oneLine(what), cure: filled && oneLine(filled) };
}

/** A path for a shell. */
function quote(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** File names may hold line breaks, and what a terminal obeys. */
export function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, " ");
}

function ofMachine({
  hasFlock,
  codex,
  overrides,
  caProblem,
  brokenProxies,
  endpointOrigin,
}: MachineFacts): readonly Found[] {
  return holding([
    !hasFlock &&
      found("no_flock", "no flock(1) on PATH: a save goes without Codex's own locks, and may meet a Codex's"),
    codex !== null &&
      writesInPlace(codex.version) &&
      found("codex_writes_in_place", `Codex ${codex.version} (${codex.path}) ${IN_PLACE}`),
    ...overrides.map((name) => found("env_override", `${name} is set: ${BYPASS}`)),
    caProblem !== null && found("ca_file_unreadable", `${caProblem.variable} names ${caProblem.problem}`),
    ...brokenProxies.map((name) => found("proxy_unreadable", `${name} holds no http(s) URL: nothing can be refreshed`)),
    endpointOrigin !== null && found("endpoint_override", `refresh tokens are sent to ${endpointOrigin}`),
  ]);
}

const BYPASS = "Codex uses that, and not auth.json";

function ofHome(home: HomeFacts, machine: MachineFacts, nowMs: number): Maybe {
  const { codexHome, reading, kind } = home;
  if (kind === "missing") return [found("home_missing", `there is no ${codexHome}`)];
  if (kind === "not-a-directory") return [found("home_not_a_directory", `${codexHome} is no directory`)];
  return [
    ...ofReading(home),
    ...ofPlace(home),
    ...ofRights(home, machine),
    ...ofCodex(home),
    ...ofWatchdog(home, nowMs),
    ...(reading.kind === "login" ? ofLogin(home, reading.credential, nowMs) : []),
  ];
}

const STORES: Readonly<Record<string, readonly [FindingCode, string]>> = {
  keyring: ["keyring_store", "keeps the login in the keyring; auth.json is left alone"],
  auto: ["auto_store", "reads the keyring first, which may hold a newer login; auth.json is left alone"],
  ephemeral: ["ephemeral_store", "forgets the login when it ends; auth.json is left alone"],
};

function ofReading({ codexHome, path, reading, storeSetting, file, linkTarget, followed }: HomeFacts): Maybe {
  const isFile = file === null || file.kind === "file";
  const isDangling = linkTarget !== null && reading.kind === "absent";
  const isBroken = reading.kind === "torn" || reading.kind === "unreadable";
  const isNone = reading.kind === "absent" || reading.kind === "empty";
  const [store, does] = STORES[storeSetting] ?? ["unknown_store", "does not know the word there"];
  const isOther = reading.kind === "inert" && reading.reason.startsWith("auth_mode");
  const link = `${codexHome}/auth.json points to ${linkTarget}`;
  return [
    storeSetting !== "file" && found(store, `Codex ${does} (cli_auth_credentials_store in ${codexHome}/config.toml)`),
    !isFile && found("auth_json_not_a_file", `${path} is a ${file.kind === "other" ? "special file" : file.kind}`),
    isDangling && found("dangling_symlink", `${link}, where there is nothing`),
    linkTarget !== null && !isDangling && found("symlink", link),
    isNone && !isDangling && found("no_login", `${path} is ${reading.kind}: nobody is logged in here`),
    isFile && isBroken && withItsCure("unreadable_auth_json", `${path} ${reading.problem}`),
    reading.kind === "inert" &&
      (isOther
        ? found("other_auth_mode", `${path} has ${reading.reason}: there is nothing to refresh`)
        : followed === null
          ? found("no_refresh_token", `${path} holds a ChatGPT login without a refresh token`)
          : found("copy", `${path} is a copy from ${followed}: others refresh this login`)),
  ];
}

/** Problems and faults end with what to do, behind the last colon or semicolon. */
function withItsCure(code: FindingCode, text: string): Found {
  const [, what = text, cure] = /^(.*)[:;] (.*)$/s.exec(text) ?? [];
  return found(code, what, { cure });
}

function ofPlace({ path, file, directory }: HomeFacts): Maybe {
  const { path: place, fileSystem, freeBytes } = directory ?? { path: "", fileSystem: null, freeBytes: null };
  const isShared = file?.kind === "file" && file.linkCount > 1;
  const loses = "Codex (0.169 and newer) can't save there after a refresh, and loses the login";
  return [
    file?.isMountPoint === true && found("file_mount", `${path} itself is a mount point: ${loses}`),
    isShared && found("hard_links", `${path} has ${file.linkCount} names: Codex (0.169 and newer) replaces only one`),
    fileSystem !== null &&
      NETWORK_FILE_SYSTEM.test(fileSystem) &&
      found("network_file_system", `${place} lies on ${fileSystem}: locks and watching may not work there`),
    freeBytes !== null &&
      freeBytes < MIN_FREE_BYTES &&
      found("disk_nearly_full", `${place} has ${Math.floor(freeBytes / 1024)} KiB left`),
  ];
}

function ofRights({ path, file, directory, faults, parentUid }: HomeFacts, { uid }: MachineFacts): Maybe {
  const refused = faults.map((fault) =>
    withItsCure(fault.kind === "read-only" ? "read_only" : "not_writable", describeFault(fault)),
  );
  if (file === null || directory === null) return refused;
  return [
    ...refused,
    ofOwner(path, file, { directory, parentUid, uid }),
    // A file of mode 0400: Codex 0.169 and newer sends the token, and then fails to save (measured, as root too).
    ...[file, directory].map(
      (each) =>
        (each.mode & 0o200) === 0 &&
        found("write_protected", `${modeOf(each)}: Codex can't save there, and loses the login`, { path: each.path }),
    ),
    file.kind === "file" &&
      (file.mode & 0o077) !== 0 &&
      found("too_open", `${modeOf(file)}: the login is open to others`),
    // In a sticky directory (0o1000) others can't replace the file.
    (directory.mode & 0o1002) === 0o002 &&
      found("too_open", `${modeOf(directory)}: everybody can replace the login`, {
        path: directory.path,
        cure: "chmod o-w {path}",
      }),
  ];
}

function ofOwner(
  path: string,
  file: FileFacts,
  {
    directory,
    parentUid,
    uid,
  }: { readonly directory: DirectoryFacts; readonly parentUid: number | null; readonly uid: number | null },
): Found | false {
  const owner = directory.uid === 0 ? (parentUid ?? 0) : directory.uid;
  if (file.uid === 0 && owner !== 0) {
    const what = `${path} belongs to root, in a home of uid ${owner}, whose Codex can neither read nor save it`;
    return found("owner_differs", what, { owner, cure: "chown {owner} {directory} {file}" });
  }
  const isShared = (directory.mode & 0o022) !== 0; // Others work there on purpose: a volume with a group, for instance.
  if (file.uid !== directory.uid && !isShared) {
    const what = `${path} belongs to uid ${file.uid}, its directory to uid ${directory.uid}: neither can save`;
    return found("owner_differs", what, { owner: directory.uid });
  }
  if (uid === null || uid === 0 || uid === file.uid) return false;
  const what = `${path} belongs to uid ${file.uid}, and this runs as uid ${uid}`;
  return found("owner_differs", what, { cure: `run it as uid ${file.uid}` });
}

function modeOf({ path, mode }: Owned): string {
  return `${path} has mode ${mode.toString(8).padStart(4, "0")}`;
}

/** Whether a release truncates auth.json and writes it where it stands: those up to 0.166; 0.169 came next. */
function writesInPlace(version: string | null): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)\./.exec(version ?? "") ?? [];
  return major !== undefined && Number(major) === 0 && Number(minor) < 169;
}

const IN_PLACE = "writes auth.json where it stands: others may read half of it, and a crash leaves it so";

function ofCodex({ path, codexLocks, codexes, file }: HomeFacts): Maybe {
  const older = codexes.filter(({ startedAtMs }) => file !== null && startedAtMs < file.changedAtMs);
  const torn = codexes.filter(({ version }) => writesInPlace(version));
  return [
    ...codexLocks.flatMap((lock): Maybe => {
      // Codex opens it for writing, so another user's can't be locked: inferred from what a directory does (measured).
      const isForeign = file !== null && file.uid !== 0 && lock.uid !== file.uid;
      const loses = "Codex (0.166 and newer) can't lock it, so it can't save, and loses the login";
      const words = { path: lock.path, owner: file?.uid ?? 0 };
      const foreign = `${lock.path} belongs to uid ${lock.uid}, auth.json to uid ${words.owner}`;
      return [
        lock.kind === "directory" && found("codex_lock_is_directory", `${lock.path} is a directory: ${loses}`, words),
        lock.kind !== "directory" && isForeign && found("codex_lock_owner_differs", `${foreign}: ${loses}`, words),
        lock.holders.length > 0 && found("codex_lock_held", `${lock.path} is locked by ${namesOf(lock.holders)}`),
      ];
    }),
    ...codexes.flatMap((codex) =>
      codex.overrides.map((name) => found("env_override", `${name} is set for ${namesOf([codex])}: ${BYPASS}`)),
    ),
    // One line for a release: npm's launcher and the binary that it starts are two processes.
    ...[...new Set(torn.map(({ version }) => version))].map((version) => {
      const names = namesOf(torn.filter((codex) => codex.version === version));
      return found("codex_writes_in_place", `Codex ${version} (${names}) ${IN_PLACE}`);
    }),
    older.length > 0 &&
      found(
        "codex_older_than_file",
        `${namesOf(older)} began before ${path} was last changed, and may hold older tokens until it must refresh`,
      ),
  ];
}

function namesOf(processes: readonly ProcessFacts[]): string {
  return processes.map(({ pid, command }) => `${command ?? "a process that has ended"} (pid ${pid})`).join(", ");
}

function ofWatchdog(
  { codexHome, path, ownLock, setAside, tickets, loop, lookedAtMs }: HomeFacts,
  nowMs: number,
): Maybe {
  const unsaved = tickets.find(({ state, life }) => {
    // Right after an answer its own process is about to save it.
    const isAtWork = "atMs" in state && life === "alive" && Math.abs(nowMs - state.atMs) < REQUEST_DEADLINE_MS;
    return state.kind === "answered" && state.result.kind === "granted" && !isAtWork;
  });
  const names = setAside.join(", ");
  return [
    ownLock !== null && found("our_lock_held", describeOwnLock(path, ownLock)),
    unsaved !== undefined &&
      found(
        "unsaved_answer",
        `the tokens of ${path} were rotated ${agoOf(nowMs - unsaved.createdAtMs)}, and the new ones lie in a ticket beside it`,
      ),
    setAside.length > 0 && found("set_aside_answers", `beside ${path}, older or newer than the login in it: ${names}`),
    loop === "down" &&
      found("daemon_down", `the loop on ${codexHome} is gone; it last looked ${agoOf(nowMs - (lookedAtMs ?? nowMs))}`),
  ];
}

function describeOwnLock(path: string, { holder, life, isStale, untouchedMs }: OwnLockFacts): string {
  const gone = life === "gone" ? ", and is gone" : "";
  const stale = isStale ? `; untouched for ${describeSpan(untouchedMs)}, so the next run takes it over` : "";
  return `${holder} has the lock on ${path}${gone}${stale}`;
}

function ofLogin({ path, file, tickets }: HomeFacts, credential: Credential, nowMs: number): Maybe {
  const { expiresAtMs, issuedAtMs } = credential.accessClaims;
  const name = fingerprint(credential.refreshToken);
  const own = tickets.filter((ticket) => ticket.fingerprint === name);
  const lifeMs = expiresAtMs === null || issuedAtMs === null ? null : expiresAtMs - issuedAtMs;
  const aheadMs = Math.max(credential.lastRefreshMs ?? 0, file?.changedAtMs ?? 0) - nowMs;
  // `iat` is the server's clock, which counts for right; the other two are those of whoever wrote the file.
  const isBehind = issuedAtMs !== null && issuedAtMs - nowMs > MAX_CLOCK_SKEW_MS;
  const isAhead = !isBehind && aheadMs > MAX_CLOCK_SKEW_MS;
  const isExpired = expiresAtMs !== null && expiresAtMs <= nowMs;
  const { kind, dueAtMs } = decide(credential, nowMs, LAX_POLICY);
  // A ticket of this very token says more, and so does an expiry that nobody can read.
  const isForgotten = kind === "due" && dueAtMs < nowMs && !isExpired && own.length === 0;
  const token = `the access token in ${path}`;
  return [
    ...ofAttempts(path, own, nowMs),
    isExpired && found("access_token_expired", `${token} expired ${agoOf(nowMs - expiresAtMs)}`),
    expiresAtMs === null && found("access_token_opaque", `${token} does not say when it expires: its age decides`),
    isForgotten && found("refresh_overdue", `${path} should have been refreshed more than ${agoOf(nowMs - dueAtMs)}`),
    lifeMs !== null &&
      lifeMs < SHORT_LIFE_MS &&
      found("short_lived_token", `${token} lives for ${describeSpan(lifeMs)} in all`),
    isBehind &&
      found("clock_behind", `${token} was issued in ${describeSpan(issuedAtMs - nowMs)} by this machine's clock`),
    isAhead &&
      found("clock_ahead", `${path} was written in ${describeSpan(aheadMs)} by this machine's clock: one was ahead`),
  ];
}

/** What became of the requests with the token in the file. */
function ofAttempts(path: string, own: readonly Ticket[], nowMs: number): Maybe {
  for (const { state, createdAtMs } of own) {
    const answer = state.kind === "answered" ? state.result : state;
    if (answer.kind !== "rejected") continue;
    const { cause, httpStatus } = answer.rejection;
    // A captive portal or a proxy may have said so.
    const cure = isUncertain(cause) ? `${LOGIN_AGAIN}; if a proxy said so: ${RUN_ONCE} --force` : undefined;
    const verdict = `refused ${agoOf(nowMs - createdAtMs)} (HTTP ${httpStatus}): ${REJECTED_BECAUSE[cause]}`;
    return [found("login_required", `the refresh token in ${path} was ${verdict}`, { cure })];
  }
  const sent = own.filter(({ state }) => state.kind !== "answered");
  const plan = planAttempt(sent, nowMs, false);
  if ((plan.kind !== "resting" && plan.kind !== "go") || plan.dispatchCount === 0) return [];
  const isOpaque = sent.some(({ state }) => state.kind === "opaque");
  const fate = isOpaque ? "may have been sent (there is a ticket that can't be read)" : "was sent without an answer";
  const next =
    plan.kind === "go" ? "the next run sends it again" : `it rests until ${new Date(plan.untilMs).toISOString()}`;
  return [found("request_unanswered", `the refresh token in ${path} ${fate} and may be spent; ${next}`)];
}

/** Two homes with one login: whoever refreshes first makes the other's token a spent one. */
function comparedWith(earlier: readonly HomeFacts[], { path, file, reading }: HomeFacts): Found | false {
  if (file === null || reading.kind !== "login") return false;
  const { refreshToken } = reading.credential;
  const twins = earlier.filter(
    (other) => other.reading.kind === "login" && other.reading.credential.refreshToken.equals(refreshToken),
  );
  const same = twins.find((other) => other.file?.id === file.id);
  if (same !== undefined) return found("same_file", `${same.codexHome} has the same auth.json`);
  const [twin] = twins;
  if (twin === undefined) return false;
  return found("same_login", `${path} and ${twin.path} hold one login: a refresh of either kills the other`);
}

function holding(results: Maybe): readonly Found[] {
  return results.filter((each) => each !== false);
}

function agoOf(ms: number): string {
  return `${describeSpan(Math.max(0, ms))} ago`;
}
