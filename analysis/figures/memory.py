"""Memory against open connections, for each end and the kernel: samples, what a connection costs, what was predicted.

In: a `Record`, or samples in order of time. Out: bytes; None, or an empty column, where there is too little for a
figure. Pure. Every figure of memory that floodtest tells is made here: on the terminal, in the summary, in a report and
in a comparison. Cost: a fit for each of `ENDS` (see `fits.py`), so a caller that needs them twice takes `Findings`.

What one more connection costs has two estimates. The slope of the fit leaves out what was there before and what workers
of ours took as they began; the growth is the difference between two levels, before the first connection and with the
most open, over the connections, less what those workers took. The interval has both in it, always. Where they differ
by more than their uncertainties explain, memory did not follow the connections as the fit takes it to; there, and where
the slope is uncertain by more than a tenth, the growth is the figure.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from floodtest.analysis.figures.fits import LEAST, Estimate, MemoryFit, fit_memory
from floodtest.analysis.figures.formatting import each, each_between
from floodtest.analysis.figures.series import MOST_DRAWN
from floodtest.analysis.record import Record, Sample
from floodtest.analysis.record.reader import mapping
from floodtest.analysis.record.samples import filling
from floodtest.analysis.record.stages import Stage

Floats = npt.NDArray[np.float64]

MILLION = 1_000_000

ENDS = {"server": "server, user memory", "client": "client, user memory", "kernel": "kernel, both ends"}
"""Whose memory is told apart, and what it is called."""

WIDE_SHARE = 0.1
"""A slope whose interval is wider than this share of it, to either side, is uncertain."""

WORTH = 200.0
"""Bytes a connection under which a wide interval is of no weight."""

SETTLING = 3.0
"""Seconds after the ramp within which memory that servers take late is looked for."""

ENOUGH = 1000
"""Connections that a growth without a fit is divided by at the least: what the first ones take once is some MB."""


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
    before: float | None = None
    """Bytes in the last sample before the ramp, None without one."""
    growth: Estimate | None = None
    """What each connection made memory grow by, from before the ramp to the most open, less what the fit says that
    workers of ours took as they began. Its ends are how uncertain that is, and what memory moved by afterwards, while
    nothing was opened or read. None without a sample from before the ramp."""
    moved: tuple[float, float] = (0.0, 0.0)
    """By how many bytes memory fell (0 or less) and rose after the ramp, while nothing was opened or read."""

    @property
    def failed(self) -> bool:
        """Whether growth and slope differ by more than their uncertainties explain.

        What workers took has no part in that: it is of the fit, and as wrong as the slope is.
        """
        if self.fit is None or self.growth is None:
            return False
        half, value, (fell, rose) = 1.96 * math.sqrt(2) * self.fit.noise, self.growth.value, self.moved
        return self.fit.slope.differs_from(
            Estimate(value, value + (fell - half) / self.most, value + (rose + half) / self.most)
        )

    @property
    def uncertain(self) -> bool:
        """Whether the interval of the slope is too wide for the slope to be a figure by itself."""
        if self.fit is None:
            return False
        slope = self.fit.slope
        half = max(slope.value - slope.low, slope.high - slope.value)
        return half > max(WORTH, WIDE_SHARE * abs(slope.value))

    @property
    def one_more(self) -> Estimate | float | None:
        """Bytes that one more connection costs: the slope, or the growth where the fit failed or is uncertain.

        Its interval holds both. A float has none. None where a growth would be that of workers and first connections.
        It is rounded to a tenth of a byte, as a summary has it, so that it is one number wherever it is written.
        """
        if self.fit is None:
            return None if self.growth is None or self.most < ENOUGH else round(self.growth.value, 1)
        slope, growth = self.fit.slope, self.growth
        ends = (slope,) if growth is None else (slope, growth)
        value = slope.value if growth is None or not (self.failed or self.uncertain) else growth.value
        low, high = min(end.low for end in ends), max(end.high for end in ends)
        return Estimate(round(value, 1), round(low, 1), round(high, 1))

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
        """Bytes for so many connections at the cost of one more, with every step that was seen, wherever it was."""
        one_more = self.one_more
        if self.fit is None or not isinstance(one_more, Estimate):
            return None
        fixed, taken, slope = self.fit.fixed, self.fit.taken, one_more.times(connections)
        if (self.failed or self.uncertain) and self.before is not None:  # the fit's fixed cost belongs to its slope
            fixed = Estimate(self.before, self.before, self.before)
        parts = (fixed, taken, slope)
        value = sum(part.value for part in parts)
        # Where the slope is too high the others are too low: taken as independent they err to the wide side.
        low = value - math.hypot(*(part.value - part.low for part in parts))
        return Estimate(value, low, value + math.hypot(*(part.high - part.value for part in parts)))


def memory_of(record: Record) -> dict[str, MemoryFinding]:
    """Return what is known of each of `ENDS`."""
    return memory_of_samples(record.samples)


def memory_of_samples(samples: list[Sample]) -> dict[str, MemoryFinding]:
    """Return what is known of each of `ENDS`, while there is no record to read yet."""
    return {end: _finding(samples, end) for end in ENDS}


def _finding(samples: list[Sample], end: str) -> MemoryFinding:
    kept = [samples[at] for at in filling(samples) if _memory(samples[at], end) is not None]
    size = np.array([_memory(sample, end) for sample in kept], np.float64)
    has_before = bool(kept) and kept[0].stage == Stage.START
    if end == "kernel" and kept:
        size -= size[0]
    opened = np.array([sample.open for sample in kept], np.float64)
    # Fronts and workers that begin take user memory; what the kernel has for them it had before.
    begun = [None if end == "kernel" else getattr(sample, f"{end}_begun") for sample in kept]
    fit = fit_memory(opened, size, np.array([np.nan if count is None else count for count in begun], np.float64))
    found = MemoryFinding(opened, size, fit, None, float(size[0]) if has_before else None)
    if not found.most:
        return found
    full = int(np.flatnonzero(opened == found.most)[-1])
    value = float(size[full] / found.most)
    measured = Estimate(value, value, value) if has_before or end != "kernel" else None
    is_of_workers = fit is None and begun[full] is not None
    if not has_before or is_of_workers:
        return replace(found, measured=measured)
    taken = Estimate(0.0, 0.0, 0.0) if fit is None else fit.taken
    grown, (fell, rose) = float(size[full] - size[0]), _moved(samples, kept[0], kept[full], end)
    growth = Estimate(grown - taken.value, grown - taken.high + fell, grown - taken.low + rose)
    return replace(found, measured=measured, growth=growth.times(1 / found.most), moved=(fell, rose))


def _moved(samples: list[Sample], before: Sample, full: Sample, end: str) -> tuple[float, float]:
    """Return by how many bytes memory fell and rose, as quartiles, while nothing was opened, closed or read.

    That is after the ramp, for as long as it took and `SETTLING` at the least. Memory that follows its connections late
    is still to come when the last of them is open; and others on the machine move the kernel's, in the ramp as well.
    """
    until = full.time + max(SETTLING, full.time - before.time)
    quiet = [sample for sample in samples if sample.stage == Stage.HOLD and full.time <= sample.time <= until]
    quiet = [sample for sample in quiet if (sample.open, sample.received) == (full.open, full.received)]
    there = _memory(full, end)
    moves = [size - there for sample in quiet if there is not None and (size := _memory(sample, end)) is not None]
    if not moves:
        return 0.0, 0.0
    fell, rose = np.quantile(moves, (0.25, 0.75)).tolist()
    return min(0.0, fell), max(0.0, rose)


def doubt_of_cost(found: MemoryFinding, end: str) -> str | None:
    """Say what is to be held against the cost of one more connection, and what to do; None where there is nothing."""
    if not found.most:
        return None
    if found.fit is None:
        counts = len(set(found.connections.tolist()))
        beside = "" if counts < LEAST else " beside what workers took as they began"
        return (
            f"{ENDS[end]}: {counts} different numbers of connections were sampled, too few for a slope{beside}. "
            "A longer ramp (--rate), or a shorter --interval, has more."
        )
    slope, growth = found.fit.slope, found.growth
    if found.failed and growth is not None:
        return (
            f"{ENDS[end]}: it grew by {each(growth.value)} a connection in the ramp, and the slope of the fit is "
            f"{each_between(slope)}: memory did not follow the open connections in a line, so the growth is taken for "
            "the cost of one more. In a longer ramp with a pace that the server keeps (--rate) both agree, or tell "
            "what it takes once."
        )
    if not found.uncertain:
        return None
    taken = "" if growth is None else f" The growth over the whole ramp, {each(growth.value)} a connection, is taken."
    return (
        f"{ENDS[end]}: the slope is uncertain, {each_between(slope)}: noise, connections that open in bursts, or too "
        f"short a ramp.{taken} A longer ramp with a pace that the server keeps (--rate) is more certain."
    )


def predicted_of(record: Record) -> dict[str, float]:
    """Return what each of `ENDS` was predicted to take for all planned connections, in bytes, where the record says."""
    told = record.part("prediction")
    kernel = [value for value in mapping(told.get("kernel")).values() if isinstance(value, int | float)]
    values = {"server": told.get("server_user"), "client": told.get("client_user"), "kernel": sum(kernel) or None}
    return {end: float(value) for end, value in values.items() if isinstance(value, int | float)}


def _memory(sample: Sample, end: str) -> int | None:
    size: int | None = sample.kernel if end == "kernel" else getattr(sample, f"{end}_private")
    return size
