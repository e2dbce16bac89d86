"""What this machine allows a process: files, cores, memory, ports. Reads, and raises one soft limit; nothing else."""

import ctypes
import os
import resource
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from floodtest.flyweight.errors import Refused

PROC = Path("/proc")


def need_proc(proc: Path = PROC) -> None:
    """Refused where there is no /proc, as in a chroot: memory, limits, sockets and processes are read from it."""
    if not (proc / "self").exists():
        raise Refused(f"Nothing is mounted on {proc}, which this command reads. Mount it: mount -t proc proc {proc}")


FILES_RESERVE = 128
"""Descriptors a worker keeps back: a batch of accepts, epolls, its channel, the listener, and what Python opens."""


MAX_FILES = 1 << 21
"""Descriptors a worker uses at the most: it has columns by descriptor, and containers allow a thousand million."""


def raise_files_limit() -> int:
    """Raise this process's soft limit of open files to the hard one and return it; children inherit it.

    It is at most `MAX_FILES`, to which a soft limit above is lowered.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = hard if 0 <= hard < MAX_FILES else MAX_FILES  # RLIM_INFINITY is -1
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


_CLONE_FILES = 0x400
"""CLONE_FILES of linux/sched.h."""


def unshare_files() -> None:
    """Give the calling thread a table of files of its own, a copy of what it shared; OSError where that is forbidden.

    The limit of open files counts for each table. Source: unshare(2), CLONE_FILES; it needs no privilege, but some
    containers forbid the call as a whole.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_FILES) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@cache
def can_unshare_files() -> bool:
    """Return whether a thread may have files of its own; tried once, in a thread that ends with its copy."""
    allowed: list[bool] = []

    def attempt() -> None:
        try:
            unshare_files()
        except OSError:
            return
        allowed.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(allowed)


def cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Memory:
    """Main memory as /proc/meminfo tells it, in bytes."""

    total: int
    available: int
    """MemAvailable, which counts inodes of open sockets as memory that can be had (see `headroom.obtainable`)."""
    slab: int
    kernel_stack: int
    page_tables: int
    percpu: int
    swapped: int
    """Swapped out now."""
    reclaimable: int = 0
    """What of `slab` is in caches that can be reclaimed when nobody uses what is in them."""

    @property
    def kernel(self) -> int:
        """What the kernel keeps for sockets, files and processes: slab caches, stacks, page tables, per-CPU data."""
        return self.slab + self.kernel_stack + self.page_tables + self.percpu


def read_memory(proc: Path = PROC) -> Memory:
    """Read /proc/meminfo (source: proc_meminfo(5); its "kB" are KiB). Fields an old kernel lacks read as 0."""
    fields = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())

    def size(name: str) -> int:
        return int(fields.get(name, "0 kB").split()[0]) * 1024

    return Memory(
        total=size("MemTotal"),
        available=size("MemAvailable"),
        slab=size("Slab"),
        kernel_stack=size("KernelStack"),
        page_tables=size("PageTables"),
        percpu=size("Percpu"),
        swapped=size("SwapTotal") - size("SwapFree"),
        reclaimable=size("SReclaimable"),
    )


def open_files(proc: Path = PROC) -> int:
    """Return how many files all processes of the machine have open (fs.file-nr); 0 where the kernel does not tell."""
    try:
        return int((proc / "sys/fs/file-nr").read_text().split()[0])
    except FileNotFoundError:
        return 0


def reserved_ports(proc: Path = PROC) -> frozenset[int]:
    """Return the ports that net.ipv4.ip_local_reserved_ports keeps for services ("8000,9000-9010")."""
    ports: set[int] = set()
    for item in (proc / "sys/net/ipv4/ip_local_reserved_ports").read_text().strip().split(","):
        if item:
            first, _, last = item.partition("-")
            ports.update(range(int(first), int(last or first) + 1))
    return frozenset(ports)
