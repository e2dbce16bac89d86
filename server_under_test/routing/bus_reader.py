"""One front's way through the turns of a bus, and what its row of the ledger says of it.

In: orders that tell of turns. Out: the turns that have rows of this front, in their order, each once; the last turn
that is written, which the router's `Progress` looks at, and the rows that were gone before they were read, which count
as undeliverable. Cost: a few calls a turn. Fails: nothing.
"""

from typing import Any

import numpy.typing as npt

from floodtest.flyweight.engine.ledger import Counter
from floodtest.server_under_test.routing.bus import Deliver, FrontBus, Turn


class Reader:
    """One front's way through the turns, and what its row of the ledger says of it."""

    def __init__(self, bus: FrontBus, front: int, row: npt.NDArray[Any]) -> None:
        self._bus = bus
        self._front = front
        self._written, self._undeliverable = Counter(row, "turn"), Counter(row, "undeliverable")
        self._done = 0  # the last turn that is written, or that has no rows of ours
        self._rows = 0  # that are dealt with
        self.has_missed = False
        """Whether rows were gone when `next` was last called."""
        self.under_way = False
        """Whether there may be turns to write."""

    def begin(self, order: Deliver) -> None:
        """Take an order; where nothing is under way, no turn before it has rows of ours."""
        if not self.under_way:
            self._done = max(self._done, order.turn - 1)
        self.under_way = True

    def next(self) -> Turn | None:
        """Return the next turn to write; None, with nothing under way any more, if there is none.

        Rows of ours in turns that are gone count as undeliverable.
        """
        last, rows = self._bus.rows_until_last(self._front)  # before looking: a later turn brings an order
        turn = self._bus.next(self._front, self._done)
        rows = rows if turn is None else turn.before
        self.has_missed = rows > self._rows
        self._undeliverable.add(rows - self._rows)
        self._rows = rows
        if turn is None:
            self._done, self.under_way = last, False
            self._written.set(last)
        return turn

    def deal_with(self, rows: int) -> None:
        """Note that so many more rows of a turn were delivered, or could not be."""
        self._rows += rows

    def finish(self, turn: Turn) -> None:
        """Note that a turn is written, or is gone."""
        self._done = turn.number
        self._written.set(turn.number)
