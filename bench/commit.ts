/**
 * What it costs that a rotated token can't be lost: each step on the way of an answer to the disk, beside the same
 * text written and renamed without any sync, as the shell script does it.
 *
 * The steps run in turn, round after round, in one home; median and 99th percentile are printed, and the ratio of the
 * medians. `--rounds N` and `--parent DIR` (another file system) change the defaults.
 */
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { say } from "./figures.js";
import { describeCommit, measureCommit } from "./parts/commit.js";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "300" }, parent: { type: "string", default: tmpdir() } },
});
say(describeCommit(await measureCommit(Number(values.rounds), values.parent)));
