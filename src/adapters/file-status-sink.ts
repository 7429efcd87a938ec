import { chownSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
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
    write: (status) => {
      const temporary = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
      try {
        // An absent home stays absent: an image's smoke check must leave no trace. The dot asks for a directory.
        if (!existsSync(`${codexHome}/.`)) return null;
        // By hand, unlike the credential: write-file-atomic loads crypto and workers, a fifth of a bare Node's start.
        writeFileSync(temporary, JSON.stringify(status, null, 2), { flag: "wx", mode: 0o600 });
        const owner = ownerFor({ file: join(codexHome, "auth.json"), directory: codexHome });
        if (owner !== null) chownSync(temporary, owner.uid, owner.gid);
        renameSync(temporary, path);
        return null;
      } catch (error) {
        rmSync(temporary, { force: true });
        return toFault(error, "write the status", path);
      }
    },
  };
}
