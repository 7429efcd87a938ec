import { existsSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import {
  BASELINE_PATH,
  differingFields,
  type Field,
  type Observed,
  runBaselineOn,
  runProgramOn,
} from "../support/baseline.js";
import { type Case, FULL_RUN, fillVault, makeCases, type Vault } from "../support/differential-case.js";
import { INTENDED_DIFFERENCES } from "../support/intended-differences.js";

/** Both programs mostly wait for one another's start; more than this only makes each run slower. */
const CONCURRENCY = 4;

const CASE_COUNT = Number(process.env["DIFFERENTIAL_CASES"] ?? FULL_RUN);

/** A whole run takes two minutes on two cores. */
const RUN_TIMEOUT_MS = 600_000;

/** The least share of cases in which nothing at all may differ, and in which the deed must be the same. */
const LEAST_IDENTICAL = 0.3;
const LEAST_SAME_DEED = 0.6;

/** What the world outside the status file sees: the exit code, the request, auth.json. */
const DEED: readonly Field[] = ["exit", "posts", "file"];

interface Comparison {
  readonly input: Case;
  readonly theirs: Observed;
  readonly ours: Observed;
  readonly stderr: string;
  readonly leak: string | null;
  readonly differing: readonly Field[];
  /** Names of the intended differences that explain what differs. */
  readonly explainedBy: readonly string[];
  /** What no intended difference explains. */
  readonly unexplained: readonly Field[];
}

/** Runs both programs on one case, and lets the table explain what differs. */
async function compare(input: Case): Promise<Comparison> {
  const vault = fillVault();
  const theirs = await runBaselineOn(input, vault);
  const { observed: ours, stderr, leak } = await runProgramOn(input, vault);
  const differing = differingFields(theirs, ours);
  return { input, theirs, ours, stderr, leak, differing, ...(await explain(input, theirs, ours, vault)) };
}

/** First the readings, until none of them changes anything, then the results. */
async function explain(
  input: Case,
  theirs: Observed,
  ours: Observed,
  vault: Vault,
): Promise<Pick<Comparison, "explainedBy" | "unexplained">> {
  const atOnce = explainResult(input, theirs, ours, vault);
  if (atOnce.unexplained.length === 0) return atOnce;

  const readings: string[] = [];
  let readInput = input;
  let expected = theirs;
  for (let isChanging = true; isChanging; ) {
    isChanging = false;
    for (const row of INTENDED_DIFFERENCES) {
      const differing = differingFields(expected, ours);
      const other = row.kind === "reading" && differing.length > 0 ? row.readAs(readInput) : null;
      if (other === null) continue;
      const onOther = await runBaselineOn(other, vault);
      // A reading that changes nothing where the two disagree explains nothing.
      if (!differingFields(expected, onOther).some((field) => differing.includes(field))) continue;
      readings.push(row.name);
      readInput = other;
      expected = onOther;
      isChanging = true;
    }
  }
  const { explainedBy, unexplained } = explainResult(input, expected, ours, vault);
  return { explainedBy: [...new Set([...readings, ...explainedBy])], unexplained };
}

function explainResult(
  input: Case,
  theirs: Observed,
  ours: Observed,
  vault: Vault,
): Pick<Comparison, "explainedBy" | "unexplained"> {
  const explainedBy: string[] = [];
  let unexplained = differingFields(theirs, ours);
  for (const row of INTENDED_DIFFERENCES) {
    if (row.kind !== "result" || !row.fields.some((field) => unexplained.includes(field))) continue;
    if (!row.applies(input, theirs, ours, vault)) continue;
    explainedBy.push(row.name);
    unexplained = unexplained.filter((field) => !row.fields.includes(field));
  }
  return { explainedBy, unexplained };
}

async function compareAll(cases: readonly Case[]): Promise<Comparison[]> {
  const comparisons: Comparison[] = [];
  const queue = [...cases];
  const worker = async (): Promise<void> => {
    for (let input = queue.shift(); input !== undefined; input = queue.shift()) {
      comparisons.push(await compare(input));
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  return comparisons;
}

function show({ input, theirs, ours, stderr, explainedBy, unexplained }: Comparison): string {
  return [
    `unexplained: ${unexplained.join(", ")}`,
    ...(explainedBy.length === 0 ? [] : [`explained otherwise: ${explainedBy.join("; ")}`]),
    `case:   ${JSON.stringify(input)}`,
    `script: ${JSON.stringify(theirs)}`,
    `ours:   ${JSON.stringify(ours)}`,
    stderr,
  ].join("\n");
}

function summarise(comparisons: readonly Comparison[], rows: readonly string[]): string {
  const identical = comparisons.filter(({ differing }) => differing.length === 0).length;
  const sameDeed = comparisons.filter(({ differing }) => !DEED.some((field) => differing.includes(field))).length;
  const perRow = rows.map((name) => `${count(comparisons, name)} ${name}`);
  return [
    `differential: ${comparisons.length} cases, ${identical} identical, ${sameDeed} with the same exit code, request and file`,
    ...perRow,
  ].join("\n  ");
}

function count(comparisons: readonly Comparison[], name: string): number {
  return comparisons.filter(({ explainedBy }) => explainedBy.includes(name)).length;
}

describe("beside the shell script that it replaces, the program", () => {
  const rows = INTENDED_DIFFERENCES.map(({ name }) => name);
  let comparisons: readonly Comparison[] = [];

  beforeAll(async () => {
    if (!existsSync(BASELINE_PATH)) {
      throw new Error(`the baseline script is missing: put codex_auth_refresh.sh at ${BASELINE_PATH}`);
    }
    if (!Number.isSafeInteger(CASE_COUNT) || CASE_COUNT < 1) throw new Error("DIFFERENTIAL_CASES is no count");
    comparisons = await compareAll(makeCases(CASE_COUNT));
    process.stdout.write(`${summarise(comparisons, rows)}\n`);
  }, RUN_TIMEOUT_MS);

  it("does the same on the same input, but for the intended differences", () => {
    const unexplained = comparisons.filter((comparison) => comparison.unexplained.length > 0);
    expect(comparisons).toHaveLength(CASE_COUNT);
    expect(unexplained.map(show).join("\n\n"), `${unexplained.length} cases differ`).toBe("");
  });

  it("puts no piece of a token into its output or its status", () => {
    expect(comparisons.filter(({ leak }) => leak !== null).map(({ input, leak }) => ({ leak, input }))).toEqual([]);
  });

  // A short run sees a part of the cases only: what it does not meet proves nothing.
  if (CASE_COUNT >= FULL_RUN) {
    it("has a case for every intended difference", () => {
      expect(rows.filter((name) => count(comparisons, name) === 0)).toEqual([]);
    });

    it("agrees outright where nothing is intended to differ", () => {
      const share = (isCounted: (comparison: Comparison) => boolean): number =>
        comparisons.filter(isCounted).length / comparisons.length;
      expect(share(({ differing }) => differing.length === 0)).toBeGreaterThan(LEAST_IDENTICAL);
      expect(share(({ differing }) => !DEED.some((field) => differing.includes(field)))).toBeGreaterThan(
        LEAST_SAME_DEED,
      );
    });
  }

  it("names each intended difference once, with a reason", () => {
    expect(new Set(rows).size).toBe(rows.length);
    expect(INTENDED_DIFFERENCES.filter(({ reason }) => reason.length < 20)).toEqual([]);
  });
});
