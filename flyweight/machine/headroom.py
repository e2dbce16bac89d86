"""How much memory may still be used: what the machine has available and what the memory cgroup allows, less a reserve.

The reserve is what we leave free, whatever happens: 5%, and at least 512 MiB, of the machine and of a cgroup alike.
"""

from dataclasses import dataclass
from pathlib import Path

from floodtest.flyweight.machine.cgroups import Cgroups
from floodtest.flyweight.machine.files import PROC, read_memory


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
    """Memory of one source, in bytes: all, what is available, and what of that is left free."""

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
        return min(self.rooms(), key=lambda room: room.free)

    def rooms(self) -> list[Room]:
        """Return the machine's memory, and that of the tightest cgroup if there is a limit."""
        memory, cgroup = read_memory(self._proc), self._cgroups.tightest()
        rooms = [self._room("this machine", memory.total, memory.available)]
        if cgroup is not None:
            rooms.append(self._room(f"the memory cgroup {cgroup.folder}", cgroup.limit, cgroup.available))
        return rooms

    def _room(self, source: str, total: int, available: int) -> Room:
        return Room(source, total, available, self._reserve.of(total))
