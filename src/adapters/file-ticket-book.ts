import { constants, fstatSync, lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Fault } from "../core/fault.js";
import type { Rejection } from "../core/grant.js";
import {
  encodeEvent,
  type Presented,
  readTicketText,
  type Ticket,
  type TicketEvent,
  type TicketName,
} from "../core/ticket.js";
import type { Clock, OpenTicket, TicketBook, TicketCreation, TicketListing } from "../ports.js";
import { errnoOf, toFault } from "./errno.js";
import { findPlace, ownerFor, type Place } from "./place.js";
import { describeSelf, lifeOf } from "./process-identity.js";

/** Space that a ticket reserves before its token is spent, bytes: room for any answer seen so far. */
const RESERVED_BYTES = 64 * 1024;

/**
 * Tickets as files beside auth.json: `.auth.json.watchdog.SHA256.ATTEMPT.ticket`, mode 0600.
 *
 * `O_EXCL` makes one process the creator, also on network file systems (NFS 3 and newer).
 */
export class FileTicketBook implements TicketBook {
  readonly #authJsonPath: string;
  readonly #clock: Clock;

  constructor(authJsonPath: string, clock: Clock) {
    this.#authJsonPath = authJsonPath;
    this.#clock = clock;
  }

  list(): TicketListing {
    const place = findPlace(this.#authJsonPath);
    let names: string[];
    try {
      names = readdirSync(place.directory);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return { kind: "tickets", tickets: [] };
      return { kind: "failed", fault: toFault(error, "list", place.directory) };
    }
    try {
      const tickets = names.flatMap((name) => readTicket(place, name));
      return { kind: "tickets", tickets };
    } catch (error) {
      return { kind: "failed", fault: toFault(error, "read a ticket in", place.directory) };
    }
  }

  async create(presented: Presented, attempt: number): Promise<TicketCreation> {
    const place = findPlace(this.#authJsonPath);
    const path = place.own(fileSuffix({ fingerprint: presented.fingerprint, attempt }));
    let handle: FileHandle | null = null;
    try {
      const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
      handle = await open(path, flags, 0o600);
      const owner = ownerFor(place);
      if (owner !== null) await handle.chown(owner.uid, owner.gid);
      await handle.chmod(0o600);
      const { syncDirectory } = await import("./whole-file.js");
      const ticket = new FileTicket(path, handle);
      await ticket.begin({ event: "prepared", atMs: this.#clock.nowMs(), holder: describeSelf(), presented });
      await syncDirectory(place.directory);
      return { kind: "created", ticket };
    } catch (error) {
      if (errnoOf(error) === "EEXIST") return { kind: "exists" };
      const fault = toFault(error, "reserve space in", place.directory);
      if (handle !== null) {
        await handle.close();
        await unlink(path).catch(() => undefined); // Left behind it blocks nobody: it says that its token is unspent.
      }
      return { kind: "failed", fault };
    }
  }

  async remove(tickets: readonly TicketName[]): Promise<void> {
    const place = findPlace(this.#authJsonPath);
    for (const ticket of tickets) {
      await unlink(place.own(fileSuffix(ticket))).catch(() => undefined); // The next run finds it settled.
    }
  }

  async latch(ticket: TicketName, rejection: Rejection): Promise<Fault | null> {
    const place = findPlace(this.#authJsonPath);
    const path = place.own(fileSuffix(ticket));
    try {
      const { replaceFile } = await import("./whole-file.js");
      // The answer's body goes away with the rest: nobody knows what a server puts into an error.
      const [prepared = ""] = readFileSync(path, "utf8").split("\n");
      const rejected = encodeEvent({ event: "rejected", atMs: this.#clock.nowMs(), rejection });
      await replaceFile(path, `${prepared}\n${rejected}`, ownerFor(place), "durable");
      return null;
    } catch (error) {
      return toFault(error, "remember the rejection in", path);
    }
  }
}

/** A ticket of ours, open for writing into the space that it has reserved. */
class FileTicket implements OpenTicket {
  readonly #path: string;
  readonly #handle: FileHandle;
  #position = 0;

  constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /** Writes the first event and the padding. Throws system errors. */
  async begin(event: TicketEvent): Promise<void> {
    const line = Buffer.from(encodeEvent(event));
    const padding = Buffer.alloc(Math.max(RESERVED_BYTES - line.length, 0), "\n");
    await this.#write(Buffer.concat([line, padding]), 0);
    await this.#handle.sync();
    this.#position = line.length;
  }

  isInPlace(): boolean {
    const named = statSync(this.#path, { throwIfNoEntry: false });
    const ours = fstatSync(this.#handle.fd);
    return named !== undefined && named.ino === ours.ino && named.dev === ours.dev;
  }

  async record(event: TicketEvent): Promise<Fault | null> {
    try {
      const line = Buffer.from(encodeEvent(event));
      await this.#write(line, this.#position);
      this.#position += line.length;
      await this.#handle.datasync();
      return null;
    } catch (error) {
      return toFault(error, "write the ticket", this.#path);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** Writes all of it: one write call may take only a part on a filling disk. */
  async #write(bytes: Buffer, position: number): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done);
      done += bytesWritten;
    }
  }
}

function fileSuffix(ticket: TicketName): string {
  return `${ticket.fingerprint}.${ticket.attempt}.ticket`;
}

function readTicket(place: Place, name: string): Ticket[] {
  if (!name.startsWith(place.ownPrefix)) return [];
  const match = /^([0-9a-f]{64})\.(\d{1,6})\.ticket$/.exec(name.slice(place.ownPrefix.length));
  if (match === null) return [];
  const [, fingerprint = "", attempt] = match;
  const path = join(place.directory, name);
  try {
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
