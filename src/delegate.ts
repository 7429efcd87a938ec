import { type Attempt, clearToSend, giveBack, leaveOpen, unsent } from "./attempt.js";
import { changedTokens } from "./core/credential.js";
import { describeFault } from "./core/fault.js";
import type { CycleOutcome } from "./core/outcome.js";
import { isSameAccount } from "./core/reconcile.js";
import type { Delegate, RefreshPorts } from "./ports.js";
import { readSettled } from "./reading.js";
import { adopt, isStillPresented, removeTickets, settle } from "./settle.js";

/**
 * Lets Codex present the token, under a ticket of ours: its request counts like one of ours for brake, latch and rest.
 *
 * What Codex has done is read from the store alone. It answers with an error also after a refresh that it has saved,
 * when another request of its own fails (0.169.0).
 */
export async function spendThroughCodex(
  ports: RefreshPorts,
  delegate: Delegate,
  attempt: Attempt,
): Promise<CycleOutcome> {
  const { credential, presented, name, ticket, dispatchCount } = attempt;
  try {
    const before = await readSettled(ports);
    if (!isStillPresented(before, presented)) return await giveBack(ports, attempt, adopt(before, presented));
    ports.log.write("info", "refresh_starting", `refresh: starting (via ${delegate.shownName})`);
    // Not later: from its start on it is Codex's affair when the token leaves.
    const obstacle = await clearToSend(ports, attempt);
    if (obstacle !== null) return await giveBack(ports, attempt, obstacle);

    const reply = await delegate.refresh();
    const after = await readSettled(ports);
    if (!("problem" in after) && !isStillPresented(after, presented)) {
      const isRefreshed = after.kind === "login" && isSameAccount(after.credential.accountIds, presented.accountIds);
      // Codex itself syncs nothing.
      const fault = isRefreshed ? await ports.store.sync() : null;
      if (fault !== null) ports.log.write("warn", "not_synced", `refresh: ${describeFault(fault)}`);
      await removeTickets(ports, presented.fingerprint);
      if (!isRefreshed) return adopt(after, presented);
      await ports.tickets.sweep();
      const rotated = changedTokens(credential, after.credential);
      return { kind: "refreshed", httpStatus: null, rotated, isRecovery: false };
    }
    if (reply.kind === "unasked") return await giveBack(ports, attempt, unsent(reply.cause));
    if (reply.kind !== "refused") {
      return await leaveOpen(ports, attempt, { httpStatus: null, cause: reply.cause, retryAfterMs: null });
    }
    // Codex does not tell the server's code; it gives a login up over a 401, or the code of one (0.130 to 0.169).
    const rejection = { cause: "refused-by-codex", httpStatus: 401 } as const;
    const isJournaled = (): Promise<boolean> => Promise.resolve(true);
    const spent = { presented, name, isRecovery: false, isRepeat: dispatchCount > 0, isJournaled };
    return await settle(ports, { kind: "rejected", rejection }, spent);
  } finally {
    await ticket.close();
  }
}
