/** An address as it may be shown: a query, a user name or a password in it may be secret. */
export function shownUrl({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}
