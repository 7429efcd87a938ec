import { type Attempt, clearToSend, giveBack, leaveOpen, unsent } from "./attempt.js";
import { judgeAnswer, parseRetryAfterMs, salvageGrant } from "./core/grant.js";
import type { CycleOutcome } from "./core/outcome.js";
import type { EndpointReply, OpenTicket, RefreshPorts } from "./ports.js";
import { readSettled } from "./reading.js";
import { adopt, isStillPresented, settle } from "./settle.js";

/** Presents the token under a ticket of ours, and sees the answer home. */
export async function spend(ports: RefreshPorts, attempt: Attempt): Promise<CycleOutcome> {
  const { presented, name, ticket, dispatchCount } = attempt;
  const journal = openJournal(ports, ticket);
  try {
    // A sibling may have rotated and cleared its tickets between our reading and our ticket.
    const reading = await readSettled(ports);
    if (!isStillPresented(reading, presented)) return await giveBack(ports, attempt, adopt(reading, presented));

    const { reply, heldBackBy } = await dispatch(ports, attempt, journal);
    if (reply.kind === "unsent") return await giveBack(ports, attempt, unsent(reply.cause));
    if (reply.kind === "held-back") return await giveBack(ports, attempt, heldBackBy);
    if (reply.kind === "unanswered") {
      return await leaveOpen(ports, attempt, { httpStatus: null, cause: reply.cause, retryAfterMs: null });
    }

    const { httpStatus } = reply;
    const retryAfterMs = parseRetryAfterMs(reply.retryAfter, ports.clock.nowMs());
    const judged = judgeAnswer(httpStatus, reply.body);
    const result = (judged.kind === "ambiguous" ? salvageGrant(httpStatus, reply.body) : null) ?? judged;
    const spent = { presented, name, isRecovery: false, isRepeat: dispatchCount > 0, isJournaled: journal.isComplete };
    switch (result.kind) {
      case "granted":
      case "rejected":
        return await settle(ports, result, spent);
      case "refused":
        return await giveBack(ports, attempt, unsent(result.cause, httpStatus, retryAfterMs));
      case "ambiguous": {
        const cause = reply.isComplete ? result.cause : "broken-off";
        return await leaveOpen(ports, attempt, { httpStatus, cause, retryAfterMs });
      }
    }
  } finally {
    await ticket.close();
  }
}

/** The answer's way into the ticket. What could not be written waits, in order, for the next try. */
interface Journal {
  add(httpStatus: number, piece: Uint8Array): Promise<void>;
  /** Tries again what is missing; true when the ticket holds all that has arrived. */
  isComplete(): Promise<boolean>;
}

function openJournal(ports: RefreshPorts, ticket: OpenTicket): Journal {
  let httpStatus = 0;
  let missing: Uint8Array[] = [];
  const isComplete = async (): Promise<boolean> => {
    if (missing.length === 0) return true;
    const base64 = Buffer.concat(missing).toString("base64");
    const fault = await ticket.record({ event: "answer", httpStatus, base64 });
    if (fault === null) missing = [];
    // The answer is in memory as well: a journal that fails now must not cost the save.
    else
      ports.log.write(
        "warn",
        "not_journaled",
        `refresh: the answer is not journaled (${fault.code}); saving it at once`,
      );
    return fault === null;
  };
  return {
    isComplete,
    add: async (status, piece) => {
      httpStatus = status;
      missing.push(piece);
      await isComplete();
    },
  };
}

/** Sends the request; the ticket becomes "dispatched" when the connection stands, just before the first byte. */
async function dispatch(
  ports: RefreshPorts,
  attempt: Attempt,
  journal: Journal,
): Promise<{ reply: EndpointReply; heldBackBy: CycleOutcome }> {
  let heldBackBy: CycleOutcome = { kind: "busy", holder: "another process" };
  ports.log.write("info", "refresh_starting", `refresh: starting (endpoint=${ports.endpoint.shownUrl})`);
  const reply = await ports.endpoint.present({
    refreshToken: attempt.credential.refreshToken,
    beforeFirstByte: async () => {
      const obstacle = await clearToSend(ports, attempt);
      heldBackBy = obstacle ?? heldBackBy;
      return obstacle === null;
    },
    onBody: journal.add,
  });
  return { reply, heldBackBy };
}
