import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { COMMANDS, OPTIONS } from "../../src/cli/option-table.js";
import { hasTool, readYaml } from "../support/deployments.js";
import { Home } from "../support/home.js";
import { makeAuthJson, makeTokens } from "../support/login.js";
import { startProgram, waitUntil } from "../support/program.js";
import {
  DASHBOARD,
  expand,
  type Panel,
  RULE_TESTS,
  RULES,
  readDashboard,
  readExpression,
  readRules,
  readRuleTests,
  readSamples,
  type Sample,
} from "../support/prometheus.js";
import { TokenServer } from "../support/token-server.js";

const DEPLOY = fileURLToPath(new URL("../../deploy", import.meta.url));

/** What Prometheus adds to every series. */
const TARGET_LABELS = ["job", "instance"];
/** Prometheus's own metric of a target. */
const UP = "up";
/** In a metrics file it says what was true when the file was written; dashboard and rules look at the times instead. */
const NOT_SHOWN = ["codex_auth_healthy"];

const dashboard = readDashboard();
const rules = readRules();
const targets = dashboard.panels.flatMap(({ title, targets }) =>
  targets.map(({ expr, legendFormat, refId }) => ({ name: `${title} ${refId}`, expr: expand(expr), legendFormat })),
);
/** `label_values(SELECTOR, LABEL)`: what a variable of the dashboard can be set to. */
const variables = dashboard.templating.list
  .filter(({ type }) => type === "query")
  .map(({ name, definition = "" }) => {
    const [, selector = "", label = ""] = /^label_values\((.+), (\w+)\)$/.exec(definition) ?? [];
    return { name: `variable ${name}`, expr: `count by (${label}) (${expand(selector)})` };
  });
const expressions: readonly (readonly [string, string])[] = [
  ...[...targets, ...variables].map(({ name, expr }) => [`${DASHBOARD}: ${name}`, expr] as const),
  ...rules.map(({ alert, expr }) => [`${RULES}: ${alert}`, expr] as const),
];

let folder: string;
/** What a loop of the built program writes, after it has refreshed a login. */
let text: string;
let samples: Sample[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "watchdog-monitoring-"));
  const file = join(folder, "codex-auth-watchdog.prom");
  const server = await TokenServer.start();
  const home = new Home();
  try {
    home.writeAuth(makeAuthJson(server.admit(makeTokens({ expiresInSec: 60 }))));
    const { child, ended } = startProgram({
      args: ["--metrics-file", file],
      env: { CODEX_HOME: home.path, CODEX_REFRESH_TOKEN_URL_OVERRIDE: server.url },
    });
    await waitUntil("the metrics", () => existsSync(file) || child.exitCode !== null);
    text = readFileSync(file, "utf8");
    samples = readSamples(text);
    child.kill("SIGTERM");
    expect(await ended).toMatchObject({ code: 0, signal: null });
  } finally {
    home.remove();
    await server.stop();
  }
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("what dashboard and alert rules read", () => {
  it.each(expressions)("is written by the program, with these labels: %s", (_, expr) => {
    const { selectors, groupedBy } = readExpression(expr);

    expect(selectors.length).toBeGreaterThan(0);
    const known = new Set([...TARGET_LABELS, ...selectors.flatMap(({ metric }) => labelsOf(metric))]);
    expect(groupedBy.filter((label) => !known.has(label))).toEqual([]);
    for (const { metric, matchers } of selectors) {
      if (metric !== UP) expect(samples.map((sample) => sample.metric)).toContain(metric);
      for (const { label, value } of matchers) {
        expect([...TARGET_LABELS, ...labelsOf(metric)], metric).toContain(label);
        if (TARGET_LABELS.includes(label) || value === ".*") continue;
        const given = samples.filter((sample) => sample.metric === metric).map(({ labels }) => labels[label]);
        expect(given, metric).toEqual(expect.arrayContaining(value.split("|")));
      }
    }
  });

  it("is all that the program tells", () => {
    const shown = [...targets, ...rules].flatMap(({ expr }) =>
      readExpression(expr).selectors.map(({ metric }) => metric),
    );

    const told = new Set(samples.map(({ metric }) => metric));
    expect(new Set([...shown.filter((metric) => metric !== UP), ...NOT_SHOWN])).toEqual(told);
  });

  it("is shown with labels that it has", () => {
    for (const { name, expr, legendFormat } of targets) {
      const { selectors, groupedBy } = readExpression(expr);
      const known = [...TARGET_LABELS, ...groupedBy, ...selectors.flatMap(({ metric }) => labelsOf(metric))];
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect(known, name).toContain(label);
    }
  });
});

describe("the dashboard", () => {
  const { panels } = dashboard;

  it("has a title, an id of its own and something to show for each panel", () => {
    expect(panels.length).toBeGreaterThan(0);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
    for (const { title, targets } of panels) {
      expect(title).not.toBe("");
      expect(targets.length, title).toBeGreaterThan(0);
      expect(new Set(targets.map(({ refId }) => refId)).size, title).toBe(targets.length);
    }
  });

  it("lays no panel over another, nor over the edge", () => {
    for (const [index, panel] of panels.entries()) {
      const { x, w, h } = panel.gridPos;
      expect([x >= 0, x + w <= 24, w > 0, h > 0], panel.title).toEqual([true, true, true, true]);
      const covered = panels.slice(index + 1).filter((other) => overlap(panel, other));
      expect(
        covered.map(({ title }) => title),
        panel.title,
      ).toEqual([]);
    }
  });

  it("asks the data source that its reader chooses, and no other", () => {
    expect(dashboard.templating.list).toContainEqual(
      expect.objectContaining({ name: "datasource", type: "datasource", query: "prometheus" }),
    );
    const sources = [...JSON.stringify(dashboard).matchAll(/"uid":"([^"]*)"/g)].map(([, uid]) => uid);
    expect(new Set(sources)).toEqual(new Set([`\${datasource}`, "codex-auth-watchdog"])); // The second is its own id.
    for (const { title, datasource, targets } of panels) {
      for (const source of [datasource, ...targets.map((target) => target.datasource)]) {
        expect(source.uid, title).toBe(`\${datasource}`);
      }
    }
  });
});

describe("the alert rules", () => {
  it.each([RULES, RULE_TESTS])("%s is YAML that its parser has nothing against", (file) => {
    expect(readYaml(file).complaints).toEqual([]);
  });

  it.each(rules.map((rule) => [rule.alert, rule] as const))("%s names a cure that there is", (_, rule) => {
    const { summary = "", description = "" } = rule.annotations;

    expect(summary).toMatch(/`codex login`|`codex-auth-watchdog (status|doctor)`/);
    const words = [...`${summary} ${description}`.matchAll(/`codex-auth-watchdog ([^`]+)`/g)].map(([, word]) => word);
    const known = [...Object.keys(COMMANDS), ...OPTIONS.map(({ flag }) => flag)];
    for (const word of words) expect(known).toContain(word);
    expect(["critical", "warning"]).toContain(rule.labels["severity"]);
  });

  it("say what they are about with labels that the metrics have", () => {
    const known = [...TARGET_LABELS, ...new Set(samples.flatMap(({ labels }) => Object.keys(labels)))];
    for (const { alert, annotations } of rules) {
      const named = [...JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label);
      for (const label of named) expect(known, alert).toContain(label);
    }
  });

  it("are each tested in alerts.test.yaml where they fire, and where they are silent", () => {
    const tests = readRuleTests();
    const alerts = new Set(rules.map(({ alert }) => alert));
    const alertsOf = (list: typeof tests): Set<string> => new Set(list.map(({ alert }) => alert));

    expect(alerts.size).toBe(rules.length);
    expect(alertsOf(tests.filter(({ firingCount }) => firingCount > 0))).toEqual(alerts);
    expect(alertsOf(tests.filter(({ firingCount }) => firingCount === 0))).toEqual(alerts);
  });
});

describe.skipIf(!hasTool("promtool"))("promtool (bash .ci/run fetches it; Debian has it in `prometheus`)", () => {
  it("has nothing against the metrics", () => {
    const { status, stderr } = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it("has nothing against the rules", () => {
    expect(promtool("check", "rules", "--lint-fatal", RULES)).toMatchObject({ status: 0, stderr: "" });
  });

  it("finds that they fire when a person is needed, and only then", () => {
    expect(promtool("test", "rules", RULE_TESTS)).toMatchObject({ status: 0 });
  });

  it("finds something to show for every panel, in what the program has written", () => {
    const file = join(folder, "panels.yaml");
    const target = 'job="node",instance="here:9100"';
    const input_series = samples.map(({ series, value }) => ({
      series: series.includes("{") ? series.replace(/\}$/, `,${target}}`) : `${series}{${target}}`,
      values: `${value}+0x120`,
    }));
    const promql_expr_test = [...targets, ...variables].map(({ expr }) => ({
      expr: `count(${expr}) > bool 0`,
      eval_time: "2h",
      exp_samples: [{ labels: "{}", value: 1 }],
    }));
    writeFileSync(file, stringify({ tests: [{ interval: "1m", input_series, promql_expr_test }] }));

    expect(promtool("test", "rules", file)).toMatchObject({ status: 0 });
  });
});

/** The labels that the program gives to a metric. */
function labelsOf(metric: string): string[] {
  return samples.filter((sample) => sample.metric === metric).flatMap(({ labels }) => Object.keys(labels));
}

function overlap({ gridPos: a }: Panel, { gridPos: b }: Panel): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

function promtool(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync("promtool", args, { cwd: DEPLOY, encoding: "utf8" });
  return { status, stdout, stderr };
}
