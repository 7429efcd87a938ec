import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A temporary CODEX_HOME. */
export class Home {
  readonly path: string;

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), "watchdog-home-"));
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

  /** Names of everything in the home, sorted. */
  list(): string[] {
    return readdirSync(this.path).sort();
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
