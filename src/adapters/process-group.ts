/** Kills a process that heads a group of its own, and all that it has started. Does nothing for one that has ended. */
export function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}
