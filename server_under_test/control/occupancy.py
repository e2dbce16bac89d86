"""Who occupies the control API: how many connections there are, what they keep in memory, and who waits for whom.

At most `connections` are served at a time, and at most `size` bytes are kept of bodies that are not answered yet and of
answers that are not taken yet. Where that does not suffice for somebody else, the connection is given up that has kept
the server waiting for longest: for a request, for more of a body, or to take its answer. All waits for one request
count together, so that a body that comes byte by byte is as slow as one that does not come. So those who stall give way
to those who do not, however many stall. Neither a connection that the server is at work for is given up nor one that
has just begun to wait, whose bytes may be there already; where there are only such, the newcomer waits.

Cost: a turn in a dict for each wait, and a look at all that wait where somebody has to make room. No I/O; the clock is
trio's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from floodtest.server_under_test.limits import API_BYTES, API_CONNECTIONS

STALL_SECONDS = 0.1
"""A connection that has kept the server waiting for less with its request is not given up: it may be about to go on."""


class Occupant(Protocol):
    """A connection, as far as it takes room."""

    held: int
    """Bytes that are kept for it; only `Occupancy` changes it."""
    waited: float
    """Seconds that the server has waited for it with the request under way, but for the wait that goes on now. It sets
    that to 0 where a request begins; all else is for `Occupancy` to change."""
    gone: trio.Event
    """Set once it has left."""

    def give_up(self) -> None:
        """End it soon, whatever it waits for."""


class Occupancy:
    """The bounds of the control API, and those within them."""

    def __init__(self, connections: int = API_CONNECTIONS, size: int = API_BYTES) -> None:
        self._connections = connections
        self._size = size
        self._present: set[Occupant] = set()
        self._waiting: dict[Occupant, float] = {}  # since when, had there been but one wait for this request
        self._change = trio.lowlevel.ParkingLot()
        self.held = 0
        """Bytes that are kept for all of them."""
        self.given_up = 0
        """Connections that had to make room."""

    def __len__(self) -> int:
        return len(self._present)

    async def enter(self, newcomer: Occupant) -> None:
        """Wait until there is room for one more connection, which is soon if somebody keeps the server waiting."""
        while len(self._present) >= self._connections:
            await self._make_room(self._longest())
        self._present.add(newcomer)

    def leave(self, occupant: Occupant) -> None:
        """Let go of a connection, and of what is kept for it."""
        self.release(occupant)
        self._present.discard(occupant)
        occupant.gone.set()
        self._change.unpark_all()

    @contextmanager
    def waiting(self, occupant: Occupant) -> Iterator[None]:
        """While the block lasts, the server waits for this connection, which may be given up meanwhile."""
        self._waiting[occupant] = trio.current_time() - occupant.waited
        self._change.unpark_all()
        try:
            yield
        finally:
            since = self._waiting.pop(occupant, None)
            if since is not None:
                occupant.waited = trio.current_time() - since

    async def hold(self, occupant: Occupant, size: int) -> None:
        """Account for bytes that have come for a connection, once there is room for them.

        Who waits for room here may itself be given up meanwhile. One connection alone always gets what it needs.
        """
        if self._is_short(occupant, size):
            waited = occupant.waited
            with self.waiting(occupant):
                while self._is_short(occupant, size):
                    await self._make_room(self._longest_that_holds(occupant))
            occupant.waited = waited  # for others it waits, and not the server for it
        self._account(occupant, size)

    async def hold_anyway(self, occupant: Occupant, size: int) -> None:
        """Account for bytes that exist already; those who stall give way, and if there are none it is too much."""
        while self._is_short(occupant, size) and self._stalls(longest := self._longest_that_holds(occupant)):
            await self._make_room(longest)
        self._account(occupant, size)

    def release(self, occupant: Occupant) -> None:
        """Account for it that nothing is kept for a connection any more."""
        self.held -= occupant.held
        occupant.held = 0
        self._change.unpark_all()

    async def give_up_one(self) -> None:
        """Give up whoever has kept the server waiting for longest, if anybody stalls."""
        if self._stalls(longest := self._longest()):
            await self._make_room(longest)

    def _is_short(self, occupant: Occupant, more: int) -> bool:
        return self.held > occupant.held and self.held + more > self._size

    def _account(self, occupant: Occupant, size: int) -> None:
        occupant.held += size
        self.held += size

    def _longest(self) -> Occupant | None:
        """Return the one that the server has waited for longest."""
        return min(self._waiting, key=self._waiting.__getitem__, default=None)

    def _longest_that_holds(self, newcomer: Occupant) -> Occupant | None:
        """Return the one that it has waited for longest of those whose end would free memory, but for this one."""
        holding = (one for one in self._waiting if one.held and one is not newcomer)
        return min(holding, key=self._waiting.__getitem__, default=None)

    def _due(self, occupant: Occupant | None) -> float:
        """Return when a connection that the server waits for stalls."""
        return float("inf") if occupant is None else self._waiting[occupant] + STALL_SECONDS

    def _stalls(self, occupant: Occupant | None) -> bool:
        return self._due(occupant) <= trio.current_time()

    async def _make_room(self, longest: Occupant | None) -> None:
        """Give up a connection that stalls, and see it go; wait for a change, if it does not stall yet or is none."""
        if longest is None or not self._stalls(longest):
            with trio.move_on_at(self._due(longest)):
                await self._change.park()
            return
        del self._waiting[longest]  # so that nobody else waits for its end as well
        self.given_up += 1
        longest.give_up()
        await longest.gone.wait()
