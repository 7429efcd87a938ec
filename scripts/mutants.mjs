// What each safeguard of a refresh is taken away by: a text that stands once in a source file, and what replaces it.
/** @typedef {{ readonly name: string; readonly without: string; readonly file: string; readonly from: string; readonly to: string }} Mutant */

/** @type {readonly Mutant[]} */
export const MUTANTS = [
  {
    name: "ticket",
    without: "a ticket that exists keeps nobody from presenting its token",
    file: "src/under-lock.ts",
    from: "const plan = planAttempt(own, clock.nowMs(), isForced);",
    to: 'const plan = { kind: "go", attempt: Math.random() * 1e9, dispatchCount: 0 } as const;',
  },
  {
    name: "reload under the lock",
    without: "the decision is not made again under the lock",
    file: "src/under-lock.ts",
    from: "if (isReplaced || !isDue) return",
    to: "if (isReplaced && isDue === null) return",
  },
  {
    name: "reload behind the ticket",
    without: "the store is not read again once the ticket stands, nor before the first byte",
    file: "src/settle.ts",
    from: 'return reading.kind === "login" && fingerprint(reading.credential.refreshToken) === presented.fingerprint;',
    to: "return reading !== null && presented !== null;",
  },
  {
    name: "compare",
    without: "the answer is written whatever login the store holds by then",
    file: "src/core/reconcile.ts",
    from: "if (fingerprint(credential.refreshToken) !== presented.fingerprint && !isOlder(credential, presented)) {",
    to: "if (fingerprint(credential.refreshToken) === presented.stamps.toString()) {",
  },
  {
    name: "journal",
    without: "the answer is not written into the ticket",
    file: "src/spend.ts",
    from: "await isComplete();",
    to: "missing = [];",
  },
  {
    name: "dispatched",
    without: "the ticket does not say that the request is about to leave",
    file: "src/attempt.ts",
    from: 'const fault = await ticket.record({ event: "dispatched", atMs: ports.clock.nowMs() });',
    to: "const fault = null as Awaited<ReturnType<typeof ticket.record>>;",
  },
  {
    name: "fence",
    without: "nobody looks for other tickets of the token right before its first byte leaves",
    file: "src/attempt.ts",
    from: " || (await isContested(ports, name)) ? busy",
    to: " ? busy",
  },
  {
    name: "recovery",
    without: "an answer that lies in a ticket is not brought to its end",
    file: "src/settle.ts",
    from: 'if (state.kind !== "answered" || prepared === null',
    to: "if (state.kind !== undefined || prepared === null",
  },
  {
    name: "order of the end",
    without: "the ticket goes away before the tokens are in place",
    file: "src/settle.ts",
    from: "const untilMs = clock.nowMs() + SETTLE_MS;\n  let retries",
    to: "const untilMs = clock.nowMs() + SETTLE_MS;\n  await removeTickets(ports, spent.presented.fingerprint);\n  let retries",
  },
];
