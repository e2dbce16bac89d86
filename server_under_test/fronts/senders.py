"""What a front has to write to its streams, a slice a turn: ticks to all of them, the router's messages, and what keeps
them alive by the clock, pings and heartbeats.

A slice is some milliseconds of work; whatever else is due is looked at between two of them.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.ledger import TickTable
from floodtest.server_under_test.fronts.streams import Streams
from floodtest.server_under_test.routing.bus import FrontBus, Rows, Turn
from floodtest.server_under_test.routing.bus_reader import Reader

SLICE_BYTES = 1 << 17
"""Bytes of texts in one slice of messages: less than the kernel keeps for a socket, so that who reads keeps up."""


class TickSender:
    """Sends one tick at a time to every stream, a slice a turn."""

    def __init__(self, streams: Streams, row: npt.NDArray[Any]) -> None:
        self._streams = streams
        self._table = TickTable(row)
        self._number = 0
        self._left: npt.NDArray[np.intp] = np.zeros(0, np.intp)

    @property
    def under_way(self) -> bool:
        return self._number > 0

    def begin(self, number: int) -> None:
        """Begin tick `number`; the parent sends the next one only when this is done."""
        self._number = number
        self._left = self._streams.descriptors()

    def send_some(self, most: int) -> bool:
        """Send the tick to the next `most` streams; False when those were the last."""
        now, self._left = self._left[:most], self._left[most:]
        began = time.monotonic_ns()
        sent = self._streams.send(now, b"tick %d" % self._number)
        self._table.count(self._number, sent, began, time.monotonic_ns())
        if not len(self._left):
            self._number = 0
        return self.under_way


class Rounds:
    """Has something done for all streams by the clock, a slice a turn: pings, or heartbeats."""

    def __init__(self, streams: Streams, send: Callable[[npt.NDArray[np.intp]], None], seconds: float | None) -> None:
        """`send` is given the descriptors of a slice; None seconds: never."""
        self._streams = streams
        self._send = send
        self._seconds = float("inf") if seconds is None else seconds
        self._left: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self.due = time.monotonic() + self._seconds
        """When the next round begins, by time.monotonic()."""

    @property
    def under_way(self) -> bool:
        return len(self._left) > 0

    def begin_if_due(self, now: float) -> None:
        """Begin a round when its time has come, unless the last one is not over."""
        if now >= self.due and not self.under_way:
            self._left = self._streams.descriptors()
            self.due = now + self._seconds

    def send_some(self, most: int) -> None:
        """Do it for the next `most` streams."""
        now, self._left = self._left[:most], self._left[most:]
        self._send(now)


class MessageSender:
    """Writes the rows of the router's turns, in their order.

    The columns of a turn are copies, so that they are whole whatever becomes of it; its texts are shared, and
    `Streams.deliver` asks whether the turn is still there between copying and writing them.
    """

    def __init__(self, streams: Streams, bus: FrontBus, front: int, row: npt.NDArray[Any]) -> None:
        self._streams = streams
        self._bus = bus
        self._reader = Reader(bus, front, row)
        self._turn: Turn | None = None
        self._left: Rows | None = None
        self.begin = self._reader.begin

    @property
    def under_way(self) -> bool:
        return self._reader.under_way

    def send_some(self, most: int) -> None:
        """Write the next `most` rows, and those that go to the same descriptor as the last, if they are not too large.

        What goes to one descriptor and is a slice by itself, or more, takes several.
        """
        if self._turn is None:
            self._turn = self._reader.next()
            self._left = None if self._turn is None else self._turn.rows
            if self._reader.has_missed:
                self._streams.give_up_replays()
        turn, rows = self._turn, self._left
        if turn is None or rows is None:
            return
        end = int(np.searchsorted(rows.fds, rows.fds[min(most, len(rows.fds)) - 1], "right"))
        sizes = np.cumsum(rows.sizes_of(rows.which[:end]))
        if sizes[-1] > SLICE_BYTES:
            end = max(1, int(np.searchsorted(sizes, SLICE_BYTES, "right")))
        if self._streams.deliver(rows.part(slice(end)), lambda: self._bus.has(turn.number)):
            self._reader.deal_with(end)
            self._left = rows.part(slice(end, None))
            if len(self._left.fds):
                return
        self._turn = None
        self._reader.finish(turn)
