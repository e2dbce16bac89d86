"""The cgroups this process is in, of either version: how much memory, or how many pids, the tightest of them has left.

A container's limit is not in /proc/meminfo, and the kernel memory of sockets counts against it. Reads a handful of
small files a cgroup; nothing is cached but where they are. Sources: cgroups(7), the kernel's cgroup-v1/memory.rst,
cgroup-v1/pids.rst and cgroup-v2.rst.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from floodtest.flyweight.machine.files import PROC

_UNLIMITED = 1 << 60
"""Version 1 says "no limit" with the largest multiple of a page; no machine has an EiB."""


@dataclass(frozen=True)
class _Version:
    """What the files of a version are called, and of which controller they are (None: of the one hierarchy of all)."""

    controller: str | None
    limit: str
    used: str
    reclaimable: str | None = None


MEMORY = (
    _Version("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    _Version(None, "memory.max", "memory.current", "inactive_file"),
)
PIDS = (_Version("pids", "pids.max", "pids.current"), _Version(None, "pids.max", "pids.current"))
"""What can be asked for, of both versions."""


@dataclass(frozen=True)
class Cgroup:
    """A cgroup with a limit: how much it may have in all (bytes, or tasks), and how much may still be used."""

    folder: Path
    limit: int
    available: int


class Cgroups:
    """The cgroups of this process, from its own up to the root of the mount."""

    def __init__(self, proc: Path = PROC, versions: tuple[_Version, ...] = MEMORY) -> None:
        self._folders = [(folder, version) for version in versions for folder in _folders(proc, version)]

    def tightest(self) -> Cgroup | None:
        """Return the cgroup that leaves the least, or None where none has a limit."""
        found = [cgroup for folder, version in self._folders if (cgroup := _read(folder, version))]
        return min(found, key=lambda cgroup: cgroup.available, default=None)


def _folders(proc: Path, version: _Version) -> list[Path]:
    """Return the folders of the process's cgroup and of those above it, as far as they can be seen."""
    path, mount = _path(proc, version), _mount(proc, version)
    if path is None or mount is None:
        return []
    root, top = mount
    # In a container without a cgroup namespace the path is the host's, and the mount shows only what is below `root`.
    inside = PurePosixPath(path).relative_to(root) if PurePosixPath(path).is_relative_to(root) else PurePosixPath()
    folder = top / inside
    return [at for at in (folder, *folder.parents) if at.is_relative_to(top) and (at / version.used).exists()]


def _path(proc: Path, version: _Version) -> str | None:
    """Return the process's own path in the hierarchy of a controller, or in that of all."""
    for line in _lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "" if version.controller is None else version.controller in controllers.split(","):
            return path
    return None


def _mount(proc: Path, version: _Version) -> tuple[str, Path] | None:
    """Return what of the hierarchy is mounted, and where."""
    for line in _lines(proc / "self/mountinfo"):
        mount, _, filesystem = line.partition(" - ")
        words, (kind, *_, options) = mount.split(), filesystem.split()
        if kind == "cgroup2" if version.controller is None else _is_of(version.controller, kind, options):
            return words[3], Path(words[4])
    return None


def _is_of(controller: str, kind: str, options: str) -> bool:
    return kind == "cgroup" and controller in options.split(",")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()  # names of mounts and cgroups are bytes
    except OSError:
        return []


def _read(folder: Path, version: _Version) -> Cgroup | None:
    try:
        limit = (folder / version.limit).read_text().strip()
        used = int((folder / version.used).read_text())
    except OSError:
        return None  # the root has no limit, and a cgroup may go
    if limit == "max" or int(limit) >= _UNLIMITED:
        return None
    return Cgroup(folder, int(limit), max(0, int(limit) - used + _reclaimable(folder, version)))


def _reclaimable(folder: Path, version: _Version) -> int:
    """Return the bytes of file cache that the kernel drops before it refuses memory."""
    if version.reclaimable is None:
        return 0
    stat = dict(line.split() for line in _lines(folder / "memory.stat"))
    return int(stat.get(version.reclaimable, 0))
