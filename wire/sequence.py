"""What the numbers of a connection's messages (`#n`, from 1) show: what is missing, repeated, or can't be right. Pure.

In: columns of messages, each with the descriptor of its connection and its number. Out: counts in an `OutOfSequence`.
Each message adds to one count at the most. What a connection has come to is kept in a column by descriptor, 4 bytes
each, and 8 more where messages may overtake each other: our own server sends them in order, others need not.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from floodtest.wire.matrix import Ints

MAX_STEP = 1 << 16
"""The largest step from one number of a connection to the next that is taken for missing messages.

A peer can write any number, but what it can have sent is bounded by time: this is more than a minute of the fastest
ticks of our server (one a millisecond), all of them lost by a connection that lives on. RTP takes 3,000 packets for
this (RFC 3550, appendix A.1)."""


@dataclass
class OutOfSequence:
    """Counts of what is out of sequence."""

    missing: int = 0
    """Messages that a step passes over."""
    repeated: int = 0
    """Messages whose number is not above the one before."""
    jumps: int = 0
    """Messages whose number is more than `MAX_STEP` above the one before."""

    def follow(self, before: int, number: int) -> int:
        """Count what `number` behind `before` shows; return what the next number is held against.

        That stays where it was after a jump: if it moved, one forged number would make all later messages of its
        connection repeated ones. A peer that really goes on from there has each of its messages counted as a jump.
        """
        step = number - before
        if step > MAX_STEP:
            self.jumps += 1
            return before
        if step < 1:
            self.repeated += 1
            return before
        self.missing += step - 1
        return number


def _are_next(fds: Ints, numbers: Ints, last: np.ndarray[Any, Any]) -> bool:
    """Return whether each of the connections has got one message, the next after its last one, as by a tick."""
    return bool((numbers - last[fds] == 1).all() and np.diff(np.sort(fds)).all())


class Sequences:
    """The numbers that the connections of one worker have come to, by descriptor."""

    def __init__(self, files_limit: int) -> None:
        self._numbers = np.zeros(files_limit, np.uint32)
        self._number_of = self._numbers.data

    def begin(self, fds: list[int]) -> None:
        """Count the messages of these descriptors anew: they have new connections."""
        self._numbers[fds] = 0

    def follow(self, fds: Ints, numbers: Ints, order: Ints) -> OutOfSequence:
        """Hold each message's number against the one before it of its connection; `order` ascends with each one's."""
        found = OutOfSequence()
        if _are_next(fds, numbers, self._numbers):
            self._numbers[fds] = numbers
            return found
        by_connection = np.lexsort((order, fds))
        fds, numbers = fds[by_connection], numbers[by_connection]
        before = np.append(0, numbers)[: len(numbers)]
        first = np.append(len(fds) > 0, fds[1:] != fds[:-1])[: len(fds)]
        before[first] = self._numbers[fds[first]]
        if (numbers - before == 1).all():
            self._numbers[fds] = numbers  # of several of a connection the last one stays
        else:
            for fd, number in zip(fds.tolist(), numbers.tolist(), strict=True):
                self._number_of[fd] = found.follow(self._number_of[fd], number)
        return found


class Follower(Protocol):
    """What follows the numbers of connections."""

    def begin(self, fds: list[int]) -> None:
        """Count the messages of these descriptors anew: they have new connections."""

    def follow(self, fds: Ints, numbers: Ints, order: Ints) -> OutOfSequence:
        """Hold each message's number against those before it of its connection."""


WINDOW = 64
"""Numbers below the highest of a connection of which is known whether each has come. What is older is taken for very
late: it is neither missing nor repeated, though it may be."""

_ALL = (1 << WINDOW) - 1


class Window:
    """Which of the last numbers of one connection have come; IPsec finds replays in this way (RFC 4303, 3.4.3)."""

    def __init__(self, highest: int = 0, seen: int = _ALL) -> None:
        self.highest = highest
        self.seen = seen
        """A bit for each of the last numbers, the lowest for the highest number."""

    def follow(self, number: int, found: OutOfSequence) -> None:
        """Count what a number shows. One that fills a gap is missing no longer."""
        step = number - self.highest
        if step > MAX_STEP:
            found.jumps += 1
        elif step > 0:
            found.missing += step - 1
            self.seen = (self.seen << step | 1) & _ALL
            self.highest = number
        elif step > -WINDOW and not self.seen >> -step & 1:
            found.missing -= 1
            self.seen |= 1 << -step
        elif step > -WINDOW:
            found.repeated += 1


class Windows:
    """The numbers of the connections of one worker, whose messages may overtake each other, by descriptor."""

    def __init__(self, files_limit: int) -> None:
        self._highest = np.zeros(files_limit, np.uint32)
        self._seen = np.full(files_limit, _ALL, np.uint64)

    def begin(self, fds: list[int]) -> None:
        """Count the messages of these descriptors anew: they have new connections."""
        self._highest[fds] = 0
        self._seen[fds] = _ALL

    def follow(self, fds: Ints, numbers: Ints, order: Ints) -> OutOfSequence:
        """Hold each message's number against the last ones of its connection; `order` ascends with each one's."""
        found = OutOfSequence()
        if _are_next(fds, numbers, self._highest):
            self._highest[fds] = numbers
            self._seen[fds] = self._seen[fds] << np.uint64(1) | np.uint64(1)
            return found
        by_order = np.argsort(order, kind="stable")
        highest_of, seen_of = self._highest.data, self._seen.data
        for fd, number in zip(fds[by_order].tolist(), numbers[by_order].tolist(), strict=True):
            window = Window(highest_of[fd], seen_of[fd])
            window.follow(number, found)
            highest_of[fd], seen_of[fd] = window.highest, window.seen
        return found
