"""A `comet serve` that somebody else has started, as a run sees it: at the target, and spoken to over its control API.

In: the URL of that API, and its token. Out: what `server_side` needs of a server of ours. It counts since it was
started, and a run is about what it did since the run began: `stats` tells the difference. Fails: Refused where it does
not answer at the beginning; later it is silent, as the bundled server may be.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from floodtest.wire.control import MachineFigures, Stats
from floodtest.wire.control_client import ControlClient, ControlError

ANSWER_SECONDS = 10.0
"""The longest wait for an answer: there is a network between."""

SINCE_ITS_START = ("logins", "slow", "undeliverable", "messages", "routed", "fronts_given_up", "fronts_left_out")
"""What counts from the start of the server, and is of use to a run."""


class ControlledServer:
    """A running `comet serve` elsewhere."""

    has_ended = False
    """Nobody here knows: it is silent then."""

    def __init__(self, control: ControlClient, token: str | None, before: Stats) -> None:
        self.control_url = control.url
        self.token = token
        self.before = before
        """What it said when the run began."""
        self._control = control

    async def stats(self) -> Stats | None:
        """Return its figures as they are now, counted from the beginning of the run; None when it does not answer."""
        try:
            return since(self.before, await self._control.stats())
        except ControlError:
            return None

    async def set_tick(self, seconds: float | None) -> bool:
        """Send a message to every connection each `seconds`, or no longer; False when the server does not answer."""
        try:
            await self._control.set_tick(seconds)
        except ControlError:
            return False
        return True


OF_MACHINES_SINCE_THEIR_START = ("times_lost", "connections_lost", "frames", "gaps", "malformed", "rows_lost")
"""What counts from the start of the router, of each of its front machines."""


def since(before: Stats, now: Stats) -> Stats:
    """Return figures without what was counted before; fronts are judged by what became of them since."""
    last = max((tick.number for tick in before.ticks), default=0)
    counted = {name: getattr(now, name) - getattr(before, name) for name in SINCE_ITS_START}
    return msgspec.structs.replace(
        now,
        **counted,
        machines=_machines_since(before.machines, now.machines),
        rejected={status: count - before.rejected.get(status, 0) for status, count in now.rejected.items()},
        # Its CLOCK_MONOTONIC need not be this machine's: by that of the clients a tick lasts from their first read on.
        ticks=[
            msgspec.structs.replace(tick, planned=None, first=None, last=None)
            for tick in now.ticks
            if tick.number > last
        ],
    )


def _machines_since(
    before: list[MachineFigures] | None, now: list[MachineFigures] | None
) -> list[MachineFigures] | None:
    """Return figures of front machines without what was counted before; a machine may be there since."""
    if now is None:
        return None
    earlier = {one.name: one for one in before or ()}
    found = []
    for one in now:
        if (then := earlier.get(one.name)) is not None:
            counts = {name: getattr(one, name) - getattr(then, name) for name in OF_MACHINES_SINCE_THEIR_START}
            one = msgspec.structs.replace(one, **counts)
        found.append(one)
    return found


@asynccontextmanager
async def controlled_server(url: str, token: str | None) -> AsyncIterator[ControlledServer]:
    """The server with its control API at a URL; Refused where that does not answer."""
    async with ControlClient(url, token, ANSWER_SECONDS) as control:
        yield ControlledServer(control, token, await control.stats())
