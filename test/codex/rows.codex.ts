import { describe, it } from "vitest";
import { GROUPS } from "./rows.js";
import { type Release, Stage } from "./stage.js";
import { complaintOf } from "./table.js";
import type { RowMeta } from "./table-reporter.js";

/** Pairs of a version and the path of its command, from scripts/test-codex.mjs. */
const PROGRAMS = JSON.parse(process.env["CODEX_PROGRAMS"] ?? "[]") as (readonly [string, string])[];

const isRoot = process.geteuid?.() === 0;

describe.each(PROGRAMS)("Codex %s", (version, program) => {
  const release: Release = { version, program };
  for (const row of GROUPS.flatMap(({ rows }) => rows)) {
    it.skipIf(row.needs === "root" && !isRoot)(row.name, async ({ task }) => {
      const meta: RowMeta = { version, row: row.name, seen: null };
      Object.assign(task.meta, { codex: meta });
      const stage = await Stage.open(release);
      let seen: string;
      try {
        seen = await row.observe(stage);
      } finally {
        await stage.close();
      }
      Object.assign(task.meta, { codex: { ...meta, seen } });
      const complaint = complaintOf(row, version, seen);
      if (complaint !== null) throw new Error(complaint);
    });
  }
});
