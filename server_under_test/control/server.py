"""The server of the control API: accepts connections within its bounds and serves each in a task of its own.

In: a listening socket and an ASGI application. Ends when it is cancelled, at once: no client can hold that up.
"""

from collections import Counter

import trio
from starlette.types import ASGIApp

from floodtest.server_under_test.control.connection import ApiConnection
from floodtest.server_under_test.control.occupancy import Occupancy
from floodtest.server_under_test.limits import OUT_OF_DESCRIPTORS, PAUSE
from floodtest.wire.control import ApiFigures


class ApiServer:
    """Serves one application; knows what came of it."""

    def __init__(self, occupancy: Occupancy | None = None) -> None:
        self._occupancy = Occupancy() if occupancy is None else occupancy
        self._rejected: Counter[int] = Counter()

    def figures(self) -> ApiFigures:
        """Return what GET /stats says of the control API."""
        return ApiFigures(
            connections=len(self._occupancy),
            bytes=self._occupancy.held,
            given_up=self._occupancy.given_up,
            rejected=dict(sorted(self._rejected.items())),
        )

    async def serve(self, application: ASGIApp, listener: trio.abc.Listener[trio.SocketStream]) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as tasks:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in OUT_OF_DESCRIPTORS:
                        raise
                    await self._occupancy.give_up_one()
                    await trio.sleep(PAUSE)
                    continue
                # Nobody else is accepted before this one has its place: others wait in the kernel's queue.
                await tasks.start(ApiConnection(application, self._occupancy, self._rejected, stream).serve)
