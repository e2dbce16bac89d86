"""What processes cost: private memory and CPU time, read from /proc within a stated budget.

`smaps_rollup` is the honest figure (pages shared between forked workers are nobody's), but the kernel walks a process's
page tables for it: about a millisecond each, 100 ms for a hundred workers. A `ProcessMeter` reads as many processes at
a time as fit into its budget, the longest unread first, and keeps the last figures of the others. CPU time costs some
20 microseconds a process, and is read of all: read now and then, it would come in bursts of more cores than there are.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from floodtest.flyweight.machine.files import PROC

_PRIVATE = (b"Private_Clean:", b"Private_Dirty:", b"Private_Hugetlb:")


def private_bytes(pid: int, proc: Path = PROC) -> int | None:
    """Return a process's private memory in bytes; None when it is gone or not ours to read.

    Source: proc_pid_smaps(5); the file exists since Linux 4.14.
    """
    try:
        text = (proc / str(pid) / "smaps_rollup").read_bytes()
    except OSError:
        return None
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(_PRIVATE))


def cpu_seconds(pid: int, proc: Path = PROC) -> float | None:
    """Return the CPU time a process has used (user and system); None when it is gone. Source: proc_pid_stat(5)."""
    try:
        text = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ProcessMeter:
    """The private memory and the CPU time of a changing set of processes."""

    def __init__(self, budget: float = 0.002) -> None:
        self._budget = budget
        self._private: dict[int, int] = {}
        self._read_at: dict[int, float] = {}
        self._cpu: dict[int, float] = {}

    def read(self, pids: Iterable[int], everything: bool = False) -> None:
        """Bring the figures up to date: CPU time, and memory within the budget of seconds or of all."""
        alive = set(pids)
        for pid in self._private.keys() - alive:
            self._forget(pid)
        self._cpu |= {pid: seconds for pid in alive if (seconds := cpu_seconds(pid)) is not None}
        until = time.monotonic() + self._budget
        for pid in sorted(alive, key=lambda pid: self._read_at.get(pid, 0.0)):
            if not everything and pid in self._private and time.monotonic() > until:
                break
            private = private_bytes(pid)
            if private is None:
                self._forget(pid)
            else:
                self._private[pid], self._read_at[pid] = private, time.monotonic()

    def _forget(self, pid: int) -> None:
        """Leave out the memory of a process that has ended; its CPU time stays."""
        self._private.pop(pid, None)
        self._read_at.pop(pid, None)

    @property
    def private(self) -> int:
        """Bytes of all processes that were alive at the last reading."""
        return sum(self._private.values())

    @property
    def cpu(self) -> float:
        """Seconds of CPU of all processes ever seen."""
        return sum(self._cpu.values())
