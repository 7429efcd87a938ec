import { fstatSync, lstatSync, promises, readdirSync, readFileSync, statSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import {
  concludeText,
  encodeEvent,
  readTicketText,
  type Ticket,
  type TicketEvent,
  type TicketName,
} from "../core/ticket.js";
import type { Clock, OpenTicket, TicketBook } from "../ports.js";
import { errnoOf, toFault } from "./errno.js";
import { findPlace, ownerFor, type Place } from "./place.js";
import { describeSelf, lifeOf } from "./process-identity.js";

/** Space that a ticket reserves before its token is spent, bytes: room for any answer seen so far. */
const RESERVED_BYTES = 64 * 1024;

/**
 * Tickets as files beside auth.json: `.auth.json.watchdog.SHA256.ATTEMPT.ticket`, mode 0600.
 *
 * `O_EXCL` makes one process the creator, also on network file systems (NFS 3 and newer), and follows no
 * symbolic link.
 */
export function fileTicketBook(authJsonPath: string, clock: Clock): TicketBook {
  const pathOf = ({ fingerprint, attempt }: TicketName): string =>
    findPlace(authJsonPath).own(`${fingerprint}.${attempt}.ticket`);
  return {
    list: () => {
      const place = findPlace(authJsonPath);
      try {
        const names = readdirSync(place.directory);
        return { kind: "tickets", tickets: names.flatMap((name) => readTicket(place, name)) };
      } catch (error) {
        if (errnoOf(error) === "ENOENT") return { kind: "tickets", tickets: [] };
        return { kind: "failed", fault: toFault(error, "read the tickets in", place.directory) };
      }
    },
    create: async (presented, attempt) => {
      const place = findPlace(authJsonPath);
      const path = pathOf({ fingerprint: presented.fingerprint, attempt });
      let handle: FileHandle | null = null;
      try {
        handle = await promises.open(path, "wx", 0o600);
        const ticket = fileTicket(path, handle);
        const owner = ownerFor(place);
        if (owner !== null) await handle.chown(owner.uid, owner.gid);
        const first = encodeEvent({ event: "prepared", atMs: clock.nowMs(), holder: describeSelf(), presented });
        await ticket.begin(Buffer.from(first));
        const { syncDirectory } = await import("./whole-file.js");
        await syncDirectory(place.directory);
        return { kind: "created", ticket };
      } catch (error) {
        if (errnoOf(error) === "EEXIST") return { kind: "exists" };
        await handle?.close();
        // Should it stay behind it blocks nobody: it says that its token is unspent.
        if (handle !== null) await promises.unlink(path).catch(() => undefined);
        return { kind: "failed", fault: toFault(error, "reserve space in", place.directory) };
      }
    },
    remove: async (tickets) => {
      // What cannot be removed now is found settled by the next run.
      for (const ticket of tickets) await promises.unlink(pathOf(ticket)).catch(() => undefined);
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

/** A ticket of ours, open for writing into the space that it has reserved. */
function fileTicket(path: string, handle: FileHandle): OpenTicket & { begin: (line: Buffer) => Promise<void> } {
  let end = 0;
  /** Writes all of it: one write call may take only a part on a filling disk. */
  const writeAll = async (bytes: Buffer): Promise<void> => {
    for (let done = 0; done < bytes.length; ) {
      done += (await handle.write(bytes, done, bytes.length - done, end + done)).bytesWritten;
    }
  };
  return {
    begin: async (line) => {
      await writeAll(Buffer.concat([line, Buffer.alloc(RESERVED_BYTES - line.length, "\n")]));
      await handle.sync();
      end = line.length;
    },
    isInPlace: () => {
      const named = statSync(path, { throwIfNoEntry: false });
      const ours = fstatSync(handle.fd);
      return named !== undefined && named.ino === ours.ino && named.dev === ours.dev;
    },
    record: async (event: TicketEvent) => {
      try {
        const line = Buffer.from(encodeEvent(event));
        await writeAll(line);
        await handle.datasync();
        end += line.length;
        return null;
      } catch (error) {
        return toFault(error, "write the ticket", path);
      }
    },
    close: () => handle.close().catch(() => undefined), // What matters was synced; a late error changes nothing.
  };
}

function readTicket(place: Place, name: string): Ticket[] {
  const suffix = name.startsWith(place.ownPrefix) ? name.slice(place.ownPrefix.length) : "";
  const [, fingerprint = "", attempt] = /^([0-9a-f]{64})\.(\d{1,6})\.ticket$/.exec(suffix) ?? [];
  if (attempt === undefined) return [];
  try {
    const path = join(place.directory, name);
    const stats = lstatSync(path);
    // What is no file of ours still occupies the number; it reads as a ticket that was never written.
    const read = readTicketText(stats.isFile() ? readFileSync(path, "utf8") : "");
    const life = read.prepared === null ? "unknown" : lifeOf(read.prepared.holder, describeSelf());
    const createdAtMs = read.prepared?.atMs ?? stats.mtimeMs;
    return [{ ...read, fingerprint, attempt: Number(attempt), createdAtMs, life }];
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return []; // Its holder has just taken it away.
    throw error;
  }
}
