const UNIT_SEC: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, h: 3_600, d: 86_400 };

/** Ten years, seconds: beyond any token, and still exact in milliseconds. */
const MAX_SEC = 10 * 366 * 86_400;

/**
 * Reads a duration as people write it: `21600`, `90s`, `30m`, `6h`, `7d`.
 *
 * @returns whole seconds, or null when the text is no such duration or is longer than ten years
 */
export function parseDurationSec(text: string): number | null {
  const match = /^(\d{1,12})([smhd]?)$/.exec(text.trim());
  if (match === null) return null;
  const seconds = Number(match[1]) * (UNIT_SEC[match[2] ?? ""] ?? Number.NaN);
  return seconds <= MAX_SEC ? seconds : null;
}
