/**
 * A time as text, in UTC with milliseconds: what Date#toISOString writes, which asks the system for its time zone before
 * (V8 11.3 to 14.6 open /etc/localtime, a hundredth of a bare Node's start).
 *
 * @param ms milliseconds since 1970; throws a RangeError where no date is that far, as Date does
 */
export function toRfc3339(ms: number): string {
  const date = new Date(ms);
  const year = date.getUTCFullYear();
  if (!(year >= 0 && year <= 9999)) return date.toISOString();
  const two = (part: number): string => String(part).padStart(2, "0");
  const day = `${String(year).padStart(4, "0")}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
  const time = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
  return `${day}T${time}.${String(date.getUTCMilliseconds()).padStart(3, "0")}Z`;
}
