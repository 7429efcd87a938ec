import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readStatus } from "../core/status.js";
import type { StatusSink } from "../ports.js";
import { toFault } from "./errno.js";
import { ownerFor } from "./place.js";
import { replaceSmallFile } from "./small-file.js";

/** The status as a file: `auth_refresh_status.json` in the Codex home, as the shell script wrote it. */
export function fileStatusSink(codexHome: string): StatusSink {
  const path = join(codexHome, "auth_refresh_status.json");
  return {
    read: () => {
      try {
        return readStatus(readFileSync(path, "utf8"));
      } catch {
        return null; // None yet, or none that this user may read: whatever counts in it starts anew.
      }
    },
    write: (status) => {
      try {
        // An absent home stays absent: an image's smoke check must leave no trace. The dot asks for a directory.
        if (!existsSync(`${codexHome}/.`)) return null;
        const owner = ownerFor({ file: join(codexHome, "auth.json"), directory: codexHome });
        replaceSmallFile(path, JSON.stringify(status, null, 2), 0o600, owner);
        return null;
      } catch (error) {
        return toFault(error, "write the status", path);
      }
    },
  };
}
