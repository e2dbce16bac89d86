"""By how much the clocks of another host are ahead of this one's, and how far that may be off. Pure.

In: echoes, each of which is a look at this host's clocks, one at the other host's, and another one at this host's. The
other host looked between these two, so the difference is known within that round trip however long either way took: its
middle is off by half of the round trip at the most. Out: of many echoes the one with the least round trip.

There are two clocks. Stamps of messages, times of reads and the start of a run are of CLOCK_MONOTONIC, which counts
from the boot of each host, so that two hosts differ by days. CLOCK_REALTIME has the times that foreign servers write.

Both are steered by NTP, and drift apart by some 10 µs a second where they are not. What was measured at the start of a
run is measured again at its end: a difference beyond both bounds is a drift.
"""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

PROBES = 200
"""Echoes of a measurement: on a quiet network the least round trip of so many does not improve with more."""


MAX_CLOCK = 1 << 62
"""No clock shows so much, 146 years. So differences of what two of them show, and sums with them, fit into 64 bits."""


class Clocks(NamedTuple):
    """A look at both clocks of a host, ns."""

    monotonic: int
    realtime: int


class Echo(NamedTuple):
    """What the clocks showed here when it was asked, there when it was answered, and here when the answer was read."""

    asked: Clocks
    there: Clocks
    received: Clocks

    @property
    def round_trip(self) -> int:
        return self.received.monotonic - self.asked.monotonic


class Offset(msgspec.Struct, frozen=True):
    """By how many ns a clock of another host is ahead of this host's; negative where it is behind."""

    ahead_ns: int
    bound_ns: int
    """What `ahead_ns` is off by at the most."""

    def __str__(self) -> str:
        return f"{self.ahead_ns / 1e9:+,.6f} s ± {self.bound_ns / 1000:,.1f} µs"


class Offsets(msgspec.Struct, frozen=True):
    """The offsets of both clocks, and when they were measured."""

    monotonic: Offset
    realtime: Offset
    probes: int
    at_ns: int
    """Of CLOCK_MONOTONIC of this host."""


class Drift(msgspec.Struct, frozen=True):
    """How a clock moved against this host's between two measurements."""

    moved_ns: int
    bound_ns: int
    """What `moved_ns` is off by at the most."""
    seconds: float
    """Between the measurements."""

    @property
    def is_certain(self) -> bool:
        """Whether it is more than the measurements may be off by."""
        return abs(self.moved_ns) > self.bound_ns

    @property
    def per_million(self) -> float:
        """Microseconds a second."""
        return self.moved_ns / 1000 / self.seconds if self.seconds > 0 else 0.0


def look() -> Clocks:
    """Return what the clocks of this host show."""
    return Clocks(time.monotonic_ns(), time.time_ns())


def measure(ask: Callable[[], Clocks], probes: int = PROBES, look: Callable[[], Clocks] = look) -> Offsets:
    """Ask the other host for its clocks so many times, and return how they differ from this host's."""
    return offsets_of(Echo(look(), ask(), look()) for _ in range(probes))


def offsets_of(echoes: Iterable[Echo]) -> Offsets:
    """Return what echoes say, of which there is one at the least."""
    found = list(echoes)
    # By CLOCK_MONOTONIC, which nobody sets: a step of CLOCK_REALTIME between two looks would pass for a short trip.
    best = min(found, key=lambda echo: echo.round_trip)
    return Offsets(
        monotonic=_offset(best.asked.monotonic, best.there.monotonic, best.round_trip),
        realtime=_offset(best.asked.realtime, best.there.realtime, best.round_trip),
        probes=len(found),
        at_ns=(best.asked.monotonic + best.received.monotonic) // 2,
    )


def _offset(asked: int, there: int, round_trip: int) -> Offset:
    """Return the middle of what the offset can be: `there` less when it was asked at the most, and the trip less."""
    return Offset(there - asked - round_trip // 2, (round_trip + 1) // 2)


def drift_between(start: Offsets, end: Offsets) -> Drift:
    """Return how CLOCK_MONOTONIC of the other host moved against this host's."""
    return Drift(
        moved_ns=end.monotonic.ahead_ns - start.monotonic.ahead_ns,
        bound_ns=end.monotonic.bound_ns + start.monotonic.bound_ns,
        seconds=(end.at_ns - start.at_ns) / 1e9,
    )


def bound_of_run(start: Offset, end: Offset) -> int:
    """Return by how many ns the offset at the start was off at any time of a run, if clocks drift evenly."""
    return max(start.bound_ns, abs(end.ahead_ns - start.ahead_ns) + end.bound_ns)
