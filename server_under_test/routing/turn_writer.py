"""Turns as they are written on a bus: when there may be another one, who is told of it, and what is given up for it.

In: rows by the column, those of a front together, and their texts. Out: a turn on the bus, of which each front that has
rows in it is told. A turn waits until the fronts have written the last turn but one, as long as they come on and for a
second at the most (see `server_under_test.routing.progress`). What a front that is slower has to write waits for it on
the bus, and a turn waits again only when there is no room there any more; what is there for a front that was given up
stays as long as nobody else needs its memory. A router writes turns so, and so does what hands on the rows of a router
on another machine. Fails: nothing; a front that is gone is told nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import trio

from floodtest.server_under_test.routing.bus import UNNUMBERED, Deliver, RouterBus
from floodtest.server_under_test.routing.progress import Progress

UNDER_WAY = 2
"""Turns that the fronts may have to write, as long as those behind are waited for."""

REST = 0.0004
"""Seconds of rest after a turn, for each front it had to tell."""

REST_MAX = 0.025

POLL, POLL_MAX = 0.002, 0.025
"""Seconds between two looks at how far the fronts have come: an eighth of the time waited, within these bounds."""

Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Located:
    """Deliveries by the column: the connection, by its front and that front's number for it, and whose it is."""

    front: Ints
    fd: Ints
    user: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.front)

    def at(self, rows: slice | Ints | npt.NDArray[np.bool_]) -> "Located":
        """Return some of the rows."""
        return Located(self.front[rows], self.fd[rows], self.user[rows])

    def order(self, which: Ints) -> Ints:
        """Return the order in which a bus takes rows: those of a front together, of a connection by their texts."""
        return np.argsort((self.front << 48) + (self.fd << 24) + which)  # fewer of each than 2^15, 2^24 and 2^24


class TurnWriter:
    """Writes turns on a bus; `tell` sends a front, by its number, what to deliver, and never waits."""

    def __init__(self, bus: RouterBus, tell: Callable[[int, Deliver], object], progress: Progress) -> None:
        self.bus = bus
        self._tell = tell
        self._progress = progress

    @property
    def fronts_given_up(self) -> int:
        """How often a front was given up: it had turns to write, and did not come on."""
        return self._progress.times_given_up

    async def wait_for_fronts(self) -> None:
        """Wait until the fronts that are waited for have written the last turn but one."""
        await self._wait_for(lambda: not self._progress.holds_up(self.bus.last + 1 - UNDER_WAY))

    async def write(self, rows: Located, which: Ints, texts: list[bytes], first: int = UNNUMBERED) -> int:
        """Write rows on the bus, which are in the order of `Located.order`; return how many fronts there were to tell.

        `which` are indexes of `texts`, whose numbers begin with `first`.
        """
        if not len(rows):
            await trio.lowlevel.checkpoint()
            return 0
        cuts = np.searchsorted(rows.front, np.arange(self.bus.fronts + 1))
        size = sum(map(len, texts))
        await self._wait_for(lambda: self._has_room(len(rows), len(texts), size))
        fds = rows.fd.astype(np.uint32)
        number = self.bus.write(fds, rows.user, which.astype(np.uint32), texts, cuts, first)
        fronts = np.flatnonzero(np.diff(cuts)).tolist()
        self._progress.tell(fronts, number)
        for front in fronts:
            self._tell(front, Deliver(number))
        await trio.lowlevel.checkpoint()
        return len(fronts)

    async def rest(self, told: int) -> None:
        """Rest after a turn of which so many fronts were told, so that under load each is worth its price."""
        await trio.sleep(min(REST_MAX, told * REST))

    def _has_room(self, rows: int, messages: int, size: int) -> bool:
        """Return whether the bus has room; what only fronts that are given up still have to write makes room."""
        self.bus.forget(self._progress.unwritten(given_up=True))
        keep = self._progress.unwritten()
        while not (has_room := self.bus.has_room(rows, messages, size)) and self.bus.oldest < keep:
            self.bus.forget(self.bus.oldest + 1)
        return has_room

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, which what the fronts write, or do not write, brings about."""
        began = trio.current_time()
        while True:
            self._progress.look()
            if condition():
                return
            await trio.sleep(min(POLL_MAX, max(POLL, (trio.current_time() - began) / 8)))
