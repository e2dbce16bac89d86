"""When messages are due: planned from the start, by the clock, whatever becomes of those before. Pure."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]

SPREAD = (11 / 60, 109 / 60)
"""The shortest and the longest pause of a producer, as parts of the mean: 2008 had 11 to 110 ms, 60 on average."""


class Schedule(Protocol):
    """Something that says what is due."""

    def due(self, until: float) -> Times:
        """Return the planned times, in seconds from the start and ascending, of what is due and was not said before."""


class EvenSchedule:
    """So many messages a second at equal distances, the first at 0."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._said = 0

    def due(self, until: float) -> Times:
        first, self._said = self._said, max(self._said, int(np.ceil(until * self._rate)))
        return np.arange(first, self._said) / self._rate


class ProducerSchedule:
    """Independent producers, each of which pauses for a random time between two messages, `interval` on average."""

    def __init__(self, producers: int, interval: float, random: np.random.Generator) -> None:
        self._random = random
        self._shortest, self._longest = (part * interval for part in SPREAD)
        self._next: Times = random.uniform(0, interval, producers)

    def due(self, until: float) -> Times:
        found = []
        while len(ready := np.flatnonzero(self._next < until)):
            found.append(self._next[ready])
            self._next[ready] += self._random.uniform(self._shortest, self._longest, len(ready))
        return np.sort(np.concatenate(found)) if found else np.zeros(0)
