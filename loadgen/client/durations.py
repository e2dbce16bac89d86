"""Durations of connections, counted in buckets of a worker's row: how long until open, and how long they lived.

A duration is a whole number of some unit (µs or ms). Buckets are those of `client.histogram`, four of them taken
together: a value is off by under 3.2%, or by 3 units where it is below 256. Connections of a batch are begun together
and often have one duration, so a batch costs about a microsecond and no array.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.counted_values import values_at
from floodtest.loadgen.client import histogram

_GROUP = 2

BUCKETS = histogram.BUCKETS >> _GROUP

FIELDS = ("connect_us", "tls_us", "first_byte_us", "open_us", "life_ms", "quiet_ms")
"""Their fields of a row, with their units. From when a connection was begun: until it was connected, until its
handshake of TLS was over, until the first byte of its answer, until it was open. Of those that ended by themselves:
since they were open, and since they last got something."""

TOPS: npt.NDArray[np.int64] = histogram.highest(((np.arange(BUCKETS) + 1) << _GROUP) - 1)
"""The largest value of each bucket."""


class Durations:
    """One field of a worker's row."""

    def __init__(self, row: npt.NDArray[Any], field: str) -> None:
        self._cells = row[field][0].data

    def count(self, value: int, times: int = 1) -> None:
        """Count connections that took so long; less than nothing is nothing."""
        self._cells[histogram.bucket(value) >> _GROUP] += times


def units_at(shares: list[float], counts: Mapping[int, int]) -> list[float] | None:
    """Return for each share (0 to 1) a value that so many are not above, of counts by bucket; None: there are none."""
    dense = np.zeros(BUCKETS, np.int64)
    dense[list(counts)] = list(counts.values())
    found = values_at(shares, TOPS, dense)
    return None if found is None else found.tolist()
