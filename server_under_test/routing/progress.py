"""Progress: which fronts have turns of the router's to write, and whom the others wait for. No I/O.

In: columns of the fronts' ledger, and which turn each front was told of. The others wait for a front that is two turns
behind, which keeps what is under way small, but not for long: for `PATIENCE` if it writes nothing (it was stopped, or
has no processor), and for `HOLD_UP` before each of the router's turns if it comes on; a front for which that was not
enough is left behind, and nobody waits for it again before it has caught up. What it has to write stays for it all the
same. It is given up, and may find turns gone, when it has written nothing for `GIVE_UP`, or has been at one turn for
`GIVE_UP_ON_TURN`, until it has written all that it was told.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import trio

Turns = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PATIENCE = 0.25
"""Seconds that the others wait for a front that writes nothing: more than it takes the threads of a process in turn."""

HOLD_UP = 1.0
"""Seconds that the others wait before one turn for fronts that come on, however slowly."""

GIVE_UP = 2.0
"""Seconds after which a front that writes nothing is given up."""

GIVE_UP_ON_TURN = 30.0
"""Seconds after which a front is given up that has not come to the end of a turn, which others write in one."""

NEVER = 2**62
"""A turn that is later than all of them."""


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
        self._seen_written = written.copy()
        self._since = np.zeros(len(written))
        self._turn_since = np.zeros(len(written))
        self._asked_for, self._asked_since = 0, 0.0
        self._left_behind: Flags = np.zeros(len(written), bool)
        self.given_up: Flags = np.zeros(len(written), bool)
        self.times_given_up = 0
        """How often a front was given up."""

    def tell(self, fronts: Iterable[int], turn: int) -> None:
        """Note that fronts were told of a turn."""
        now = self._clock()
        for front in fronts:
            if self._written[front] >= self._told[front]:
                self._since[front] = self._turn_since[front] = now
            self._told_before[front], self._told[front] = self._told[front], turn

    def look(self) -> None:
        """See who has come on; give up those who have not for too long, until they have caught up."""
        now, rows, written = self._clock(), self._rows(), self._written.copy()
        has_ended_turn = written != self._seen_written
        self._since[(rows != self._seen) | has_ended_turn] = now
        self._turn_since[has_ended_turn] = now
        self._seen, self._seen_written = rows, written
        behind = written < self._told
        self.given_up &= behind
        lost = behind & ((now - self._since > GIVE_UP) | (now - self._turn_since > GIVE_UP_ON_TURN))
        self.times_given_up += int(np.count_nonzero(lost & ~self.given_up))
        self.given_up |= lost

    def holds_up(self, turn: int) -> bool:
        """Return whether the others are to wait for a front that still writes a turn up to this one.

        For a front whose last turn is a later one, its last but one counts.
        """
        now = self._clock()
        if turn != self._asked_for:
            self._asked_for, self._asked_since = turn, now
        due = np.where(self._told <= turn, self._told, self._told_before)
        behind = self._written < due
        self._left_behind &= behind
        holding = behind & ~self.given_up & ~self._left_behind & (now - self._since <= PATIENCE)
        if now - self._asked_since > HOLD_UP:
            self._left_behind |= holding
            return False
        return bool(holding.any())

    def unwritten(self, given_up: bool = False) -> int:
        """Return the first turn that a front may still write, `NEVER` without one; those given up count if asked."""
        behind = self._written < self._told
        if not given_up:
            behind &= ~self.given_up
        return int(self._written[behind].min()) + 1 if behind.any() else NEVER
