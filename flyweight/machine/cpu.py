"""CPU time of the machine as a whole, to tell whether something else disturbs a measurement."""

import os
from dataclasses import dataclass
from pathlib import Path

from floodtest.flyweight.machine.files import PROC


@dataclass(frozen=True)
class CpuTime:
    """Seconds since boot, all cores together."""

    total: float
    busy: float
    """Not idle, not waiting for a disk, and not stolen."""
    kernel: float
    """Of `busy`, what the kernel used: system calls, interrupts, and the network's softirqs."""
    stolen: float
    """What a hypervisor gave to other guests."""


def read_cpu_time(proc: Path = PROC) -> CpuTime:
    """Read /proc/stat (source: proc_stat(5), line `cpu`, of which guests are in user time already)."""
    ticks = (int(field) for field in (proc / "stat").read_text().splitlines()[0].split()[1:9])
    second = os.sysconf("SC_CLK_TCK")
    user, nice, system, idle, wait, interrupts, softirqs, stolen = (count / second for count in ticks)
    kernel = system + interrupts + softirqs
    busy = user + nice + kernel
    return CpuTime(busy + idle + wait + stolen, busy, kernel, stolen)
