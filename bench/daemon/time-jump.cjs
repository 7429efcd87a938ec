// Preloaded into the built program (node --require): its long sleeps end at once, and its clocks jump ahead by what it
// meant to sleep, so that a week passes in half a minute. The program itself is the one that ships. When the time is
// over it is told to stop. Prints two lines of JSON: at the first sleep and at the end.
const fs = require("node:fs");
const timers = require("node:timers/promises");

const LASTS_MS = Number(process.env.TIME_JUMP_MS);
/** Shorter ones belong to a cycle, not to the loop. */
const SHORTEST_JUMP_MS = 1_000;

const { now: dateNow } = Date;
const performanceNow = performance.now.bind(performance);
const { setTimeout: sleep } = timers;
const { watch } = fs;

let jumpedMs = 0;
let sleepCount = 0;
let cycleCount = 0;
let isOver = false;

Date.now = () => dateNow() + Math.floor(jumpedMs);
performance.now = () => performanceNow() + jumpedMs;

// The loop begins to watch anew with each cycle.
fs.watch = (...args) => {
  cycleCount += 1;
  return watch(...args);
};

timers.setTimeout = async (delayMs, value, options) => {
  if (isOver || !(delayMs >= SHORTEST_JUMP_MS)) return await sleep(delayMs, value, options);
  if (sleepCount === 0) tell();
  // A real timer with the real signal, because what they leave behind is what is looked for.
  const result = await sleep(1, value, options);
  sleepCount += 1;
  jumpedMs += delayMs;
  if (jumpedMs >= LASTS_MS) {
    isOver = true;
    tell();
    process.kill(process.pid, "SIGTERM");
  }
  return result;
};

function tell() {
  const rollup = fs.readFileSync("/proc/self/smaps_rollup", "utf8");
  const kib = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(rollup)?.[1]);
  const { user, system } = process.cpuUsage();
  const [rssKib, pssKib] = [kib("Rss"), kib("Pss")];
  require("node:v8").setFlagsFromString("--expose-gc");
  require("node:vm").runInNewContext("gc")();
  const heapKib = process.memoryUsage().heapUsed / 1024;
  fs.writeSync(
    1,
    `${JSON.stringify({ jumpedMs, sleepCount, cycleCount, cpuMs: (user + system) / 1000, rssKib, pssKib, heapKib })}\n`,
  );
}
