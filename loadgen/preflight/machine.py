"""The machine as it can be read, from /proc and /sys or from trees that look like them.

Each reading is a number, or None for what is not there: a sysctl that this kernel or this network namespace has not
got, a file that is for root only. Nothing here judges. Readings are taken once and kept, so that one `Machine` stands
for one moment.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Literal

from floodtest.flyweight.machine import task_limits
from floodtest.flyweight.machine.cpu import read_cpu_time
from floodtest.flyweight.machine.files import PROC, Memory, cores, read_memory, reserved_ports
from floodtest.flyweight.machine.headroom import DEFAULT_RESERVE, MemoryGauge, Reserve, Room
from floodtest.flyweight.machine.listeners import read_listeners
from floodtest.loadgen.preflight.handshake_cost import HandshakeCost, measure_handshakes

SYS = Path("/sys")
MODULES = Path("/lib/modules")
PAGE = os.sysconf("SC_PAGE_SIZE")

_FIRST_USER_NAMESPACE = 0xEFFFFFFD
"""USER_NS_INIT_INO of linux/nsfs.h."""

_CAP_SYS_ADMIN = 21

KernelTls = Literal["there", "module", "none"]
"""Whether a kernel has TLS of its own (kTLS): at hand, as a module that is not loaded, or as far as can be seen not."""


_TLS_MODULE = "kernel/net/tls/tls.ko"
"""As modules.dep(5) names it; it may be packed, with another ending behind that."""


class Machine:
    """What this machine allows and has."""

    def __init__(
        self, proc: Path = PROC, sys: Path = SYS, reserve: Reserve = DEFAULT_RESERVE, modules: Path = MODULES
    ) -> None:
        self.proc = proc
        self.sys = sys
        self.reserve = reserve
        self.modules = modules
        self._settings: dict[str, list[int] | None] = {}
        self._slabs: dict[str, float | None] = {}

    def setting(self, key: str, field: int = 0) -> int | None:
        """Return a number of a sysctl ("net/ipv4/tcp_mem", 2), or None."""
        if key not in self._settings:
            self._settings[key] = _numbers(self.proc / "sys" / key)
        numbers = self._settings[key]
        return None if numbers is None or field >= len(numbers) else numbers[field]

    @cached_property
    def files(self) -> tuple[int, int]:
        """The soft and the hard limit of open files of this process."""
        return self.files_of("self")

    def files_of(self, pid: str) -> tuple[int, int]:
        """Return the soft and the hard limit of open files of a process (proc_pid_limits(5))."""
        line = next(row for row in (self.proc / pid / "limits").read_text().splitlines() if "open files" in row)
        soft, hard = (2**63 - 1 if word == "unlimited" else int(word) for word in line.split()[3:5])
        return soft, hard

    @cached_property
    def is_privileged(self) -> bool:
        """Whether the kernel takes this for the superuser (CAP_SYS_ADMIN), and not only of a user namespace."""
        try:
            is_first = (self.proc / "self/ns/user").stat().st_ino == _FIRST_USER_NAMESPACE
            status = (self.proc / "self/status").read_text(errors="replace")  # the name in it may be any bytes
        except OSError:
            return False
        capabilities = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
        return is_first and bool(int(capabilities, 16) >> _CAP_SYS_ADMIN & 1)

    @cached_property
    def memory(self) -> Memory:
        return read_memory(self.proc)

    @cached_property
    def rooms(self) -> list[Room]:
        """What may be used of the machine's memory, and of a cgroup's where there is a limit."""
        return MemoryGauge(self.reserve, self.proc).rooms()

    @property
    def room(self) -> Room:
        """The tightest of them."""
        return min(self.rooms, key=lambda room: room.free)

    @cached_property
    def tasks(self) -> int | None:
        """Processes and threads that there are."""
        return task_limits.tasks_in_use(self.proc)

    @cached_property
    def tasks_of_user(self) -> int | None:
        """How many more of them the user may have; None: as many as there can be."""
        return None if self.is_privileged else task_limits.left_to_user(self.proc)

    @cached_property
    def tasks_of_cgroup(self) -> int | None:
        """How many more of them the cgroup may have; None: it has no bound."""
        return task_limits.left_to_cgroup(self.proc)

    @cached_property
    def cores(self) -> int:
        return cores()

    @cached_property
    def handshakes(self) -> HandshakeCost:
        """What a handshake of TLS costs here, which takes a quarter of a second to measure."""
        return measure_handshakes()

    @cached_property
    def kernel_tls(self) -> KernelTls:
        """Whether this kernel can do TLS behind a handshake (Documentation/networking/tls.rst).

        It is in the list of upper layer protocols once it can be used. A network namespace has no such list, and a
        container none of the modules that could be loaded.
        """
        if "tls" in _words(self.proc / "sys/net/ipv4/tcp_available_ulp") or (self.sys / "module/tls").exists():
            return "there"
        release = next(iter(_words(self.proc / "sys/kernel/osrelease")), "")
        known = [word for word in _words(self.modules / release / "modules.dep") if word.startswith(_TLS_MODULE)]
        return "module" if known else "none"

    @property
    def port_range(self) -> tuple[int, int] | None:
        """net.ipv4.ip_local_port_range: the ports the kernel gives to outgoing connections, both ends included."""
        first, last = (self.setting("net/ipv4/ip_local_port_range", field) for field in (0, 1))
        return None if first is None or last is None else (first, last)

    @cached_property
    def reserved_ports(self) -> frozenset[int]:
        """net.ipv4.ip_local_reserved_ports."""
        try:
            return reserved_ports(self.proc)
        except OSError:
            return frozenset()

    @cached_property
    def listening_ports(self) -> frozenset[int]:
        """Ports that something listens on with a wildcard address, which no source pair can have."""
        return frozenset(one.port for one in read_listeners(self.proc / "net") if one.address in ("0.0.0.0", "::"))

    @cached_property
    def governor(self) -> str | None:
        """What decides the clock of the first core, where the machine tells."""
        try:
            return (self.sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
        except OSError:
            return None

    @cached_property
    def steal_percent(self) -> int | None:
        """The share of CPU time since boot that a hypervisor gave to others, in whole percent."""
        try:
            time = read_cpu_time(self.proc)
        except OSError:
            return None
        return round(100 * time.stolen / time.total) if time.total else None

    def slab_bytes(self, cache: str) -> float | None:
        """Return what an object of a slab cache takes, its share of the slab's waste included; None if it can't tell.

        Source: Documentation/ABI/testing/sysfs-kernel-slab. The files are for root only.
        """
        if cache not in self._slabs:
            folder = self.sys / "kernel/slab" / cache
            order, objects = _numbers(folder / "order"), _numbers(folder / "objs_per_slab")
            self._slabs[cache] = (PAGE << order[0]) / objects[0] if order and objects and objects[0] else None
        return self._slabs[cache]


def _numbers(path: Path) -> list[int] | None:
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split()
    except OSError:
        return []
