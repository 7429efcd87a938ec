import type { Row } from "./row.js";
import { DISK_ROWS } from "./rows-disk.js";
import { FLEET_ROWS } from "./rows-fleet.js";
import { PEOPLE_ROWS } from "./rows-people.js";
import { RACE_ROWS } from "./rows-races.js";
import { SERVER_ROWS } from "./rows-server.js";
import { SYSCALL_ROWS } from "./rows-syscalls.js";
import { WRITER_ROWS } from "./rows-writers.js";

/** Every row, in the order of the README's table. */
export const ROWS: readonly Row[] = [
  ...SYSCALL_ROWS,
  ...RACE_ROWS,
  ...DISK_ROWS,
  ...WRITER_ROWS,
  ...SERVER_ROWS,
  ...PEOPLE_ROWS,
  ...FLEET_ROWS,
];
