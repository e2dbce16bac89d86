"""What a front has to write to its streams, a slice a turn: ticks to all of them, and the router's messages.

A slice is some milliseconds of work; whatever else is due is looked at between two of them.
"""

import time
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from flyweight.ledger import Counter, TickTable
from server_under_test.bus import Bus, Deliver, Rows
from server_under_test.streams import Streams

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


class MessageSender:
    """Writes the rows of the router's turns, in their order, and notes each turn that is written."""

    def __init__(self, streams: Streams, bus: Bus, row: npt.NDArray[Any]) -> None:
        self._streams = streams
        self._bus = bus
        self._written = Counter(row, "turn")
        self._orders: deque[Deliver] = deque()
        self._rows: Rows | None = None

    @property
    def under_way(self) -> bool:
        return bool(self._orders)

    def begin(self, order: Deliver) -> None:
        """Take an order, to be carried out after those before it."""
        self._orders.append(order)

    def send_some(self, most: int) -> None:
        """Write the next `most` rows, and those that go to the same descriptor as the last, if they are not too large.

        What goes to one descriptor and is a slice by itself, or more, takes several.
        """
        order = self._orders[0]
        rows = self._rows or self._bus.read(order)
        end = int(np.searchsorted(rows.fds, rows.fds[min(most, len(rows.fds)) - 1], "right"))
        sizes = np.cumsum(rows.sizes_of(rows.which[:end]))
        if sizes[-1] > SLICE_BYTES:
            end = max(1, int(np.searchsorted(sizes, SLICE_BYTES, "right")))
        self._streams.deliver(_cut(rows, slice(end)))
        self._rows = _cut(rows, slice(end, None))
        if not len(self._rows.fds):
            self._rows = None
            self._orders.popleft()
            self._written.set(order.turn)


def _cut(rows: Rows, part: slice) -> Rows:
    return replace(rows, fds=rows.fds[part], users=rows.users[part], which=rows.which[part])
