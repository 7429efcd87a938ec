import { existsSync, readFileSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { Fault } from "../core/fault.js";
import type { Status } from "../core/status.js";
import type { StatusSink } from "../ports.js";
import { toFault } from "./errno.js";
import { isSymbolicLink, ownerFor } from "./place.js";

/** The status as a file: `auth_refresh_status.json` in the Codex home, as the shell script wrote it. */
export class FileStatusSink implements StatusSink {
  readonly #codexHome: string;
  readonly #path: string;

  constructor(codexHome: string) {
    this.#codexHome = codexHome;
    this.#path = join(codexHome, "auth_refresh_status.json");
  }

  readFailureCount(): number {
    try {
      const status: unknown = JSON.parse(readFileSync(this.#path, "utf8"));
      const count = (status as { consecutive_failures?: unknown } | null)?.consecutive_failures;
      return typeof count === "number" && Number.isSafeInteger(count) && count > 0 ? count : 0;
    } catch {
      return 0; // No status yet, the script's, or a broken one: the count starts anew.
    }
  }

  async write(status: Status): Promise<Fault | null> {
    try {
      // An absent home stays absent: an image's smoke check must leave no trace.
      if (!existsSync(this.#codexHome)) return null;
      // write-file-atomic follows a symbolic link; the script replaced it, which can't be led astray.
      if (isSymbolicLink(this.#path)) unlinkSync(this.#path);
      const { replaceFile } = await import("./whole-file.js");
      const owner = ownerFor({ file: join(this.#codexHome, "auth.json"), directory: this.#codexHome });
      await replaceFile(this.#path, JSON.stringify(status, null, 2), owner, "quick");
      return null;
    } catch (error) {
      return toFault(error, "write the status", this.#path);
    }
  }
}
