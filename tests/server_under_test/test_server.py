"""server_under_test.fronts.director: what the parent knows of its fronts, with the fronts played by a test."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing

from floodtest.flyweight.engine.ledger import Ledger, TickTable
from floodtest.flyweight.errors import ExitCode, FloodtestError, WorkerFault
from floodtest.flyweight.processes.channel import Channel
from floodtest.flyweight.processes.workers import Worker, Workers
from floodtest.server_under_test.control.api import _ticks
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.fronts.orders import FromWorker, Stop, ToWorker
from floodtest.server_under_test.options import Options
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.serve import serve
from floodtest.wire.control import SentTick


class Process:
    """A process of fronts, as the parent sees it."""

    def __init__(self, exit_status: int | None) -> None:
        self.pid = 0
        self.exit_status = exit_status
        self.ended = trio.Event()


class Fronts:
    """The workers of a server."""

    def __init__(self, *exit_statuses: int | None) -> None:
        self.all: list[Worker] = []
        self.theirs: list[socket.socket] = []
        for number, status in enumerate(exit_statuses):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.all.append(Worker(number, Channel(ours, FromWorker), cast(Any, Process(status))))
            self.theirs.append(theirs)


@contextmanager
def serving(*exit_statuses: int | None) -> Iterator[tuple[Server, Fronts]]:
    """A server of fronts that are played."""
    fronts = Fronts(*exit_statuses)
    ledger = Ledger(FRONT_LEDGER, len(exit_statuses))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        whereabouts = SharedWhereabouts(10, len(exit_statuses), 100)
        bus = SharedBus(len(exit_statuses))
        try:
            yield Server(Options(), listener, cast(Workers, fronts), ledger, whereabouts, bus, None), fronts
        finally:
            for ours, theirs in zip(fronts.all, fronts.theirs, strict=True):
                ours.channel.close()
                theirs.close()
            os.close(ledger.descriptor)


def with_fronts(*exit_statuses: int | None) -> list[int | None]:
    """Let the first front's channel end, and return what the server then says of all fronts."""

    async def main() -> list[int | None]:
        with serving(*exit_statuses) as (server, fronts):
            assert server.front_statuses == list(exit_statuses)
            fronts.theirs[0].close()
            await server._listen_to(fronts.all[0])
            return server.front_statuses

    return trio.run(main)


def test_a_front_whose_process_ended_has_its_status() -> None:
    assert with_fronts(-9, None) == [-9, None]


def test_a_front_that_ended_in_a_process_that_goes_on_has_failed() -> None:
    assert with_fronts(None, None) == [1, None]


def test_the_last_front_to_end_ends_the_server() -> None:
    with pytest.raises(WorkerFault, match="All fronts"):
        with_fronts(None)


def test_a_front_that_takes_no_orders_keeps_none_of_the_others_from_stopping() -> None:
    async def main() -> None:
        with serving(None, None) as (server, fronts):
            while fronts.all[0].channel.send_nowait(Stop()):
                pass
            with trio.fail_after(30):
                await server.stop()
            assert Channel[ToWorker](fronts.theirs[1], ToWorker).receive_waiting(2) == [Stop()]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_tick_that_no_front_has_written_was_sent_to_nobody() -> None:
    async def main() -> None:
        with serving(None, None) as (server, _):
            server.ticker.planned = {3: 30.0, 4: 40.0}
            TickTable(server.ledger.row(0)).count(3, 5, 31 * 10**9, 32 * 10**9)
            assert _ticks(server) == [
                SentTick(3, 30.0, 5, 31.0, 32.0),
                SentTick(4, 40.0, 0, None, None),
            ]

    trio.run(main)


def test_memory_that_cannot_be_had_while_it_serves_is_a_fault() -> None:
    def announce(server: Server, control: int) -> None:
        raise MemoryError

    with pytest.raises(FloodtestError, match=r"Out of memory.* The server was serving") as caught:
        trio.run(serve, Options(port=0, control_port=0, max_users=10), None, announce)
    assert caught.value.exit_code == ExitCode.FAULT
