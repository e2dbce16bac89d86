"""How long connections took to open, and lived: from the counts of a reading to the summary. Pure.

Early ends that bunch at one duration have one cause, which is seldom the server's will: a proxy that ends what has been
idle for a minute, say. They are said in words.
"""

from collections.abc import Mapping
from typing import NamedTuple

from floodtest.analysis.record.summary import Lifetimes, Percentiles, Timing
from floodtest.flyweight.command.counted import counted
from floodtest.loadgen.client.durations import TOPS, units_at
from floodtest.loadgen.run.reading import Reading

FEW = 20
"""Early ends of which none is said to be one of many."""

SHORT_MS = 3000
"""Durations at which connections end for other reasons than a limit of time."""

NEARLY = 1.03
SLACK_MS = 250
"""How far durations may lie from each other that are nearly one: clients look at what they have read, and servers at
their clocks, now and then only."""


class Bunch(NamedTuple):
    """Durations that are nearly one."""

    connections: int
    seconds: int


def timing_of(reading: Reading) -> Timing | None:
    """Return how long connections took to open; None where none got so far as to be connected."""
    fields = ("connect_us", "first_byte_us", "open_us", "tls_us")
    found = [_percentiles(reading.durations.get(field, {}), 1000) for field in fields]
    return Timing(*found) if any(one is not None for one in found) else None


def lifetimes_of(reading: Reading) -> Lifetimes | None:
    """Return how long the connections had lived that ended by themselves; None where none did."""
    life_ms, quiet_ms = reading.durations.get("life_ms", {}), reading.durations.get("quiet_ms", {})
    life, quiet = _percentiles(life_ms, 1000), _percentiles(quiet_ms, 1000)
    if life is None or quiet is None:
        return None
    return Lifetimes(sum(life_ms.values()), life, quiet, _in_words(life_ms, quiet_ms))


def _percentiles(counts: Mapping[int, int], unit: int) -> Percentiles | None:
    """Return percentiles of counts by bucket, of which so many units are one of the summary's."""
    found = units_at([0.5, 0.9, 0.99, 1.0], counts)
    return None if found is None else Percentiles(*(round(value / unit, 3) for value in found))


def _in_words(life_ms: Mapping[int, int], quiet_ms: Mapping[int, int]) -> str | None:
    """Say at what duration early ends bunch, if they do: more of them since their last byte, or since they opened."""
    total, life, quiet = sum(life_ms.values()), bunch(life_ms), bunch(quiet_ms)
    if quiet is not None and (life is None or quiet.connections > life.connections or quiet.seconds == life.seconds):
        many = f"{quiet.connections:,} of {counted(total, 'connections')} ended {quiet.seconds} s after their last byte"
        return f"{many}: an idle time-out of a proxy, or of the server?"
    if life is not None:
        many = f"{life.connections:,} of {counted(total, 'connections')} ended {life.seconds} s after they opened"
        return f"{many}: a limit of a proxy or the server on how long connections live, or did the server end then?"
    return None


def bunch(counts: Mapping[int, int]) -> Bunch | None:
    """Return the most durations that are nearly one, of counts by bucket in ms; None if they are not most of many."""
    buckets, total = sorted(counts), sum(counts.values())
    best, first, inside = Bunch(0, 0), 0, 0
    for last, bucket in enumerate(buckets):
        inside += counts[bucket]
        while TOPS[bucket] > TOPS[buckets[first]] * NEARLY + SLACK_MS:
            inside -= counts[buckets[first]]
            first += 1
        if inside > best.connections:
            best = Bunch(inside, round(int(TOPS[buckets[(first + last) // 2]]) / 1000))
    is_one = total >= FEW and 2 * best.connections > total and best.seconds * 1000 >= SHORT_MS
    return best if is_one else None
