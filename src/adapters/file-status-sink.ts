import { existsSync, lstatSync, readFileSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { parseObject } from "../core/json.js";
import type { StatusSink } from "../ports.js";
import { toFault } from "./errno.js";
import { ownerFor } from "./place.js";

/** The status as a file: `auth_refresh_status.json` in the Codex home, as the shell script wrote it. */
export function fileStatusSink(codexHome: string): StatusSink {
  const path = join(codexHome, "auth_refresh_status.json");
  return {
    readFailureCount: () => {
      try {
        const count = parseObject(readFileSync(path, "utf8"))?.["consecutive_failures"];
        return typeof count === "number" && Number.isSafeInteger(count) && count > 0 ? count : 0;
      } catch {
        return 0; // No status yet, or none that this user may read: the count starts anew.
      }
    },
    write: async (status) => {
      try {
        // An absent home stays absent: an image's smoke check must leave no trace. The dot asks for a directory.
        if (!existsSync(`${codexHome}/.`)) return null;
        // write-file-atomic follows a symbolic link; the script replaced it, and so can't be led astray.
        if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true) unlinkSync(path);
        const { replaceFile } = await import("./whole-file.js");
        const owner = ownerFor({ file: join(codexHome, "auth.json"), directory: codexHome });
        await replaceFile(path, JSON.stringify(status, null, 2), owner, "quick");
        return null;
      } catch (error) {
        return toFault(error, "write the status", path);
      }
    },
  };
}
