/** One line of strace's output. */
export interface Syscall {
  readonly name: string;
  readonly line: string;
}

/** Reads what `strace -f -o` has written; a call that another thread's line parts in two counts once, where it ends. */
export function readTrace(text: string): readonly Syscall[] {
  const begun = new Map<string, string>();
  return text.split("\n").flatMap((line) => {
    const [, thread = "", rest = ""] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    if (rest.endsWith("<unfinished ...>")) {
      begun.set(thread, rest.replace(/\s*<unfinished \.\.\.>$/, ""));
      return [];
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const whole = resumed === null ? rest : `${begun.get(thread) ?? ""}${resumed[1]}`;
    const name = /^(\w+)\(/.exec(whole)?.[1];
    return name === undefined ? [] : [{ name, line: whole }];
  });
}
