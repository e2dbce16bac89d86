"""Latencies counted in buckets whose width grows with the value, as HDR histograms do: any value is off by under 0.8%.

Values are whole microseconds up to `MAX`. The first 256 have a bucket each; from there on each doubling is cut into
128. Counting is a few numpy calls a batch, adding up workers is a sum, and nothing is sampled or thrown away.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.counted_values import values_at

_BITS = 7
_EXACT = 2 << _BITS
_DOUBLINGS = 24
BUCKETS = _EXACT + _DOUBLINGS * (1 << _BITS)
MAX = (_EXACT << _DOUBLINGS) - 1
"""Microseconds: 71 minutes. What is longer is counted as this."""

Counts = npt.NDArray[np.int64]


def count(values: npt.NDArray[np.int64]) -> Counts:
    """Return how many of the values (µs; negative ones are 0) fall into each bucket; shape (BUCKETS,)."""
    return np.bincount(_buckets(values), minlength=BUCKETS)


def add(values: npt.NDArray[np.int64], counts: Counts) -> None:
    """Count rows of a few values as `count` does, each into its row of the counts; shapes (n, few), (n, BUCKETS)."""
    rows = np.arange(0, counts.size, BUCKETS)[:, np.newaxis]
    np.add.at(counts.reshape(-1), (_buckets(values) + rows).reshape(-1), 1)  # by one index, which numpy is quick at


def _buckets(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    values = np.minimum(np.maximum(values, 0), MAX)  # a third of the price of `np.clip`, where they are few
    _, exponent = np.frexp(values.astype(np.float64))
    shift = np.maximum(exponent - (_BITS + 1), 0)
    found: npt.NDArray[np.int64] = (values >> shift) + (shift << _BITS)
    return found


def bucket(value: int) -> int:
    """Return the bucket that a value (µs; negative ones are 0) falls into."""
    value = min(max(value, 0), MAX)
    shift = max(value.bit_length() - (_BITS + 1), 0)
    return (value >> shift) + (shift << _BITS)


def highest(bucket: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Return the largest value (µs) that falls into each of the buckets."""
    shift = np.maximum((bucket >> _BITS) - 1, 0).astype(np.int64)
    top: npt.NDArray[np.int64] = ((bucket - (shift << _BITS) + 1) << shift) - 1
    return top


def sparse(counts: Counts) -> dict[int, int]:
    """Return the buckets that are not empty, and their counts."""
    used = np.flatnonzero(counts)
    return dict(zip(used.tolist(), counts[used].tolist(), strict=True))


def dense(counts: Mapping[int, int]) -> Counts:
    """Return all buckets, of those that are not empty."""
    found = np.zeros(BUCKETS, np.int64)
    found[list(counts)] = list(counts.values())
    return found


def microseconds_at(shares: list[float], counts: Counts) -> list[float] | None:
    """Return for each share (0 to 1) a value in µs that so many are not above; None when nothing was counted."""
    found = values_at(shares, highest(np.arange(BUCKETS)), counts)
    return None if found is None else found.tolist()


def rows(*counts: Counts) -> list[tuple[float, ...]]:
    """Return for each bucket that is not empty in all of the counts its upper end in milliseconds, and each count."""
    used = np.flatnonzero(sum(counts))
    tops = (highest(used) / 1000).tolist()
    return list(zip(tops, *(each[used].tolist() for each in counts), strict=True))
