import * as fc from "fast-check";

/** `fc.assert` for a property that waits for nothing. Its own return type reads as a promise to linters. */
export function check<Values extends [unknown, ...unknown[]]>(
  property: fc.IPropertyWithHooks<Values>,
  parameters: fc.Parameters<Values> = {},
): void {
  const nothing: unknown = fc.assert(property, parameters);
  if (nothing !== undefined) throw new Error("this property waits: use fc.assert and await it");
}
