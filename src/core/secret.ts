/**
 * A token that does not print itself.
 *
 * String conversion, JSON and `console.log` all show `[secret]`, so a token that strays into a log line,
 * a status file or an error arrives there as nothing. Only {@link Secret.reveal} gives the text, and every
 * call of it is a place worth reading in a review.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The token itself. */
  reveal(): string {
    return this.#text;
  }

  equals(other: Secret): boolean {
    return this.#text === other.reveal();
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  /** What `util.inspect` and so `console.log` print; the symbol is Node's documented one. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[secret]";
  }
}
