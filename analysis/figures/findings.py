"""Findings: what a record shows, as numbers. Pure; what a report, a comparison and a notebook have in common.

In: a `Record`. Out: fits of memory against connections, rates between samples, percentiles of latency, and means with
95% intervals. None, or an empty column, where a record has too little for a figure. Bytes, seconds, milliseconds.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.figures.fits import Estimate, MemoryFit, fit_memory
from analysis.record import Record
from analysis.record.samples import filling
from analysis.record.stages import Stage

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
    told = mapping(record.run.get("prediction"))
    kernel = [value for value in mapping(told.get("kernel")).values() if isinstance(value, int | float)]
    values = {"server": told.get("server_user"), "client": told.get("client_user"), "kernel": sum(kernel) or None}
    return {end: float(value) for end, value in values.items() if isinstance(value, int | float)}


def mapping(value: Any) -> dict[str, Any]:
    """Return a part of a record that should be a mapping, empty if it is none."""
    return value if isinstance(value, dict) else {}


def _memory(record: Record, end: str) -> Floats:
    if end != "kernel":
        return record.column(f"{end}_private")
    kinds = ("slab", "kernel_stack", "page_tables", "percpu")
    total: Floats = np.sum([record.column(kind) for kind in kinds], axis=0) if record.samples else np.zeros(0)
    return total


MOST_DRAWN = 1500


def thinned(record: Record, most: int = MOST_DRAWN) -> Record:
    """Return the record with fewer samples, evenly, for a picture: a day has 86,400, and no screen so many pixels.

    Those of the ramp stay, up to `most`, so that the fit in a picture is the one in the text.
    """
    count, ramp = len(record.samples), np.array(filling(record.samples), np.intp)
    if count <= most:
        return record
    even = np.linspace(0, count - 1, most).round().astype(np.intp)
    kept = np.unique(np.concatenate([even, ramp if len(ramp) <= most else even]))
    return replace(record, samples=[record.samples[at] for at in kept.tolist()])


def stages_of(record: Record) -> list[tuple[str, float, float]]:
    """Return each stage with its begin and end, in seconds of the samples' clock."""
    found: list[tuple[str, float, float]] = []
    for sample in record.samples:
        if found and found[-1][0] == sample.stage:
            found[-1] = (sample.stage, found[-1][1], sample.time)
        else:
            begin = found[-1][2] if found else sample.time
            found.append((sample.stage, begin, sample.time))
    return found


def in_stage(record: Record, stage: str) -> npt.NDArray[np.bool_]:
    """Return which samples are of a stage."""
    return np.array([sample.stage == stage for sample in record.samples], bool)


def rate_of(record: Record, field: str, stage: str | None = None, apart: float = 0.1) -> tuple[Floats, Floats]:
    """Return times, and how much a field grew a second between the sample before and that one; within a stage if named.

    Samples closer than so many seconds to the one before (the ends of stages) are passed over: they show the clock.
    """
    kept = slice(None) if stage is None else in_stage(record, stage)
    time, value = record.column("time")[kept], record.column(field)[kept]
    known = np.isfinite(value)
    time, value = time[known], value[known]
    far: list[int] = []
    for at, second in enumerate(time.tolist()):
        if not far or second - time[far[-1]] >= apart:
            far.append(at)
    return time[far][1:], np.diff(value[far]) / np.diff(time[far])


def percentiles(record: Record, shares: Floats, column: int = 1) -> Floats | None:
    """Return milliseconds that such shares (0 to 1) of the messages did not exceed; None without messages.

    `column` 1 counts from the planned time, 2 from the publishing. Too high by 0.8% at the most (docs/run-record.md).
    """
    rows = record.latency()
    counts = rows[:, column] if len(rows) else np.zeros(0)
    total = counts.sum()
    if not total:
        return None
    ranks = np.clip(np.ceil(shares * total), 1, total)
    found: Floats = rows[np.searchsorted(np.cumsum(counts), ranks), 0]
    return found


T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t at 97.5% for 1 to 10 degrees of freedom (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2)."""


def mean_of(values: Floats) -> Estimate | None:
    """Return the mean of successive figures with a 95% interval that allows for each resembling the one before.

    n figures of correlation r count as n (1 - r) / (1 + r); None for fewer than three.
    """
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 3:
        return None
    mean, rest = float(values.mean()), values - values.mean()
    spread = float(rest @ rest)
    correlation = 0.0 if not spread else max(0.0, min(0.9, float(rest[1:] @ rest[:-1]) / spread + 1 / n))
    effective = max(2.0, n * (1 - correlation) / (1 + correlation))
    half = _t_975(effective - 1) * math.sqrt(spread / (n - 1) / effective)
    return Estimate(mean, mean - half, mean + half)


def _t_975(freedom: float) -> float:
    """Return Student's t at 97.5%; beyond the table by the first terms of its expansion about the normal one."""
    whole = max(1, int(freedom))
    if whole <= len(T_975):
        return T_975[whole - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
