"""Partings: connections of one front that have been told their last, a refusal or a close, and may read it.

A connection that is closed with unread bytes is reset, and what was written to it is lost; so the sending side is shut
down first, and what still comes is dropped until the client closes, `LINGER` seconds have passed, or too many bytes
came. All wait equally long, so that the first in its dict is the first that is due. In: descriptors, registered and
non-blocking, with nothing pending. Out: each of them closed.
"""

import errno
import os
import socket
import time
from collections.abc import KeysView
from itertools import takewhile

from floodtest.flyweight.engine.intake import Intake
from floodtest.flyweight.engine.outbox import Outbox
from floodtest.server_under_test.limits import LINGER


def overdue(deadlines: dict[int, float], now: float) -> list[int]:
    """Return the descriptors whose deadline has passed; the first of the dict is the first that is due."""
    return list(takewhile(lambda fd: deadlines[fd] <= now, deadlines))


class Partings:
    """The descriptors of one front that are still open, and nothing else any more."""

    def __init__(self, intake: Intake, outbox: Outbox, max_excess: int) -> None:
        self._intake = intake
        self._outbox = outbox
        self._max_excess = max_excess
        self._dropped: dict[int, int] = {}  # bytes since the last words
        self._deadlines: dict[int, float] = {}

    def __contains__(self, fd: int) -> bool:
        return fd in self._dropped

    def __len__(self) -> int:
        return len(self._dropped)

    def descriptors(self) -> KeysView[int]:
        return self._dropped.keys()

    def begin(self, fd: int, last: bytes) -> None:
        """Write the last words to a connection, say that they are the last, and let the client close."""
        self._dropped[fd] = 0
        self._deadlines[fd] = time.monotonic() + LINGER
        failed = self._outbox.write_last([fd], [last])
        sock = socket.socket(fileno=fd)
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            failed[0] = errno.ENOTCONN
        finally:
            sock.detach()
        if failed:
            self.close(fd)

    def drop(self, fd: int, size: int) -> None:
        """Drop what came for one of them; too much ends it."""
        self._dropped[fd] += size
        if self._dropped[fd] > self._max_excess:
            self.close(fd)

    def expire(self, now: float) -> None:
        """Close those that have waited long enough."""
        for fd in overdue(self._deadlines, now):
            self.close(fd)

    def next_deadline(self) -> float:
        """When `expire` has something to do, by time.monotonic()."""
        return next(iter(self._deadlines.values()), float("inf"))

    def close(self, fd: int) -> None:
        """Close one of them."""
        del self._dropped[fd], self._deadlines[fd]
        self._intake.forget([fd])
        os.close(fd)

    def close_all(self) -> None:
        """Close all of them."""
        for fd in list(self._dropped):
            self.close(fd)
