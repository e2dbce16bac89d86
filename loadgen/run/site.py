"""A site: one machine's part of a run, as the conductor sees it; and all sites of a run, as if they were one.

`Site` is what a run needs of a machine, and nothing that only this machine could give: orders without an answer, and
one typed reading a second. `LocalSite` (`loadgen.run.local_site`) carries them out in processes of this machine; a site
elsewhere can do so by messages. The stages of a run are given `Sites`, which hands each order to all sites at once,
waits until each has carried it out, and adds up what they say (`reading.total`).
"""

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

import trio

from floodtest.loadgen.preflight.targets import Target
from floodtest.loadgen.run.reading import Reading, total


class Detail(enum.Enum):
    """How much a reading tells, and so what it costs."""

    ACCOUNTS = "accounts"
    """What became of connections and messages; no figures. No file is read: cheap enough for 20 times a second."""
    FIGURES = "figures"
    """And what processes and machine cost, within a budget of milliseconds: the rest is as it was last read."""
    EVERYTHING = "everything"
    """And each process's memory as it is now: about a millisecond a process."""


class Site(Protocol):
    """One machine's part of a run; the plan of what it opens, and how fast, is its own from the beginning.

    Orders come in this sequence: `open`, `ramp`, `halt`, `close`. Any of them may be cancelled, and `halt` and `close`
    may come at any time, even where `open` was never called. Only `open` fails (Refused, WorkerFault): what goes wrong
    later is in the reasons of a reading.
    """

    def attached(self) -> AbstractAsyncContextManager[None]:
        """Keep in touch with the site as long as the block lasts; with it end all processes that it has started."""

    async def open(self, target: Target, reset_at_end: bool) -> None:
        """Start the workers; no connection yet. `reset_at_end`: close by reset, which the server must know of."""

    async def ramp(self, start: float) -> None:
        """Open all connections, the first at `start` (time.monotonic); return when each is open or has failed.

        Memory that runs out ends it sooner, and so does a server that none of them reaches; each is a reason. After a
        cancellation connections go on to be opened until the site is halted.
        """

    async def wait_until_empty(self) -> None:
        """Return when no connection is open any more."""

    async def wait_until_short(self) -> None:
        """Return when so little memory is left here that the run has to end, which is a reason by then."""

    async def halt(self) -> None:
        """Begin no more connections; return when those that were about to end by themselves have done so."""

    async def close(self) -> None:
        """Close all connections. From here on none is lost: each that is open was held to the end."""

    async def read(self, detail: Detail) -> Reading:
        """Return what there is to say now. A site that can't be asked any more says what it said last, and a reason."""


class Sites:
    """All sites of a run."""

    def __init__(self, sites: Sequence[Site], lead: float = 0.0) -> None:
        self._sites = sites
        self.lead = lead
        """Seconds that an order to ramp may take to reach all of them."""

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for site in self._sites:
                await stack.enter_async_context(site.attached())
            yield

    async def open(self, target: Target, reset_at_end: bool) -> None:
        await self._tell(lambda site: site.open(target, reset_at_end))

    async def ramp(self, start: float) -> None:
        await self._tell(lambda site: site.ramp(start))

    async def wait_until_empty(self) -> None:
        await self._tell(lambda site: site.wait_until_empty())

    async def wait_until_short(self) -> None:
        """Return when one of them is short of memory."""
        async with trio.open_nursery() as tasks:

            async def watch(site: Site) -> None:
                await site.wait_until_short()
                tasks.cancel_scope.cancel()

            for site in self._sites:
                tasks.start_soon(watch, site)

    async def halt(self) -> None:
        await self._tell(lambda site: site.halt())

    async def close(self) -> None:
        await self._tell(lambda site: site.close())

    async def _tell(self, order: Callable[[Site], Awaitable[None]]) -> None:
        async with trio.open_nursery() as tasks:
            for site in self._sites:
                tasks.start_soon(order, site)

    async def read(self, detail: Detail) -> Reading:
        """Return what all of them say together; a single site is asked without a checkpoint of ours in between."""
        if len(self._sites) == 1:
            return await self._sites[0].read(detail)
        readings: dict[int, Reading] = {}

        async def ask(number: int, site: Site) -> None:
            readings[number] = await site.read(detail)

        async with trio.open_nursery() as tasks:
            for number, site in enumerate(self._sites):
                tasks.start_soon(ask, number, site)
        return total([readings[number] for number in sorted(readings)])
