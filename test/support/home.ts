import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A temporary CODEX_HOME. */
export class Home {
  readonly path: string;

  /** @param parent where it lies: another file system, for instance */
  constructor(parent: string = tmpdir()) {
    this.path = mkdtempSync(join(parent, "watchdog-home-"));
  }

  get authJsonPath(): string {
    return join(this.path, "auth.json");
  }

  writeAuth(text: string | Uint8Array): void {
    writeFileSync(this.authJsonPath, text, { mode: 0o600 });
  }

  removeAuth(): void {
    rmSync(this.authJsonPath);
  }

  readAuth(): string {
    return readFileSync(this.authJsonPath, "utf8");
  }

  readTokens(): Record<string, string> {
    return (JSON.parse(this.readAuth()) as { tokens: Record<string, string> }).tokens;
  }

  readRefreshToken(): string {
    return String(this.readTokens()["refresh_token"]);
  }

  readStatus(): Record<string, unknown> {
    return JSON.parse(readFileSync(join(this.path, "auth_refresh_status.json"), "utf8")) as Record<string, unknown>;
  }

  /** Null while there is none. */
  readStatusOrNull(): Record<string, unknown> | null {
    return existsSync(join(this.path, "auth_refresh_status.json")) ? this.readStatus() : null;
  }

  /** Names of everything in the home, sorted. */
  listAll(): string[] {
    return readdirSync(this.path).sort();
  }

  /** The same without Codex's own lock files: every commit leaves them behind, as Codex does. */
  list(): string[] {
    return this.listAll().filter((name) => name !== "auth.lock" && name !== "auth.json.lock");
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
