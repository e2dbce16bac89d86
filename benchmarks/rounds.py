"""Runs of several programs in turn, and the medians of ratios within a round.

In: a name and a call for each program. Out: lines on stdout, one a run and one a pair. A run begins when the kernel has
freed what the one before it held, since its memory and its time would be this one's otherwise.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from floodtest.flyweight.machine.files import read_memory
from floodtest.flyweight.machine.sockets import read_sockets

SETTLE_SECONDS = 120
SETTLED_BYTES = 16 << 20
"""Slab memory that a kernel which frees nothing more may still give back in half a second."""

Figures = dict[str, float]
"""What one run measured, by its name, which ends in its unit: all are above 0."""

Runner = Callable[[], Figures]


def settle() -> None:
    """Wait until the kernel has closed the sockets of the run before, those of a network that is gone among them."""
    until, before = time.monotonic() + SETTLE_SECONDS, 1 << 62
    while time.monotonic() < until:
        slab = read_memory().slab
        if read_sockets().tcp_inuse <= 1000 and slab > before - SETTLED_BYTES:
            break
        before = slab
        time.sleep(0.5)  # the kernel has no event for it
    time.sleep(1)  # what it frees behind the sockets


def compare(
    size: int,
    rounds: int,
    runners: dict[str, Runner],
    pairs: list[tuple[str, str]],
    limits: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Run all in turn and print each round, then the medians of their ratios, of figures that both of a pair have.

    `limits` are what ratios may be, costs at the most and rates at the least, by the name of the figure.
    """
    rows: list[dict[str, Figures]] = []
    for number in range(rounds):
        row: dict[str, Figures] = {}
        for name in list(runners) if number % 2 == 0 else reversed(runners):
            settle()
            row[name] = runners[name]()
            figures = ", ".join(f"{what} {value:,.4g}" for what, value in row[name].items())
            print(f"{size:>9,}  round {number + 1}: {name}: {figures}", flush=True)
        rows.append(row)
    for one, other in pairs:
        medians = (
            f"{what} {statistics.median(row[one][what] / row[other][what] for row in rows):.2f}"
            + (f" (limit {limits[what]})" if what in limits else "")
            for what in rows[0][one]
            if what in rows[0][other]
        )
        print(f"{size:>9,}  {one} / {other}, medians of {rounds}: {', '.join(medians)}", flush=True)
