"""Series: what the samples of a record show against time, the share of messages by latency, and means. Pure.

In: a `Record`, or what was read of its files. Out: columns of float64: seconds, milliseconds, or a field's own unit a
second; None, or an empty column, where a record has too little.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from floodtest.analysis.figures.fits import Estimate
from floodtest.analysis.figures.students_t import t_975
from floodtest.analysis.record import LatencyCounts, Record
from floodtest.analysis.record.samples import filling
from floodtest.flyweight.engine.counted_values import values_at

Floats = npt.NDArray[np.float64]

MOST_DRAWN = 1500
"""Samples in a picture, or twice as many where the ramp has so many of its own."""


def thinned(record: Record, most: int = MOST_DRAWN) -> Record:
    """Return the record with fewer samples, evenly, for a picture: a day has 86,400, and no screen so many pixels.

    Those of the ramp stay, up to `most`: there most changes.
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


def percentiles(latency: LatencyCounts, shares: Floats, column: int = 1) -> Floats | None:
    """Return milliseconds that such shares (0 to 1) of the messages did not exceed; None without messages.

    `column` is a place in `record.latency.COLUMNS`: 1 counts from the planned time, 2 from the publishing, 3 and 4 are
    the sample's, to the read and to the arrival. Too high by 0.8% at the most (docs/run-record.md).
    """
    return values_at(shares, latency.rows[:, 0], latency.rows[:, column])


BY_PLAN, BY_SERVER = "from the planned time", "by the time in the server's messages"


def source_of_latency(record: Record) -> str | None:
    """Return what a run's latency counts from; None where it had no messages whose latency is known."""
    options = record.part("options")
    if options.get("latency") is not None:
        return BY_SERVER
    return BY_PLAN if options.get("messages") is not None else None


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
    half = t_975(effective - 1) * math.sqrt(spread / (n - 1) / effective)
    return Estimate(mean, mean - half, mean + half)
