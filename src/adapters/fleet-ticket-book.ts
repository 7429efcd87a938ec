import { remoteLife, rowAsTicketText, spentVerdict } from "../core/fleet.js";
import { encodeEvent, readTicketText, type Ticket, type TicketEvent, type TicketName } from "../core/ticket.js";
import type { Clock, LocalTicketBook, OpenTicket, TicketBook, TicketListing } from "../ports.js";
import type { Postgres, Row } from "./postgres.js";

export interface FleetBookParts {
  readonly db: Postgres;
  readonly credentialId: string;
  /** The journal: what this host has received and not saved yet. */
  readonly local: LocalTicketBook;
  /** The database's. */
  readonly clock: Clock;
}

/** Of the ended ones only those count that name the token in the store. */
export const LIST = `select s.refresh_fp, s.attempt, s.prepared, s.verdict,
    extract(epoch from s.started_at) * 1000 as started_ms, extract(epoch from s.dispatched_at) * 1000 as dispatched_ms,
    extract(epoch from c.expires_at) * 1000 as expires_ms
  from codex_auth.spend as s left join codex_auth.credential as c on c.id = s.credential
  where s.credential = $1 and (s.ended_at is null or s.refresh_fp = c.refresh_fp)`;

const CREATE = `insert into codex_auth.spend (credential, refresh_fp, attempt, prepared, started_at)
  values ($1, $2, $3, $4, clock_timestamp()) on conflict do nothing returning attempt`;

/**
 * The last word before the first byte leaves. It is refused where a later attempt stands, or where the store holds
 * another token by now: however long this process was stopped, and whatever its clock says.
 */
const DISPATCH = `update codex_auth.spend as s set dispatched_at = clock_timestamp()
  where s.credential = $1 and s.refresh_fp = $2 and s.attempt = $3 and s.prepared = $4
    and s.dispatched_at is null and s.ended_at is null
    and exists (select from codex_auth.credential as c where c.id = $1 and c.refresh_fp = $2)
    and not exists (select from codex_auth.spend as o where o.credential = $1 and o.refresh_fp = $2 and o.attempt > $3)
  returning extract(epoch from s.dispatched_at) * 1000 as dispatched_ms`;

/** A ticket whose token still stands in the store was given back unspent; any other was for a token that is gone. */
const REMOVE = `with names as (select * from unnest($2::text[], $3::integer[]) as n (refresh_fp, attempt)),
  current as (select refresh_fp from codex_auth.credential where id = $1),
  removed as (delete from codex_auth.spend as s using names as n
    where s.credential = $1 and s.refresh_fp = n.refresh_fp and s.attempt = n.attempt
      and (s.dispatched_at is null or s.refresh_fp in (select refresh_fp from current)))
  update codex_auth.spend as s set ended_at = clock_timestamp(),
    verdict = case when s.verdict like '{"event":"rejected"%' then s.verdict else $4 end
  from names as n
  where s.credential = $1 and s.refresh_fp = n.refresh_fp and s.attempt = n.attempt
    and s.dispatched_at is not null and s.refresh_fp not in (select refresh_fp from current)`;

const CONCLUDE = `update codex_auth.spend set verdict = $4, ended_at = clock_timestamp()
  where credential = $1 and refresh_fp = $2 and attempt = $3 and verdict is null`;

/**
 * The tickets of a fleet. The row in `spend` is the right to present a token: its primary key lets one attempt be made
 * of all owners on all hosts. The answer goes into the ticket on this host, where no network stands in its way.
 *
 * For a ticket of this host's own the local one tells the truth: the row says "dispatched" before it does, so that at
 * worst the others wait for a request that was never sent.
 */
export function fleetTicketBook({ db, credentialId, local, clock }: FleetBookParts): TicketBook {
  const keyOf = ({ fingerprint, attempt }: TicketName): readonly unknown[] => [credentialId, fingerprint, attempt];
  const conclude = async (name: TicketName, verdict: TicketEvent): ReturnType<TicketBook["conclude"]> => {
    const values = [...keyOf(name), encodeEvent(verdict)];
    const result = await db.query({ step: "end a request in", text: CONCLUDE, values });
    return result.kind === "failed" ? result.fault : null;
  };
  const preparedOf = (name: TicketName): string | null => {
    const listing = local.list();
    const found = listing.kind === "tickets" ? listing.tickets.find((ticket) => isSame(ticket, name)) : undefined;
    return found?.prepared == null ? null : encodeEvent(found.prepared);
  };
  return {
    list: async () => {
      const listing = local.list();
      if (listing.kind === "failed") return listing;
      const step = "read the requests in";
      const result = await db.query({ step, text: LIST, values: [credentialId], isRepeatable: true });
      // An answer that lies here is saved as soon as the database is back, whatever else stands there.
      const isWaiting = listing.tickets.some(({ state }) => state.kind === "answered");
      if (result.kind === "failed") return isWaiting ? listing : result;
      const merged = merge(listing, result.rows, clock.nowMs());
      // What could not be told when it ended is told now.
      for (const { ticket, isTold } of merged) {
        const verdict = isTold ? null : verdictOf(ticket, clock.nowMs());
        if (verdict !== null) await conclude(ticket, verdict);
      }
      return { ...listing, tickets: merged.map(({ ticket }) => ticket) };
    },
    create: async (presented, attempt) => {
      const creation = await local.create(presented, attempt);
      if (creation.kind !== "created") return creation;
      const name = { fingerprint: presented.fingerprint, attempt };
      const { ticket } = creation;
      const withdraw = async (): Promise<void> => {
        await ticket.close();
        await local.remove([name]);
      };
      const prepared = preparedOf(name);
      if (prepared === null) {
        await withdraw();
        return { kind: "exists" };
      }
      const result = await db.query({ step: "note a request in", text: CREATE, values: [...keyOf(name), prepared] });
      if (result.kind === "failed") {
        // Where the row may have been made, the ticket here says that nothing was sent.
        if (result.fault.kind === "database-away") await ticket.close();
        else await withdraw();
        return result;
      }
      if (result.rows.length > 0) {
        return { kind: "created", ticket: fleetTicket(db, ticket, [...keyOf(name), prepared]) };
      }
      await withdraw();
      return { kind: "exists" };
    },
    remove: async (tickets) => {
      if (tickets.length === 0) return;
      const names = [tickets.map(({ fingerprint }) => fingerprint), tickets.map(({ attempt }) => attempt)];
      const values = [credentialId, ...names, spentVerdict(clock.nowMs())];
      const result = await db.query({ step: "end a request in", text: REMOVE, values, isRepeatable: true });
      // Not without the row: alone it would say that nobody knows what became of the token.
      if (result.kind === "rows") await local.remove(tickets);
    },
    append: (ticket, event) => local.append(ticket, event),
    trim: (ticket) => local.trim(ticket),
    setAside: (ticket) => local.setAside(ticket),
    sweep: () => local.sweep(),
    conclude: async (name, verdict) => (await local.conclude(name, verdict)) ?? (await conclude(name, verdict)),
  };
}

/** A ticket of ours: the row says first that its token leaves, the journal keeps what comes back. */
function fleetTicket(db: Postgres, local: OpenTicket, key: readonly unknown[]): OpenTicket {
  let isRefused = false;
  return {
    isInPlace: () => !isRefused && local.isInPlace(),
    record: async (event) => {
      if (event.event !== "dispatched") return await local.record(event);
      const result = await db.query({ step: "note a request in", text: DISPATCH, values: key });
      if (result.kind === "failed") return result.fault;
      isRefused = result.rows.length === 0;
      return isRefused ? null : await local.record(event);
    },
    close: () => local.close(),
  };
}

interface Merged {
  readonly ticket: Ticket;
  /** Whether the database knows of its end, or has no row to tell it to. */
  readonly isTold: boolean;
}

function merge(local: Extract<TicketListing, { kind: "tickets" }>, rows: readonly Row[], nowMs: number): Merged[] {
  const remote = rows.map((row) => ({ row, ticket: ticketOf(row, nowMs) }));
  const own = local.tickets.map((ticket): Merged => {
    const twin = remote.find(({ row, ticket: other }) => isSame(other, ticket) && isOfTicket(row, ticket));
    const isEnded = twin !== undefined && twin.row["verdict"] !== null;
    // An answer or an end that lies here counts, whatever others have made of the row in the meantime.
    const isOpen = ticket.state.kind === "prepared" || ticket.state.kind === "dispatched";
    return { ticket: isEnded && isOpen ? twin.ticket : ticket, isTold: twin === undefined || isEnded };
  });
  const others = remote.filter(({ row, ticket }) => {
    return !local.tickets.some((each) => isSame(each, ticket) && isOfTicket(row, each));
  });
  return [...own, ...others.map(({ ticket }): Merged => ({ ticket, isTold: true }))];
}

/** A row of the list as a ticket, for one who sees nothing else of it. */
export function ticketOf(row: Row, nowMs: number): Ticket {
  const text = rowAsTicketText(String(row["prepared"]), numberOf(row["dispatched_ms"]), textOf(row["verdict"]));
  const read = readTicketText(text);
  return {
    ...read,
    fingerprint: String(row["refresh_fp"]),
    attempt: Number(row["attempt"]),
    createdAtMs: Number(row["started_ms"]),
    life: remoteLife(read.state, nowMs, numberOf(row["expires_ms"])),
  };
}

function isSame(a: TicketName, b: TicketName): boolean {
  return a.fingerprint === b.fingerprint && a.attempt === b.attempt;
}

/** The first line names process and moment: a number may have been given twice, by a database that was put back. */
function isOfTicket(row: Row, { prepared }: Ticket): boolean {
  return prepared !== null && row["prepared"] === encodeEvent(prepared);
}

/** The end that a ticket has come to, as an event; null while it has not. */
function verdictOf({ state, life }: Ticket, nowMs: number): TicketEvent | null {
  // Its process died over it, and no answer lies here: the others need not wait for one.
  const isDead = life === "gone" || life === "self";
  if (state.kind === "dispatched" && isDead) return { event: "unanswered", atMs: nowMs, cause: "owner-died" };
  if (state.kind === "rejected") return { event: "rejected", atMs: nowMs, rejection: state.rejection };
  if (state.kind === "unanswered") return { event: "unanswered", atMs: state.atMs, cause: state.cause ?? "unknown" };
  return null;
}

function numberOf(value: unknown): number | null {
  return value === null ? null : Number(value);
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
