import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  promises,
  readdirSync,
  readFileSync,
  type Stats,
  write,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  concludeText,
  encodeEvent,
  readTicketText,
  type Ticket,
  type TicketEvent,
  type TicketName,
} from "../core/ticket.js";
import type { Clock, LocalTicketBook, OpenTicket } from "../ports.js";
import { errnoOf, toFault } from "./errno.js";
import { findPlace, openAs, ownerFor, type Place } from "./place.js";
import { describeSelf, lifeOf } from "./process-identity.js";

/**
 * The tickets that this process has open. One of its own that is not among them was left by an earlier cycle; one that
 * is belongs to another home's cycle: two homes may come to be one file while the process runs.
 */
const openTickets = new Set<string>();

/** Space that a ticket reserves before its token is spent, bytes: room for any answer seen so far. */
const RESERVED_BYTES = 64 * 1024;

/**
 * Tickets as files beside auth.json: `.auth.json.watchdog.SHA256.ATTEMPT.ticket`, mode 0600.
 *
 * `O_EXCL` makes one process the creator, also on network file systems (NFS 3 and newer), and follows no
 * symbolic link.
 */
export function fileTicketBook(authJsonPath: string, clock: Clock): LocalTicketBook {
  const pathOf = ({ fingerprint, attempt }: TicketName): string =>
    findPlace(authJsonPath).own(`${fingerprint}.${attempt}.ticket`);
  return {
    list: () => {
      const place = findPlace(authJsonPath);
      try {
        const names = readdirSync(place.directory);
        const setAside = names.filter((name) => name.startsWith(place.ownPrefix) && name.endsWith(SET_ASIDE));
        return { kind: "tickets", tickets: names.flatMap((name) => readTicket(place, name)), setAside };
      } catch (error) {
        if (errnoOf(error) === "ENOENT") return { kind: "tickets", tickets: [], setAside: [] };
        return { kind: "failed", fault: toFault(error, "read the tickets in", place.directory) };
      }
    },
    create: async (presented, attempt) => {
      const place = findPlace(authJsonPath);
      const path = pathOf({ fingerprint: presented.fingerprint, attempt });
      let descriptor: number | null = null;
      try {
        descriptor = openAs(ownerFor(place), path, "wx");
        const ticket = fileTicket(path, descriptor);
        const first = encodeEvent({ event: "prepared", atMs: clock.nowMs(), holder: describeSelf(), presented });
        ticket.begin(Buffer.from(first));
        const { syncPath } = await import("./whole-file.js");
        await syncPath(place.directory);
        return { kind: "created", ticket };
      } catch (error) {
        if (errnoOf(error) === "EEXIST") return { kind: "exists" };
        // Should it stay behind it blocks nobody: it says that its token is unspent.
        if (descriptor !== null) {
          openTickets.delete(identityOf(fstatSync(descriptor)));
          closeSync(descriptor);
          await promises.unlink(path).catch(() => undefined);
        }
        return { kind: "failed", fault: toFault(error, "reserve space in", place.directory) };
      }
    },
    remove: async (tickets) => {
      // What cannot be removed now is found settled by the next run.
      for (const ticket of tickets) await promises.unlink(pathOf(ticket)).catch(() => undefined);
    },
    append: async (ticket, event) => {
      const path = pathOf(ticket);
      try {
        const descriptor = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
        try {
          // Behind the last line that is whole: what follows it is padding, or half a line that nobody counts.
          const text = readFileSync(descriptor).toString("latin1").trimEnd();
          const end = /^\{.*\}$/.test(text.slice(text.lastIndexOf("\n") + 1))
            ? text.length + 1
            : text.lastIndexOf("\n") + 1;
          writeAll(descriptor, Buffer.from(encodeEvent(event)), end);
          fsyncSync(descriptor);
          return null;
        } finally {
          closeSync(descriptor);
        }
      } catch (error) {
        return toFault(error, "write the ticket", path);
      }
    },
    trim: async (ticket) => {
      const path = pathOf(ticket);
      try {
        const text = readFileSync(path, "latin1");
        await promises.truncate(path, text.trimEnd().length + 1);
      } catch {
        // Then there is no more room than before; the commit says so.
      }
    },
    setAside: async (ticket) => {
      const path = pathOf(ticket);
      // A ticket that can't be renamed is found by the next run, and judged again.
      await promises.rename(path, path.replace(/\.ticket$/, SET_ASIDE)).catch(() => undefined);
    },
    sweep: async () => {
      const place = findPlace(authJsonPath);
      const names = await promises.readdir(place.directory).catch((): string[] => []);
      for (const name of names.filter((each) => each.startsWith(place.ownPrefix) && LEFTOVER.test(each))) {
        await promises.unlink(join(place.directory, name)).catch(() => undefined);
      }
    },
    conclude: async (ticket, verdict) => {
      const path = pathOf(ticket);
      try {
        const { replaceFile } = await import("./whole-file.js");
        const text = concludeText(readFileSync(path, "utf8"), verdict);
        await replaceFile(path, text, ownerFor(findPlace(authJsonPath)));
        return null;
      } catch (error) {
        return toFault(error, "conclude the ticket", path);
      }
    },
  };
}

/** An answer that waits for a person. */
const SET_ASIDE = ".set-aside";

/** What may be left of ours beside tickets and the lock: answers set aside, staged texts, half-written tickets. */
const LEFTOVER = /(?:\.set-aside|\.new\.\d+(?:\.\d+)?|\.ticket\.\d+)$/;

/** A ticket of ours, open for writing into the space that it has reserved. */
function fileTicket(path: string, descriptor: number): OpenTicket & { begin: (line: Buffer) => void } {
  let end = 0;
  const identity = identityOf(fstatSync(descriptor));
  openTickets.add(identity);
  return {
    begin: (line) => {
      writeAll(descriptor, Buffer.concat([line, Buffer.alloc(RESERVED_BYTES - line.length, "\n")]), 0);
      fsyncSync(descriptor);
      end = line.length;
    },
    isInPlace: () => {
      const named = lstatSync(path, { throwIfNoEntry: false });
      const ours = fstatSync(descriptor);
      return named !== undefined && named.ino === ours.ino && named.dev === ours.dev;
    },
    record: async (event: TicketEvent) => {
      try {
        const line = Buffer.from(encodeEvent(event));
        // Not synchronous: an answer's further pieces must be read from the socket meanwhile.
        for (let done = 0; done < line.length; ) {
          done += (await promisify(write)(descriptor, line, done, line.length - done, end + done)).bytesWritten;
        }
        await promisify(fdatasync)(descriptor);
        end += line.length;
        return null;
      } catch (error) {
        return toFault(error, "write the ticket", path);
      }
    },
    close: async () => {
      openTickets.delete(identity);
      try {
        closeSync(descriptor);
      } catch {
        // What matters was synced; a late error changes nothing.
      }
    },
  };
}

function identityOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}

/** Writes all of it: one write call may take only a part on a filling disk. */
function writeAll(descriptor: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(descriptor, bytes, done, bytes.length - done, position + done);
  }
}

function readTicket(place: Place, name: string): Ticket[] {
  const suffix = name.startsWith(place.ownPrefix) ? name.slice(place.ownPrefix.length) : "";
  const [, fingerprint = "", attempt] = /^([0-9a-f]{64})\.(\d{1,6})\.ticket$/.exec(suffix) ?? [];
  if (attempt === undefined) return [];
  const path = join(place.directory, name);
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return []; // Its holder has just taken it away.
  const read = readOwnFile(path);
  if (read === null) return [];
  const seen = read.prepared === null ? "unknown" : lifeOf(read.prepared.holder, describeSelf());
  const life = seen === "self" && openTickets.has(identityOf(stats)) ? "alive" : seen;
  const createdAtMs = read.prepared?.atMs ?? stats.mtimeMs;
  return [{ ...read, fingerprint, attempt: Number(attempt), createdAtMs, life }];
}

/** What is no file of ours, or can't be read, still occupies its number, and may have been sent. */
function readOwnFile(path: string): ReturnType<typeof readTicketText> | null {
  let descriptor: number | null = null;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    return readTicketText(readFileSync(descriptor, "utf8"));
  } catch (error) {
    return errnoOf(error) === "ENOENT" ? null : { prepared: null, rewrite: null, state: { kind: "opaque" } };
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}
