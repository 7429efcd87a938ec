import { expect, it } from "vitest";
import { openStopwatch } from "../../bench/stopwatch.js";

const node = (code: string): { argv: readonly [string, ...string[]] } => ({ argv: [process.execPath, "-e", code] });

it("tells what each command cost: its own time, its own CPU, its own memory, and its code", async () => {
  const stopwatch = openStopwatch();
  try {
    expect(stopwatch.tellsUsage).toBe(true); // The tests need python3 anyway.
    const idle = await stopwatch.run(node("setTimeout(() => process.exit(3), 400)"));
    const busy = await stopwatch.run(node("while (process.cpuUsage().user < 400_000);"));
    const large = await stopwatch.run(node("Buffer.alloc(2e8, 1)"));
    const small = await stopwatch.run(node("0"), node("process.exit(1)"), node("process.kill(process.pid)"));
    expect(idle.codes).toEqual([3]);
    expect(idle.wallMs).toBeGreaterThan(400);
    expect(busy.cpuMs).toBeGreaterThan(390); // However long it had to wait for its turn.
    expect(idle.cpuMs).toBeLessThan(200);
    expect(large.peakKib).toBeGreaterThan(190_000);
    expect(small.peakKib).toBeLessThan(190_000); // What ran before does not count.
    expect(small.codes).toEqual([0, 1, -15]);
  } finally {
    stopwatch.close();
  }
});
