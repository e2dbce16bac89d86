"""Progress: which fronts have turns of the router's to write, and how long each has written nothing. No I/O.

In: columns of the fronts' ledger, and which turn each front was told of. A front is given up that has written nothing
for long (it was stopped, or has no processor), until it has written what it was told; nobody waits for it.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import trio

Turns = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Progress:
    """How far the fronts have come.

    `written` is a column with the last turn that each front has written, and `rows` returns one of how many deliveries
    each has dealt with; both change by themselves.
    """

    def __init__(
        self, written: Turns, rows: Callable[[], Turns], clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._written = written
        self._rows = rows
        self._clock = clock
        self._told = np.zeros(len(written), np.int64)
        self._told_before = np.zeros(len(written), np.int64)
        self._seen = rows()
        self._since = np.zeros(len(written))
        self.given_up: Flags = np.zeros(len(written), bool)

    def tell(self, fronts: Iterable[int], turn: int) -> None:
        """Note that fronts were told of a turn."""
        now = self._clock()
        for front in fronts:
            if self._written[front] >= self._told[front]:
                self._since[front] = now
            self._told_before[front], self._told[front] = self._told[front], turn

    def look(self, give_up: float) -> None:
        """See who has come on; give up fronts that have written nothing for so long, until they have caught up."""
        now, rows = self._clock(), self._rows()
        self._since[rows != self._seen] = now
        self._seen = rows
        behind = self._written < self._told
        self.given_up &= behind
        self.given_up |= behind & (now - self._since > give_up)

    def holds_up(self, turn: int, patience: float) -> bool:
        """Return whether a front still writes a turn up to this one, the last but one at the least, and comes on.

        A front that has written nothing for `patience` seconds holds nobody up.
        """
        due = np.where(self._told <= turn, self._told, self._told_before)
        writing = (self._written < due) & ~self.given_up
        return bool((writing & (self._clock() - self._since <= patience)).any())

    def unwritten(self, given_up: bool = False) -> int:
        """Return the first turn that a front may still write, `NEVER` without one; those given up count if asked."""
        behind = self._written < self._told
        if not given_up:
            behind &= ~self.given_up
        return int(self._written[behind].min()) + 1 if behind.any() else NEVER


NEVER = 2**62
"""A turn that is later than all of them."""
