// Preloaded into a run of the built program (`node -r`): keeps what V8 has compiled of each bundle by the end of it.
const { mkdirSync, renameSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const v8 = require("node:v8");
const vm = require("node:vm");

const folder = process.env.KEEP_CODE_IN ?? "";
const wanted = (process.env.KEEP_CODE_OF ?? "").split(",");
const scripts = new Map();

// V8 refuses what was kept under other flags than its own at the start.
v8.setFlagsFromString = () => undefined;

vm.Script = class extends vm.Script {
  constructor(code, options) {
    super(code, options);
    const hash = /^\(function\([\w,]+\)\{\/\*([0-9a-f]{14})/.exec(code)?.[1];
    if (wanted.some((name) => options.filename.endsWith(`/${name}`))) scripts.set(hash, this);
  }
};

process.on("exit", () => {
  mkdirSync(folder, { recursive: true });
  for (const [hash, script] of scripts) {
    const path = join(folder, hash);
    const code = script.createCachedData();
    writeFileSync(`${path}.new`, Buffer.concat([code, code])); // Twice: see bin/watchdog.cjs.
    renameSync(`${path}.new`, path);
  }
});
