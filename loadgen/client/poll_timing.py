"""When the polls of a worker's connections are due: how long a first one is unanswered, and what waits before the next.

In: times (`time.monotonic`) with each call; there is no clock here. Out: descriptors whose first poll counts as held,
and descriptors that have to poll again, in order. A connection that waits for an answer has no entry here, but for its
cursor (`wire.poll_requests`) and 5 bytes of columns; one that pauses is 8 bytes in an array, once.

A poll is repeated at once, unless its answer has no message and came so soon that the server can't have waited: then
after a pause, since a server that answers every poll at once would otherwise be asked as fast as the machine can.
"""

from collections import deque

import numpy as np

from floodtest.wire.framing.poll_answers import unpacked
from floodtest.wire.matrix import Ints
from floodtest.wire.poll_options import Polling
from floodtest.wire.poll_requests import Polls

_NUMBERS = 0xFFFFFFFF
"""Pauses that have a number of their own: far more than are under way at a time."""


class Pollers:
    """The connections of one worker that poll; `has_to_be_held`: whether a poll that is held opens a connection."""

    def __init__(self, polls: Polls, polling: Polling, files_limit: int, has_to_be_held: bool) -> None:
        self.polls = polls
        self._pause = polling.pause
        self._held_for = polling.held
        self._has_to_be_held = has_to_be_held
        self._written: dict[int, float] = {}
        """When the first polls were written that are not answered and do not count as held yet, oldest first."""
        self._number = 0
        """Of the last pause."""
        self._pausing: deque[tuple[float, int, Ints]] = deque()
        """When descriptors are to poll again, in order, each time with the number of the pause."""
        self._pause_of = np.zeros(files_limit, np.uint32)
        """By descriptor: the number of the pause it is in; 0: it is in none. A connection may get the descriptor of
        one that has ended in its pause, and pause for itself before that one's is over."""
        self._has_paused = np.zeros(files_limit, np.bool_)
        """By descriptor: whether its last poll came after a pause, in which its server has not waited."""

    def wrote_first(self, fds: list[int], now: float) -> None:
        """Take descriptors whose first poll is on its way since now."""
        if self._has_to_be_held:
            self._written.update(dict.fromkeys(fds, now))

    def answered_first(self, fd: int) -> None:
        """Note that an answer has begun to come, or that the connection has ended."""
        self._written.pop(fd, None)

    def may_be_held(self, fd: int) -> bool:
        """Return whether the first poll of a descriptor is unanswered and will count as held before long."""
        return fd in self._written

    def take_held(self, now: float) -> list[int]:
        """Return, once, the descriptors whose first poll has been unanswered for so long that it is held."""
        held = []
        for fd, written in self._written.items():
            if written + self._held_for > now:
                break
            held.append(fd)
        for fd in held:
            del self._written[fd]
        return held

    def take(self, owed: dict[int, bytes], waited: list[float], now: float) -> list[int]:
        """Take what was said in answers that each came so many seconds after the one before, in the order of `owed`
        (`Decoded.reply`); return the descriptors that poll again at once. An answer in a pause is one that nobody has
        asked for, and the poll behind the pause follows it as well.
        """
        fds, answers = list(owed), list(map(unpacked, owed.values()))
        self.polls.take(fds, [answer.cursor for answer in answers])
        enough = np.where(self._has_paused[fds], 2 * self._pause, self._pause).tolist()
        self._has_paused[fds] = False
        at_once, pausing = list[int](), list[int]()
        for fd, answer, seconds, least in zip(fds, answers, waited, enough, strict=True):
            if not self._pause_of[fd]:
                (at_once if answer.has_message or seconds >= least else pausing).append(fd)
        if pausing:
            self._number = self._number % _NUMBERS + 1
            self._pausing.append((now + self._pause, self._number, np.array(pausing)))
            self._pause_of[pausing] = self._number
        return at_once

    def take_due(self, now: float) -> list[int]:
        """Return, once, the descriptors whose pause is over."""
        due = list[int]()
        while self._pausing and self._pausing[0][0] <= now:
            _, number, fds = self._pausing.popleft()
            fds = fds[self._pause_of[fds] == number]
            self._pause_of[fds] = 0
            self._has_paused[fds] = True
            due += fds.tolist()
        return due

    def forget(self, fd: int) -> None:
        """Have nothing due of a descriptor that is closed."""
        self.answered_first(fd)
        self._pause_of[fd] = self._has_paused[fd] = 0

    @property
    def due(self) -> float:
        """When the next first poll counts as held or the next pause is over (time.monotonic); infinity: none waits."""
        held = next(iter(self._written.values()), float("inf")) + self._held_for
        return min(held, self._pausing[0][0]) if self._pausing else held
