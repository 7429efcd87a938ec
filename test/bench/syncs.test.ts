import { expect, it } from "vitest";
import { readSyncs } from "../../bench/parts/syncs.js";

const STRACE = `
101 fsync(21</h/.auth.json.watchdog.ab.1.ticket>) = 0
102 fdatasync(21</h/.auth.json.watchdog.ab.1.ticket> <unfinished ...>
101 fsync(20</h> <unfinished ...>
102 <... fdatasync resumed>)             = 0
101 <... fsync resumed>)                 = 0
101 fsync(22</h/.auth-x1/auth.json>) = 0
101 +++ exited with 0 +++
`;

it("counts each sync once, by what was synced, though its line is cut in two", () => {
  expect(readSyncs(STRACE, "/h")).toEqual([
    { what: "the ticket", fsync: 1, fdatasync: 1 },
    { what: "the folder", fsync: 1, fdatasync: 0 },
    { what: "auth.json, staged", fsync: 1, fdatasync: 0 },
    { what: "all", fsync: 3, fdatasync: 1 },
  ]);
});
