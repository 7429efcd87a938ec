import { parser } from "@prometheus-io/lezer-promql";
import { readDeployment, readYaml } from "./deployments.js";

export const RULES = "alerts.yaml";
export const RULE_TESTS = "alerts.test.yaml";
export const DASHBOARD = "grafana-dashboard.json";

/** One sample of Prometheus's text format. */
export interface Sample {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: string;
  /** Name and labels as they stand there. */
  readonly series: string;
}

/** What a PromQL expression reads. */
export interface Selection {
  readonly selectors: readonly Selector[];
  /** The labels of `by`, `on`, `ignoring` and the like. */
  readonly groupedBy: readonly string[];
}

export interface Selector {
  readonly metric: string;
  readonly matchers: readonly { readonly label: string; readonly value: string }[];
}

export interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Panel {
  readonly id: number;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource: { readonly uid: string };
  readonly targets: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly legendFormat: string;
    readonly datasource: { readonly uid: string };
  }[];
}

export interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly definition?: string }[];
  };
}

/** Reads Prometheus's text format, as far as this program writes it. */
export function readSamples(text: string): Sample[] {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return lines.map((line) => {
    const [, metric, list = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (metric === undefined || value === undefined) throw new Error(`no sample: ${line}`);
    const labels = [...list.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name = "", text = ""]) => [name, text]);
    return { metric, value, labels: Object.fromEntries(labels), series: line.slice(0, line.lastIndexOf(" ")) };
  });
}

/** Reads which metrics and labels an expression names. Throws when it is no PromQL. */
export function readExpression(expr: string): Selection {
  const groupedBy: string[] = [];
  const selectors: { metric: string; matchers: { label: string; value: string }[] }[] = [];
  let label = "";
  let isMatcher = false;
  parser.parse(expr).iterate({
    enter: ({ type, name, from, to }) => {
      const text = expr.slice(from, to);
      if (type.isError) throw new Error(`no PromQL at ${from}: ${expr}`);
      if (name === "VectorSelector") selectors.push({ metric: text.replace(/\{.*/s, ""), matchers: [] });
      if (name === "UnquotedLabelMatcher") isMatcher = true;
      if (name === "LabelName") {
        if (isMatcher) label = text;
        else groupedBy.push(text);
      }
      if (name === "StringLiteral" && isMatcher) {
        selectors.at(-1)?.matchers.push({ label, value: text.slice(1, -1) });
        isMatcher = false;
      }
    },
  });
  return { selectors, groupedBy };
}

export function readRules(): Rule[] {
  const [file] = readYaml(RULES).documents;
  const { groups } = file as unknown as { groups: { rules: Rule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

/** The expectations of the rules' own tests: an alert, and how often it is firing then. */
export function readRuleTests(): { alert: string; firingCount: number }[] {
  const [file] = readYaml(RULE_TESTS).documents;
  const { tests } = file as unknown as {
    tests: { alert_rule_test: { alertname: string; exp_alerts?: unknown[] }[] }[];
  };
  return tests.flatMap(({ alert_rule_test }) =>
    alert_rule_test.map(({ alertname, exp_alerts }) => ({ alert: alertname, firingCount: exp_alerts?.length ?? 0 })),
  );
}

export function readDashboard(): Dashboard {
  return JSON.parse(readDeployment(DASHBOARD)) as Dashboard;
}

/** An expression of the dashboard as Grafana sends it, with everything chosen. */
export function expand(expr: string): string {
  const expanded = expr.replaceAll("$__interval", "1h").replace(/\$(instance|codex_home)\b/g, ".*");
  if (expanded.includes("$")) throw new Error(`a variable that nobody knows: ${expanded}`);
  return expanded;
}
