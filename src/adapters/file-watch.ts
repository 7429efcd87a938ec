import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { findPlace } from "./place.js";

/**
 * Calls back when something happens to a file or to what it links to. Where watching does not work (a network file
 * system, no inotify watches left, no such directory) it calls nobody: a tick must stand behind it.
 *
 * @returns ends the watching
 */
export function watchFile(path: string, onEvent: () => void): () => void {
  const watchers: FSWatcher[] = [];
  for (const file of new Set([path, findPlace(path).file])) {
    try {
      // The directory, because a rename puts another file in the place of the one that was watched.
      const watcher = watch(dirname(file), { persistent: false }, (_event, name) => {
        if (name === null || name === basename(file)) onEvent();
      });
      watcher.on("error", () => watcher.close());
      watchers.push(watcher);
    } catch {
      // The tick remains.
    }
  }
  return () => {
    for (const watcher of watchers) watcher.close();
  };
}
