"""Memory against open connections, for each end and the kernel: samples, their fit, and what was predicted. Pure.

In: a `Record`. Out: bytes; None, or an empty column, where a record has too little for a figure. Cost: a fit for each
of `ENDS` (see `fits.py`), so whoever needs them twice takes them from `Findings`.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from floodtest.analysis.figures.fits import Estimate, MemoryFit, fit_memory
from floodtest.analysis.figures.series import MOST_DRAWN
from floodtest.analysis.record import Record
from floodtest.analysis.record.reader import mapping
from floodtest.analysis.record.samples import filling
from floodtest.analysis.record.stages import Stage

Floats = npt.NDArray[np.float64]

MILLION = 1_000_000

ENDS = {"server": "server, user memory", "client": "client, user memory", "kernel": "kernel, both ends"}
"""Whose memory is told apart, and what it is called."""


@dataclass(frozen=True)
class MemoryFinding:
    """The memory of one end against open connections, from the last sample before the ramp to the first of the hold."""

    connections: Floats
    size: Floats
    """Bytes; of the kernel, those beyond what it had before the ramp."""
    fit: MemoryFit | None
    measured: Estimate | None
    """What the largest number of connections took each, all included; it has no interval of its own.

    None for the kernel where there is no sample from before the ramp.
    """

    @property
    def most(self) -> float:
        """The largest number of connections, 0 without any."""
        return float(self.connections.max(initial=0))

    def dots(self) -> tuple[Floats, Floats]:
        """Connections and bytes for a picture, evenly thinned where there are more than it has use for."""
        kept = np.linspace(0, len(self.size) - 1, min(len(self.size), MOST_DRAWN)).round().astype(np.intp)
        return self.connections[kept], self.size[kept]

    def reaches(self, connections: float) -> bool:
        """Whether at least half of so many were open, so that an interval for them rests on something."""
        return self.most >= connections / 2

    def at(self, connections: float) -> Estimate | None:
        """Bytes for so many connections, by the fit, with every step that was seen, wherever it was."""
        if self.fit is None:
            return None
        steps = sum(step.bytes for step in self.fit.steps)
        fixed, slope = self.fit.fixed, self.fit.slope.times(connections)
        value = fixed.value + slope.value + steps
        # Where the slope is too high the fixed cost is too low: taken as independent they err to the wide side.
        low = value - math.hypot(fixed.value - fixed.low, slope.value - slope.low)
        return Estimate(value, low, value + math.hypot(fixed.high - fixed.value, slope.high - slope.value))


def memory_of(record: Record) -> dict[str, MemoryFinding]:
    """Return what is known of each of `ENDS`."""
    kept = np.array(filling(record.samples), np.intp)
    found = {}
    for end in ENDS:
        size = _memory(record, end)[kept]
        if end == "kernel" and len(size):
            size = size - size[0]
        opened = record.column("open")[kept]
        known = np.isfinite(size)
        opened, size = opened[known], size[known]
        measured = None
        if len(opened) and opened.max() > 0 and (end != "kernel" or record.samples[kept[0]].stage == Stage.START):
            at = int(opened.argmax())
            value = float(size[at] / opened[at])
            measured = Estimate(value, value, value)
        found[end] = MemoryFinding(opened, size, fit_memory(opened, size), measured)
    return found


def predicted_of(record: Record) -> dict[str, float]:
    """Return what each of `ENDS` was predicted to take for all planned connections, in bytes, where the record says."""
    told = record.part("prediction")
    kernel = [value for value in mapping(told.get("kernel")).values() if isinstance(value, int | float)]
    values = {"server": told.get("server_user"), "client": told.get("client_user"), "kernel": sum(kernel) or None}
    return {end: float(value) for end, value in values.items() if isinstance(value, int | float)}


def _memory(record: Record, end: str) -> Floats:
    if end != "kernel":
        return record.column(f"{end}_private")
    kinds = ("slab", "kernel_stack", "page_tables", "percpu")
    total: Floats = np.sum([record.column(kind) for kind in kinds], axis=0) if record.samples else np.zeros(0)
    return total
