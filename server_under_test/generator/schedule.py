"""When messages are due: planned from the start, by the clock, whatever becomes of those before. Pure."""

from collections import deque
from typing import Protocol

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]

SPREAD = (11 / 60, 109 / 60)
"""The shortest and the longest pause of a producer, as parts of the mean: 2008 had 11 to 110 ms, 60 on average."""


class Schedule(Protocol):
    """Something that says what is due."""

    def plan(self, until: float) -> int:
        """Let what is planned before `until`, in seconds from the start, fall due; return how many more that are."""

    def take(self, most: int) -> Times:
        """Return the planned times of the next `most` that are due, ascending; each is returned once."""


class EvenSchedule:
    """So many messages a second at equal distances, the first at 0."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = 0
        self._taken = 0

    def plan(self, until: float) -> int:
        before, self._due = self._due, max(self._due, int(np.ceil(until * self._rate)))
        return self._due - before

    def take(self, most: int) -> Times:
        first, self._taken = self._taken, min(self._taken + most, self._due)
        return np.arange(first, self._taken) / self._rate


class ProducerSchedule:
    """Independent producers, each of which pauses for a random time between two messages, `interval` on average.

    What is due and was not taken costs 8 bytes each.
    """

    def __init__(self, producers: int, interval: float, random: np.random.Generator) -> None:
        self._random = random
        self._shortest, self._longest = (part * interval for part in SPREAD)
        self._next: Times = random.uniform(0, interval, producers)
        self._due: deque[Times] = deque()

    def plan(self, until: float) -> int:
        found = []
        while len(ready := np.flatnonzero(self._next < until)):
            found.append(self._next[ready])
            self._next[ready] += self._random.uniform(self._shortest, self._longest, len(ready))
        if found:
            self._due.append(np.sort(np.concatenate(found)))
        return sum(map(len, found))

    def take(self, most: int) -> Times:
        taken = []
        while self._due and most:
            times = self._due.popleft()
            taken.append(times[:most])
            if len(times) > most:
                self._due.appendleft(times[most:])
            most -= len(taken[-1])
        return np.concatenate(taken) if taken else np.zeros(0)
