import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseDurationSec } from "../../src/cli/duration.js";
import { type CommandName, OPTIONS } from "../../src/cli/option-table.js";
import { parseArguments, type Settings, VERSION } from "../../src/cli/options.js";
import { check } from "../support/property.js";

type Environment = Readonly<Record<string, string | undefined>>;

async function settingsOf(argv: readonly string[] = [], environment: Environment = {}): Promise<Settings> {
  const parsed = await parseArguments(argv, environment, "/home/agent");
  if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
  return parsed.settings;
}

async function messageOf(argv: readonly string[], environment: Environment = {}): Promise<string> {
  const parsed = await parseArguments(argv, environment, "/home/agent");
  if (parsed.kind !== "usage-error") throw new Error(`no usage error: ${parsed.kind}`);
  expect(parsed.message).not.toMatch(/[\n\r]/);
  return parsed.message;
}

describe("a duration", () => {
  it.each([
    ["0", 0],
    ["21600", 21_600],
    [" 90s ", 90],
    ["30m", 1_800],
    ["6h", 21_600],
    ["7d", 604_800],
    ["3660d", 316_224_000],
  ])("%j is %i seconds", (text, seconds) => {
    expect(parseDurationSec(text)).toBe(seconds);
  });

  it.each([
    "",
    " ",
    "-1",
    "+1",
    "1.5",
    "1e3",
    "6 h",
    "6H",
    "h",
    "6hh",
    "0x10",
    "Infinity",
    "NaN",
    "3661d",
    "999999999999",
    "１２",
  ])("%j is none", (text) => {
    expect(parseDurationSec(text)).toBeNull();
  });

  it("never throws, and is exact in milliseconds", () => {
    check(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\d{1,13}[smhd]?$/)), (text) => {
        const seconds = parseDurationSec(text);
        expect(seconds === null || Number.isSafeInteger(seconds * 1000)).toBe(true);
      }),
    );
  });
});

describe("without arguments", () => {
  it("the shell script's defaults hold", async () => {
    expect(await settingsOf()).toMatchObject({
      codexHomes: ["/home/agent/.codex"],
      isOnce: false,
      isForced: false,
      intervalSec: 21_600,
      safetyMarginSec: 14_400,
      staleAfterSec: 604_800,
      endpoint: { clientId: "app_EMoamEEZ73f0CkXaXp7hrann", caFile: null, httpProxy: "", httpsProxy: "", noProxy: "" },
    });
    expect((await settingsOf()).endpoint.url.href).toBe("https://auth.openai.com/oauth/token");
  });
});

describe.each([
  ["--interval", "CODEX_AUTH_REFRESH_INTERVAL_SECONDS", "intervalSec", 21_600],
  ["--safety-margin", "CODEX_AUTH_SAFETY_MARGIN_SECONDS", "safetyMarginSec", 14_400],
  ["--stale-after", "CODEX_AUTH_STALE_AFTER_SECONDS", "staleAfterSec", 604_800],
] as const)("%s", (flag, variable, name, preset) => {
  it("wins over the environment, which wins over the default", async () => {
    expect((await settingsOf([]))[name]).toBe(preset);
    expect((await settingsOf([], { [variable]: "77" }))[name]).toBe(77);
    expect((await settingsOf([], { [variable]: "2h" }))[name]).toBe(7_200);
    expect((await settingsOf([flag, "30m"], { [variable]: "77" }))[name]).toBe(1_800);
    expect((await settingsOf([`${flag}=30m`], { [variable]: "77" }))[name]).toBe(1_800);
  });

  it("takes a blank variable for none", async () => {
    expect((await settingsOf([], { [variable]: " " }))[name]).toBe(preset);
  });

  it("names its source when the number is bad", async () => {
    expect(await messageOf([], { [variable]: "soon" })).toContain(variable);
    expect(await messageOf([], { [variable]: "soon" })).toContain("soon");
    expect(await messageOf([flag, "soon"])).toContain(flag);
    expect(await messageOf([flag, "-1"])).toContain(flag);
    expect(await messageOf([flag])).toContain(flag);
  });

  it("quotes no more than a little of a bad value", async () => {
    const secret = "s".repeat(2_000);
    expect((await messageOf([flag, secret])).length).toBeLessThan(300);
  });
});

it("an interval of nothing is refused; margins of nothing are not", async () => {
  expect(await messageOf(["--interval", "0"])).toContain("at least 1s");
  expect(await settingsOf(["--safety-margin", "0", "--stale-after", "0"])).toMatchObject({
    safetyMarginSec: 0,
    staleAfterSec: 0,
  });
});

describe("the home", () => {
  it("is the flag's, else CODEX_HOME, else .codex in the user's home", async () => {
    expect((await settingsOf(["--codex-home", "/a"], { CODEX_HOME: "/b" })).codexHomes).toEqual(["/a"]);
    expect((await settingsOf([], { CODEX_HOME: "/b" })).codexHomes).toEqual(["/b"]);
    expect((await settingsOf([], { CODEX_HOME: "" })).codexHomes).toEqual(["/home/agent/.codex"]);
  });

  it("has a name", async () => {
    expect(await messageOf(["--codex-home", ""])).toContain("--codex-home");
    expect(await messageOf(["--codex-home="])).toContain("--codex-home");
  });
});

it.each([[["--nonsense"]], [["--one"]], [["--forced"]], [["surprise"]], [["--once=yes"]], [["-x"]]])(
  "%j is a usage error",
  async (argv) => {
    expect(await messageOf(argv)).not.toBe("");
  },
);

it("--once and --force are heard", async () => {
  expect(await settingsOf(["--once", "--force"])).toMatchObject({ isOnce: true, isForced: true });
});

it("help and version are shown, before anything is checked", async () => {
  expect(await parseArguments(["--version"], {}, "/h")).toEqual({ kind: "show", text: `${VERSION}\n` });
  const help = await parseArguments(["--help"], {}, "/h");
  expect(help.kind === "show" && help.text).toMatch(/--once[\s\S]*Exit codes/);
});

describe("the token endpoint", () => {
  const VARIABLE = "CODEX_REFRESH_TOKEN_URL_OVERRIDE";

  it.each([
    "https://auth.example.com/token",
    "http://127.0.0.1:8080/x",
    "http://localhost/x",
    "http://[::1]:1/x",
    "HTTPS://a.b/",
  ])("may be %s", async (url) => {
    expect((await settingsOf([], { [VARIABLE]: url })).endpoint.url.href).toBe(new URL(url).href);
  });

  it.each([
    "http://auth.example.com/token",
    "http://127.0.0.1.example.com/",
    "http://localhost@example.com/",
    "https://user:password@auth.example.com/",
    "https://user@auth.example.com/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "auth.example.com",
    "//auth.example.com",
    "https://",
  ])("may not be %s", async (url) => {
    const message = await messageOf([], { [VARIABLE]: url });
    expect(message).toContain(VARIABLE);
    expect(message).not.toContain("password@");
  });

  it("is Codex's own when the variable is blank", async () => {
    expect((await settingsOf([], { [VARIABLE]: " " })).endpoint.url.hostname).toBe("auth.openai.com");
  });

  it("takes client, certificates and proxies from Codex's own variables", async () => {
    const { endpoint } = await settingsOf([], {
      CODEX_APP_SERVER_LOGIN_CLIENT_ID: "client",
      CODEX_CA_CERTIFICATE: "/ca.pem",
      SSL_CERT_FILE: "/other.pem",
      https_proxy: "http://small:1",
      HTTPS_PROXY: "http://big:1",
      ALL_PROXY: "http://all:1",
      NO_PROXY: "a,b",
    });
    expect(endpoint).toMatchObject({
      clientId: "client",
      caFile: "/ca.pem",
      httpsProxy: "http://small:1",
      httpProxy: "http://all:1",
      noProxy: "a,b",
    });
    expect((await settingsOf([], { SSL_CERT_FILE: "/other.pem" })).endpoint.caFile).toBe("/other.pem");
  });
});

it("plain calls, which no parser sees, mean what the parser makes of them", async () => {
  for (const argv of [[], ["--once"], ["--force"], ["--once", "--force"], ["--force", "--once", "--once"]]) {
    const environment = { CODEX_HOME: "/b", CODEX_AUTH_SAFETY_MARGIN_SECONDS: "2h" };
    // An interval that stands anyway is a flag that changes nothing.
    const parsed = await settingsOf([...argv, "--interval", "21600"], environment);
    expect(await settingsOf(argv, environment)).toEqual(parsed);
  }
});

it("any arguments yield settings, a text or one line, and never throw", async () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom("--once", "--interval", "--codex-home", "--force", "6h", "--", "-"),
  );
  const environment = fc.dictionary(
    fc.constantFrom("CODEX_HOME", "CODEX_AUTH_REFRESH_INTERVAL_SECONDS", "HTTPS_PROXY"),
    fc.string(),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 5 }), environment, async (argv, env) => {
      const parsed = await parseArguments(argv, env, "/h");
      if (parsed.kind === "usage-error") expect(parsed.message).toMatch(/^[^\n\r]+$/);
    }),
  );
});

describe("the table of options", () => {
  const helpOf = async (command: CommandName): Promise<string> => {
    const parsed = await parseArguments([...(command === "run" ? [] : [command]), "--help"], {}, "/home/agent");
    return parsed.kind === "show" ? parsed.text.replace(/\s+/g, " ") : "";
  };

  it.each(["run", "status", "check", "wait", "doctor"] as const)("is what the help of %s shows", async (command) => {
    const help = await helpOf(command);
    for (const { flag, variables, commands, help: words } of OPTIONS) {
      const [name = ""] = flag?.split(" ") ?? [];
      const isOurs = commands.includes(command);
      if (name !== "") expect(help.includes(` ${name} `), `${name} of ${command}`).toBe(isOurs);
      if (isOurs && (name !== "" || command === "run")) {
        for (const word of [words, ...variables]) expect(help).toContain(word);
      }
    }
  });

  it("knows every variable that the program reads", () => {
    const source = readFileSync(new URL("../../src/cli/options.ts", import.meta.url), "utf8");
    const known = OPTIONS.flatMap(({ variables }) => variables);
    const read = [...source.matchAll(/"((?:CODEX|SSL)_[A-Z_]+|[A-Z]+_PROXY)"/g)].map(([, name]) => name);
    expect(read.length).toBeGreaterThan(5);
    for (const name of read) expect(known).toContain(name);
  });

  it("gives each value of a flag to its setting, and wins over the environment", async () => {
    const environment = {
      CODEX_AUTH_ON_EVENT: "/env",
      CODEX_AUTH_METRICS_FILE: "/env.prom",
      CODEX_AUTH_HTTP: "1",
      CODEX_AUTH_LOG_FORMAT: "json",
      CODEX_AUTH_LOG_LEVEL: "debug",
    };
    expect(await settingsOf([], environment)).toMatchObject({
      onEvent: "/env",
      metricsFile: "/env.prom",
      http: { host: "127.0.0.1", port: 1 },
      logFormat: "json",
      logLevel: "debug",
    });
    const words = ["--on-event", "/flag", "--metrics-file", "/f.prom", "--http", "[::1]:2", "--log-format", "text"];
    expect(await settingsOf([...words, "--log-level", "warn"], environment)).toMatchObject({
      onEvent: "/flag",
      metricsFile: "/f.prom",
      http: { host: "::1", port: 2 },
      logFormat: "text",
      logLevel: "warn",
    });
  });

  it("takes homes one by one, or as a shell spells them out", async () => {
    const homes = ["/a", "/b", "/c"];
    expect((await settingsOf(["--codex-home", ...homes, "--once"])).codexHomes).toEqual(homes);
    expect((await settingsOf(["--codex-home", "/a", "--codex-home", "/b", "/c"])).codexHomes).toEqual(homes);
    expect((await settingsOf(["--codex-home", "/a", "/a"])).codexHomes).toEqual(["/a"]);
  });

  it.each([
    ["9464", "127.0.0.1", 9464],
    [":9464", "127.0.0.1", 9464],
    ["0.0.0.0:0", "0.0.0.0", 0],
    ["localhost:65535", "localhost", 65_535],
    ["[fe80::1]:80", "fe80::1", 80],
  ])("listens for %s at %s, port %i", async (text, host, port) => {
    expect((await settingsOf(["--http", text])).http).toEqual({ host, port });
  });
});
