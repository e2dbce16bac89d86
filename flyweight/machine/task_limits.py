"""How many more processes and threads (tasks) may be started, by each of what bounds them.

In: /proc, or a tree that looks like it. Out: numbers, None for a bound that is not there. Cost: two small files, and
for the bound of a user the status of each process of the machine, 20 µs each. Fails: OSError where /proc can't be read.
Sources: proc(5), proc_pid_limits(5), getrlimit(2) RLIMIT_NPROC, cgroups(7).
"""

import os
from contextlib import suppress
from pathlib import Path

from floodtest.flyweight.machine.cgroups import PIDS, Cgroups
from floodtest.flyweight.machine.files import PROC


def tasks_in_use(proc: Path = PROC) -> int | None:
    """Return how many tasks the machine has, as /proc/loadavg says."""
    try:
        return int((proc / "loadavg").read_text().split()[3].partition("/")[2])
    except FileNotFoundError:
        return None


def left_to_user(proc: Path = PROC) -> int | None:
    """Return how many more tasks the user of this process may have; the kernel does not limit a superuser so."""
    rows = (proc / "self/limits").read_text().splitlines()
    words = next((row.split() for row in rows if row.startswith("Max processes")), None)
    if words is None or words[2] == "unlimited":
        return None
    user = os.getuid()
    return int(words[2]) - sum(_tasks_of(status, user) for status in proc.glob("[0-9]*/status"))


def _tasks_of(status: Path, user: int) -> int:
    """Return the tasks of a process, if it is of this user and has not ended meanwhile."""
    with suppress(OSError):
        fields = dict(line.split(":", 1) for line in status.read_text(errors="replace").splitlines() if ":" in line)
        if int(fields["Uid"].split()[0]) == user:
            return int(fields["Threads"])
    return 0


def left_to_cgroup(proc: Path = PROC) -> int | None:
    """Return how many tasks the tightest cgroup of this process may still have."""
    tightest = Cgroups(proc, PIDS).tightest()
    return None if tightest is None else tightest.available
