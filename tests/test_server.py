"""server_under_test.server: what the parent knows of its fronts, with the fronts played by a test."""

import os
import socket
from typing import Any, cast

import pytest
import trio

from flyweight.channel import Channel
from flyweight.errors import WorkerFault
from flyweight.ledger import Ledger
from flyweight.workers import Worker, Workers
from server_under_test.accounts import FRONT_LEDGER
from server_under_test.bus import Bus
from server_under_test.orders import FromFront
from server_under_test.server import Options, Server
from server_under_test.whereabouts import Whereabouts


class Process:
    """A process of fronts, as the parent sees it."""

    def __init__(self, exit_status: int | None) -> None:
        self.pid = 0
        self.exit_status = exit_status


class Fronts:
    """The workers of a server."""

    def __init__(self, *exit_statuses: int | None) -> None:
        self.all: list[Worker] = []
        self.theirs: list[socket.socket] = []
        for number, status in enumerate(exit_statuses):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.all.append(Worker(number, Channel(ours, FromFront), cast(Any, Process(status))))
            self.theirs.append(theirs)


def with_fronts(*exit_statuses: int | None) -> list[int | None]:
    """Let the first front's channel end, and return what the server then says of all fronts."""

    async def main() -> list[int | None]:
        fronts = Fronts(*exit_statuses)
        ledger = Ledger(FRONT_LEDGER, len(exit_statuses))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            whereabouts = Whereabouts(10, len(exit_statuses), 100)
            server = Server(
                Options(), listener, cast(Workers, fronts), ledger, whereabouts, Bus(len(exit_statuses)), None
            )
            assert server.front_statuses == list(exit_statuses)
            fronts.theirs[0].close()
            try:
                await server._listen_to(fronts.all[0])
            finally:
                for ours, theirs in zip(fronts.all, fronts.theirs, strict=True):
                    ours.channel.close()
                    theirs.close()
                os.close(ledger.descriptor)
        return server.front_statuses

    return trio.run(main)


def test_a_front_whose_process_ended_has_its_status() -> None:
    assert with_fronts(-9, None) == [-9, None]


def test_a_front_that_ended_in_a_process_that_goes_on_has_failed() -> None:
    assert with_fronts(None, None) == [1, None]


def test_the_last_front_to_end_ends_the_server() -> None:
    with pytest.raises(WorkerFault, match="All fronts"):
        with_fronts(None)
