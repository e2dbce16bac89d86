"""The ticker of a server without fronts: orders that come while a tick is due, or close behind one another."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.options import Options
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts

NO_WORKERS: Any = SimpleNamespace(all=[])


@pytest.fixture
def server() -> Iterator[Server]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        ledger, whereabouts, bus = Ledger(FRONT_LEDGER, 1), SharedWhereabouts(10, 1, 10), SharedBus(1)
        yield Server(Options(), listener, NO_WORKERS, ledger, whereabouts, bus, None)


@pytest.mark.parametrize("turns", range(12))
def test_ticks_may_be_ended_at_any_moment(turns: int, server: Server) -> None:
    """The first tick is due at once: in one of the turns it is due and its order is taken back."""

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(server.ticker.run)
            for _ in range(3):
                server.ticker.set(3600)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                server.ticker.set(None)
                for _ in range(20):
                    await trio.lowlevel.checkpoint()
                assert (server.ticker.seconds, server.ticker.ticking) == (None, False)
            sent = len(server.ticker.planned)
            server.ticker.set(3600)
            while len(server.ticker.planned) == sent:
                await trio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    async def bounded() -> None:
        with trio.fail_after(30):
            await main()

    trio.run(bounded)
