"""What the machine as a whole is doing: CPU time and swap, to tell whether something else disturbs a measurement."""

import os
from dataclasses import dataclass
from pathlib import Path

from flyweight.limits import PROC


@dataclass(frozen=True)
class Machine:
    """CPU seconds since boot, all cores together, and bytes swapped out now."""

    cpu: float
    """Not idle, and not waiting for a disk."""
    kernel_cpu: float
    """Of it, what the kernel used: system calls, interrupts, and the network's softirqs."""
    swapped: int


def read_machine(proc: Path = PROC) -> Machine:
    """Read both. Sources: proc_stat(5), line `cpu`; proc_meminfo(5), SwapTotal and SwapFree."""
    ticks = [int(field) for field in (proc / "stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _wait, interrupts, softirqs, _stolen = ticks
    second = os.sysconf("SC_CLK_TCK")
    kernel = system + interrupts + softirqs
    lines = (line.split() for line in (proc / "meminfo").read_text().splitlines())
    swap = {fields[0]: int(fields[1]) * 1024 for fields in lines if fields[0] in ("SwapTotal:", "SwapFree:")}
    return Machine((user + nice + kernel) / second, kernel / second, swap["SwapTotal:"] - swap["SwapFree:"])
