"""The guard of a site: before memory runs out it ends the ramp, and in any stage the run.

At the reserve no more connections are begun, and those that are open are held as planned. Memory may go on falling
behind that: messages wait in the queues of sockets, and other processes take some. At half of the reserve the run has
to end in order, which takes little memory and gives it all back. In: what reads how much memory can be had, and who is
told of reasons. Out: two waits, one until the ramp has to end and one until the run has. Fails: nothing; where a file
of /proc can't be opened for a moment, that is a reason, and the guard looks again. Cost: some 100 µs at each look, four
times a second for each wait; in that time a ramp of 28,000 connections a second takes 60 MB.
"""

from collections.abc import Callable

import trio

from floodtest.flyweight.machine.headroom import MemoryGauge, Room

LOOK_SECONDS = 0.25
"""Between two looks at how much memory is left: no event tells of it."""

LAST_PART = 2
"""The run ends when this part of the reserve, one half, is all that is left."""


class Guard:
    """Looks at the memory of a site."""

    def __init__(self, gauge: MemoryGauge, complain: Callable[[str], None]) -> None:
        self._gauge = gauge
        self._complain = complain
        self._is_blind = False

    async def wait_until_ramp_must_end(self) -> None:
        """Return when no more than the reserve is left, and the reason has been told."""
        room = await self._wait_until_left(1)
        self._complain(f"memory: the ramp was ended with {_left(room)}, to leave {room.reserve >> 20:,} MiB free")

    async def wait_until_run_must_end(self) -> None:
        """Return when no more than half of the reserve is left, and the reason has been told."""
        room = await self._wait_until_left(LAST_PART)
        self._complain(
            f"memory: the run was ended early with {_left(room)}, which is no more than half of the "
            f"{room.reserve >> 20:,} MiB to leave free"
        )

    async def _wait_until_left(self, part: int) -> Room:
        while True:
            for room in self._rooms():
                if room.available <= room.reserve // part:
                    return room
            await trio.sleep(LOOK_SECONDS)

    def _rooms(self) -> list[Room]:
        """Return how much memory there is; nothing where a file of /proc can't be opened, as it soon can be again."""
        try:
            return self._gauge.rooms()
        except OSError as error:
            if not self._is_blind:
                self._complain(f"memory: it was not watched for a time, since {error.filename}: {error.strerror}")
            self._is_blind = True
            return []


def _left(room: Room) -> str:
    return f"{room.available >> 20:,} MiB of {room.source} available"
