"""The ticker: says when a message to every connection is due, and has it sent.

In: how often, which may change at any time, and `send`, which sends a tick and returns when all of it is written. Out:
ticks by the clock, numbered from 1 on. One that falls due while the one before is still being written is skipped, and
counted. Fails: as `send` does.
"""

import time
from collections.abc import Awaitable, Callable

import trio

from floodtest.flyweight.engine.ledger import TICKS


class Ticker:
    """Sends ticks every `seconds`, which is None for never."""

    def __init__(self, seconds: float | None, send: Callable[[int], Awaitable[None]]) -> None:
        self.seconds = seconds
        self.planned: dict[int, float] = {}
        """When each of the last `TICKS` ticks was due, in seconds of CLOCK_MONOTONIC."""
        self.skipped = 0
        self._send = send
        self._last = 0
        self._changed = trio.Event()
        self._done = trio.Event()
        self._done.set()

    @property
    def ticking(self) -> bool:
        """Whether a tick is being written."""
        return not self._done.is_set()

    def set(self, seconds: float | None) -> None:
        """Send a message to every connection each `seconds` from now on; None: no longer."""
        self.seconds = seconds
        self._changed.set()

    def number_behind(self, number: int) -> None:
        """Give numbers behind this one from now on, which an earlier ticker of these connections has given."""
        self._last = max(self._last, number)

    async def run(self) -> None:
        """Send ticks by the clock, until cancelled."""
        async with trio.open_nursery() as tasks:
            while True:
                self._changed = trio.Event()
                await self._done.wait()
                due, seconds = time.monotonic(), self.seconds
                while seconds is not None and not self._changed.is_set():
                    with trio.move_on_after(max(0.0, due - time.monotonic())):
                        await self._changed.wait()
                    if self._changed.is_set():
                        break  # even if that was in the moment in which the tick was due
                    if self.ticking:
                        self.skipped += 1
                    else:
                        self._done = trio.Event()
                        self._last += 1
                        tasks.start_soon(self._tick, self._last, due)
                    due += seconds
                await self._changed.wait()

    async def _tick(self, number: int, due: float) -> None:
        self.planned[number] = due
        self.planned.pop(number - TICKS, None)
        await self._send(number)
        self._done.set()
