#!/usr/bin/env node
try {
  require("../dist/watchdog.cjs");
} catch (error) {
  // Node itself ends with 1 when it cannot load a program, which a start script would read as "nothing to do".
  process.stderr.write(
    `codex-auth-watchdog: cannot load dist/watchdog.cjs (${error.code}): build it, or install it again\n`,
  );
  process.exit(70);
}
