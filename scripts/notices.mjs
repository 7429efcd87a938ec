// The licence notices of the packages whose code is bundled: what has to go where that code goes.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const BETWEEN = `\n${"-".repeat(80)}\n\n`;

/**
 * The bundled packages' licence texts, in an order that no locale and no file system changes.
 *
 * @param {string} root
 * @param {readonly string[]} paths the bundled files, relative to the root
 */
export async function collectNotices(root, paths) {
  const packages = new Set(paths.map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? ""));
  packages.delete("");
  const notices = [...packages]
    .sort((one, other) => (one < other ? -1 : 1))
    .map(async (path) => {
      const { name, version, license } = JSON.parse(await readFile(join(root, path, "package.json"), "utf8"));
      const files = (await readdir(join(root, path))).sort();
      const file = files.find((entry) => /^licen[cs]e/i.test(entry)) ?? files.find((entry) => /^readme/i.test(entry));
      const whole = await readFile(join(root, path, file ?? "package.json"), "utf8");
      // Where it has no file of its own it is a part of the readme.
      const text = /^licen[cs]e/i.test(file ?? "") ? whole : (/^#+ *licen[cs]e.*\n([\s\S]*)/im.exec(whole)?.[1] ?? "");
      if (!/permission/i.test(text)) throw new Error(`${name} has no licence text: its code can't be bundled`);
      return `${name} ${version} (${license})\n\n${text.trim()}\n`;
    });
  return (await Promise.all(notices)).join(BETWEEN);
}

/**
 * Which packages the text of `collectNotices` is about.
 *
 * @param {string} notices
 * @returns {{ name: string, version: string, license: string }[]}
 */
export function readNotices(notices) {
  return notices.split(BETWEEN).map((notice) => {
    const heading = notice.slice(0, notice.indexOf("\n"));
    const [, name, version, license] = /^(\S+) (\d\S*) \((\S+)\)$/.exec(heading) ?? [];
    if (name === undefined) throw new Error(`no name, version and licence: ${heading}`);
    return { name, version, license };
  });
}
