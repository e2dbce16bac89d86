"""How much memory may still be used: what can be had of the machine and what the memory cgroup allows, less a reserve.

The reserve is what we leave free, whatever happens: 5%, and at least 512 MiB, of the machine and of a cgroup alike.
The checks before a run, the guard during it and its samples all read the memory that is left by this module.
Cost: three small files and those of each cgroup, some 100 µs a reading.
"""

from dataclasses import dataclass
from pathlib import Path

from floodtest.flyweight.machine.cgroups import Cgroups
from floodtest.flyweight.machine.files import PROC, Memory, open_files, read_memory

INODE_BYTES, DENTRY_BYTES = 862.3, 195.0
"""What a socket's inode and its directory entry take (caches sock_inode_cache and dentry of Linux 6.18 on x86-64, the
packing of slabs included)."""


def obtainable(memory: Memory, open_files: int) -> int:
    """Return the bytes of the machine's memory that can be had: MemAvailable less what open files keep in use.

    MemAvailable (si_mem_available, mm/show_mem.c of Linux 6.18) is the sum of what is free above the watermarks, of the
    page cache and of all slabs that can be reclaimed; of the latter two it leaves out the low watermark at the most,
    which is 84 MiB of 24 GiB. Slabs that can be reclaimed (SReclaimable) have the inodes of sockets and their directory
    entries as well (SLAB_RECLAIM_ACCOUNT in net/socket.c and fs/dcache.c), none of which is freed before its socket is
    closed: 2.1 KiB of a connection with both ends here, and 5.1 GiB of 2.6 million. So MemAvailable fell by 6.3 KB a
    connection where 8.4 KB were taken, and said 7.8 GiB when 1 GiB was free.

    An open file has an inode and a directory entry in use, whoever has opened it and in whichever network. How many
    files are open is told to everybody, how large the slabs are only to root (/proc/slabinfo). Inodes of other files
    are of a similar size, and those of several descriptors of one file are counted several times, so that the result
    is rather too small than too large.
    """
    in_use = int(open_files * (INODE_BYTES + DENTRY_BYTES))
    return max(0, memory.available - min(in_use, memory.reclaimable))


@dataclass(frozen=True)
class Reserve:
    """A share of all, and at least so many bytes."""

    share: float = 0.05
    least: int = 512 << 20

    def __str__(self) -> str:
        """Write it as `parse_reserve` reads it."""
        return f"{100 * self.share:g}%" if self.share else f"{self.least / (1 << 20):.12g}MiB"

    def of(self, total: int) -> int:
        return max(int(total * self.share), self.least)


DEFAULT_RESERVE = Reserve()

_SIZES = {"MiB": 1 << 20, "GiB": 1 << 30}


def parse_reserve(text: str) -> Reserve:
    """Read "10%" (and at least 512 MiB), or a size such as "800MiB" or "2GiB"; ValueError for what is neither."""
    number, unit = text.strip()[:-3], text.strip()[-3:]
    if unit in _SIZES:
        return Reserve(0.0, int(_bounded(number, 1 << 20) * _SIZES[unit]))
    if not text.strip().endswith("%"):
        raise ValueError(text)
    return Reserve(_bounded(text.strip()[:-1], 100) / 100)


def _bounded(text: str, most: float) -> float:
    number = float(text)
    if not 0 <= number <= most:
        raise ValueError(text)
    return number


@dataclass(frozen=True)
class Room:
    """Memory of one source, in bytes: all, what can be had, and what of that is left free."""

    source: str
    total: int
    available: int
    reserve: int

    @property
    def free(self) -> int:
        """What may be used; less than nothing when the reserve is touched."""
        return self.available - self.reserve


class MemoryGauge:
    """Reads how much memory may be used, by whatever allows the least."""

    def __init__(self, reserve: Reserve = DEFAULT_RESERVE, proc: Path = PROC) -> None:
        self._reserve = reserve
        self._proc = proc
        self._cgroups = Cgroups(proc)

    def read(self) -> Room:
        """Return the tightest of the rooms; OSError where a file of /proc can't be opened."""
        return min(self.rooms(), key=lambda room: room.free)

    def least(self) -> int:
        """Return the bytes that can be had, of the machine or of the tightest cgroup, whichever has less of them."""
        return min(room.available for room in self.rooms())

    def rooms(self) -> list[Room]:
        """Return the machine's memory, and that of the tightest cgroup if there is a limit."""
        memory, cgroup = read_memory(self._proc), self._cgroups.tightest()
        rooms = [self._room("this machine", memory.total, obtainable(memory, open_files(self._proc)))]
        if cgroup is not None:
            rooms.append(self._room(f"the memory cgroup {cgroup.folder}", cgroup.limit, cgroup.available))
        return rooms

    def _room(self, source: str, total: int, available: int) -> Room:
        return Room(source, total, available, self._reserve.of(total))
