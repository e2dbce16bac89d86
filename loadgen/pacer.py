"""The pacer: how many connections are due at a time, by the clock and nothing else.

Connection i (from 1) is due (i-1)/rate seconds after the ramp's start, however late the ones before it were: a slow
target makes the ramp late, never the plan. Without a rate all are due at once.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pacer:
    """`rate` connections a second, or as fast as it goes (None)."""

    rate: float | None

    def due(self, elapsed: float, connections: int) -> int:
        """Return how many of the first `connections` are due `elapsed` seconds after the start."""
        if elapsed < 0:
            return 0
        if self.rate is None:
            return connections
        return int(min(elapsed * self.rate + 1, connections))

    def time_of(self, connection: int) -> float:
        """Return the seconds from the start at which a connection (from 1) is due."""
        return 0.0 if self.rate is None else (connection - 1) / self.rate
