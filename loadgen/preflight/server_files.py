"""How many files the processes of a server may have open together: a limit of 1,024 there is a classic.

The limit counts for a table of files. Processes have one each, and threads usually share their process's; a thread
that called unshare(CLONE_FILES) has its own, which kcmp(2) tells. Where it can't be told, each thread counts as one, so
that no server is refused that could do it.
"""

import ctypes
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import psutil

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import PROC
from floodtest.flyweight.machine.processes import private_bytes
from floodtest.loadgen.preflight.machine import Machine

_KCMP = {"x86_64": 312, "aarch64": 272}
"""The number of the system call, which the C library has no function for (asm/unistd_64.h, asm-generic/unistd.h)."""

_KCMP_FILES = 2


def process_tree(root: int) -> list[int]:
    """Return a process and all that descend from it; nothing when it is gone."""
    try:
        process = psutil.Process(root)
        return [root, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def files_of_server(root: int) -> int:
    """Return how many files a process and its descendants may open; Refused when it can't be found or measured."""
    pids = process_tree(root)
    if not pids:
        raise Refused(f"There is no process {root}. Name the server's with --server-pid.")
    if private_bytes(root) is None:
        raise Refused(
            f"The memory of process {root} can't be read (/proc/{root}/smaps_rollup): it is another user's. Be that "
            "user or root, or leave --server-pid out: the server is not measured then."
        )
    return files_of(pids)


def files_of_listeners(port: int, proc: Path = PROC) -> int | None:
    """Return how many files those may open who listen on a port of this machine; None where they can't be seen."""
    pids = list(_processes_with({f"socket:[{inode}]" for inode in Machine(proc).listeners_at(port)}, proc))
    return files_of(pids, proc) if pids else None


def files_of(pids: list[int], proc: Path = PROC) -> int:
    """Return how many files processes may open together."""
    return sum(_soft_limit(pid, proc) * tables_of_files(pid, proc) for pid in pids)


def _processes_with(links: set[str], proc: Path) -> Iterator[int]:
    """Yield the processes that have one of these open, as far as we may look."""
    for process in proc.iterdir() if links else ():
        if process.name.isdecimal() and _has_open(process / "fd", links):
            yield int(process.name)


def _has_open(folder: Path, links: set[str]) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(os.readlink(entry.path) in links for entry in entries)
    except OSError:
        return False  # somebody else's, or it ended just now


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
