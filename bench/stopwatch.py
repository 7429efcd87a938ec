"""Runs commands and says what they cost: a list of {"argv", "env"} on each line of stdin, an answer on each of stdout.

wait4 tells the CPU time and the peak memory of that one child, with those children of its own that it has waited for, so
nothing is put between or into what is measured. The peak is at least this interpreter's own (about 10 MiB): a child
begins as its copy.
"""

import json
import os
import signal
import sys
import time

QUIET = [
    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
]


def run_at_once(commands):
    pids = []
    started = time.monotonic()
    for command in commands:
        argv = command["argv"]
        # Python ignores SIGPIPE; its children must not.
        pid = os.posix_spawnp(argv[0], argv, command["env"], file_actions=QUIET, setsigdef=[signal.SIGPIPE])
        pids.append(pid)
    ended = {}
    for _ in pids:
        pid, status, usage = os.wait4(-1, 0)
        ended[pid] = (os.waitstatus_to_exitcode(status), usage)
    wall = time.monotonic() - started
    usages = [usage for _code, usage in ended.values()]
    return {
        "wallMs": wall * 1000,
        "cpuMs": sum(usage.ru_utime + usage.ru_stime for usage in usages) * 1000,
        "peakKib": max(usage.ru_maxrss for usage in usages),
        "codes": [ended[pid][0] for pid in pids],
    }


try:
    for line in sys.stdin:
        print(json.dumps(run_at_once(json.loads(line))), flush=True)
except KeyboardInterrupt:
    pass  # The bench has got it too, and ends.
