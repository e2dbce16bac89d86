"""How many files the processes of a server may have open together: a limit of 1,024 there is a classic.

The limit counts for a table of files. Processes have one each, and threads usually share their process's; a thread
that called unshare(CLONE_FILES) has its own, which kcmp(2) tells. Where it can't be told, each thread counts as one, so
that no server is refused that could do it.
"""

import ctypes
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from floodtest.flyweight.machine.files import PROC
from floodtest.loadgen.preflight.machine import Machine

_KCMP = {"x86_64": 312, "aarch64": 272}
"""The number of the system call, which the C library has no function for (asm/unistd_64.h, asm-generic/unistd.h)."""

_KCMP_FILES = 2


def files_of(pids: Iterable[int], proc: Path = PROC) -> int:
    """Return how many files processes may open together."""
    return sum(_soft_limit(pid, proc) * tables_of_files(pid, proc) for pid in pids)


def _soft_limit(pid: int, proc: Path) -> int:
    try:
        return Machine(proc).files_of(str(pid))[0]
    except OSError:
        return 0  # it ended just now


def tables_of_files(pid: int, proc: Path = PROC) -> int:
    """Return how many tables of files the threads of a process have, or may have where that can't be told."""
    try:
        threads = [int(name) for name in os.listdir(proc / str(pid) / "task")]
    except OSError:
        return 0
    tables: list[int] = []
    for thread in threads:
        same = [_share_files(thread, other) for other in tables]
        if None in same or not any(same):
            tables.append(thread)
    return len(tables)


def _share_files(thread: int, other: int) -> bool | None:
    """Return whether two threads share their table of files; None if it can't be told."""
    number = _KCMP.get(platform.machine())
    if number is None:
        return None
    order = ctypes.CDLL(None, use_errno=True).syscall(number, thread, other, _KCMP_FILES, 0, 0)
    return None if order < 0 else order == 0
