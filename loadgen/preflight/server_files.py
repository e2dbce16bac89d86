"""How many files the processes of a server may have open together: a limit of 1,024 there is a classic.

The limit counts for a table of files. Processes have one each, and threads usually share their process's; a thread
that called unshare(CLONE_FILES) has its own, which kcmp(2) tells. Where it can't be told, each thread counts as one, so
that no server is refused that could do it. Cost: a system call for each thread and each table, of which there is one as
a rule; a server may have a thread for each connection.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Callable, Iterable
from functools import cache
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
        try:
            if not any(_share_files(thread, other) for other in tables):
                tables.append(thread)
        except ProcessLookupError:
            continue  # the thread ended just now, as those of a server do that has one for each connection
        except OSError:
            return len(threads)
    return len(tables)


@cache
def _system_call() -> Callable[..., int]:
    call: Callable[..., int] = ctypes.CDLL(None, use_errno=True).syscall
    return call


def _share_files(thread: int, other: int) -> bool:
    """Return whether two threads share their table of files; OSError where it can't be told, ProcessLookupError where
    one of them is not there.
    """
    number = _KCMP.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    order = _system_call()(number, thread, other, _KCMP_FILES, 0, 0)
    if order < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return order == 0
