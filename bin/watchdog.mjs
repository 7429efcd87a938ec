#!/usr/bin/env node
// Node itself ends with 1 when it cannot load a program, which a start script would read as "nothing to do".
await import("../dist/watchdog.mjs").catch(({ code }) => {
  process.stderr.write(`codex-auth-watchdog: cannot load dist/watchdog.mjs (${code}): build it, or install it again\n`);
  process.exit(70);
});
