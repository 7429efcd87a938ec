import { expect, it } from "vitest";
import { keepSmall } from "../../src/adapters/heap.js";

it("gives back what nobody holds any more, some time after the work", { timeout: 20_000 }, async () => {
  const tidyUp = keepSmall();
  const held = { bytes: new Uint8Array(1024) };
  const seen = new WeakRef(makeGarbage());
  const heldToo = new WeakRef(held);

  tidyUp();
  tidyUp(); // Once for both.
  await new Promise((resolve) => setTimeout(resolve, 3_500));

  expect(seen.deref()).toBeUndefined();
  expect(heldToo.deref()).toBe(held);
});

function makeGarbage(): object {
  return { text: "x".repeat(1000) };
}
