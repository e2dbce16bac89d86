"""A whole client worker on loopback, driven turn by turn; a test plays its server. No process of its own, no sleep."""

import os
import select
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.engine.readiness import Readiness
from floodtest.flyweight.engine.texts import Texts
from floodtest.flyweight.processes.channel import Channel
from floodtest.loadgen.client.accounts import (
    LEDGER,
    Accounts,
    End,
    State,
    create_columns,
    map_columns,
    named_failures,
)
from floodtest.loadgen.client.columns import Client
from floodtest.loadgen.client.orders import Go, Specification, ToWorker
from floodtest.loadgen.client.worker import Shared
from floodtest.loadgen.plan.pacer import Stage
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.users import Users
from floodtest.wire.grammar import OURS
from floodtest.wire.template import RequestTemplate
from tests.rigs.client import welcome
from tests.rigs.support import OUR_NETWORK, REQUEST, user_of

FILES = 4096
PATIENCE = 30.0
"""Seconds after which something that was to happen is taken not to."""


def can_be_read(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


class WorkerRig:
    """One worker that opens all of a plan, the connections of its users at the server, and its accounts.

    The source addresses begin at the second one of this test process, the target is the first one, the 101st and so on.
    """

    def __init__(
        self,
        folder: Path,
        users: int,
        each: int,
        first_port: int = 30_000,
        first_user: int = 1,
        in_flight: int = 1024,
        request: RequestTemplate = REQUEST,
        table: Users | None = None,
        addresses: int = 1,
    ) -> None:
        self.plan = Plan(-(-users // each), each, f"{OUR_NETWORK}.2", first_port, users, first_user)
        (self.share,) = self.plan.shares(1)
        create_columns(folder, users)
        self.states, self.ports = map_columns(folder, 1, users)
        self.ledger = Ledger(LEDGER, 1)
        self._held: list[socket.socket] = []
        self.listen(("0.0.0.0" if addresses > 1 else f"{OUR_NETWORK}.1", 0))
        port = self.listener.getsockname()[1]
        self._targets = [(f"{OUR_NETWORK}.{1 + 100 * number}", port) for number in range(addresses)]
        self.readiness = Readiness()
        self.ended: list[End] = []
        """Who has ended, as the worker hands them over."""
        self.servers: dict[int, socket.socket] = {}
        """The server's end of each user's latest connection."""
        accounts = Accounts(folder, first_user, users, self.ledger.row(0), self.share.before)
        _, theirs = self._channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel = Channel[ToWorker](theirs, ToWorker)
        texts = None if table is None else Texts(table.descriptor, table.shape)
        shared = Shared(self._specification(folder, request, table), channel, FILES, accounts, texts)
        self.client = Client(shared, self.readiness, self.ended.extend)
        self._in_flight = in_flight

    def _specification(self, folder: Path, request: RequestTemplate, table: Users | None) -> Specification:
        return Specification(
            worker=0,
            workers=1,
            share=self.share,
            folder=os.fsencode(folder),
            targets=self._targets,
            request=request,
            protocol="chunked",
            open_when="id",
            grammar=OURS,
            ports="explicit",
            reserved=[],
            stages=(Stage(None),),
            connect_timeout=PATIENCE,
            reset_at_end=True,
            columns=() if table is None else table.columns,
        )

    def listen(self, address: tuple[str, int]) -> None:
        """Be the server there."""
        self.listener = socket.create_server(address, backlog=1000)
        self._held.append(self.listener)

    def go(self, start: float | None = None) -> None:
        """Let the worker ramp, from now on if no time is given."""
        self.client.obey(Go(time.monotonic() if start is None else start, self._in_flight))

    def until(self, condition: Callable[[], bool]) -> None:
        """Take turns until something has happened."""
        end = time.monotonic() + PATIENCE
        while self.client.turn() or not condition():
            assert time.monotonic() < end

    def accept(self, count: int) -> list[int]:
        """Take turns until so many requests have come in; return their users in the order of their connections."""
        accepted: list[socket.socket] = []
        users: list[int] = []

        def take() -> bool:
            while len(accepted) < count and can_be_read(self.listener):
                accepted.append(self.listener.accept()[0])
            while len(users) < len(accepted) and can_be_read(accepted[len(users)]):
                users.append(int(user_of(accepted[len(users)].recv(1000))))
            return len(users) == count

        self.until(take)
        self._held += accepted
        self.servers.update(zip(users, accepted, strict=True))
        return users

    def open_again(self, users: Iterable[int]) -> list[int]:
        """Begin further connections of users and accept them; return the users in the order in which they came."""
        chosen = list(users)
        self.client.open_again(chosen)
        return self.accept(len(chosen))

    def welcome(self, users: Iterable[int]) -> None:
        """Open connections that were accepted."""
        chosen = list(users)
        for user in chosen:
            self.servers[user].sendall(welcome(user))
        self.until(lambda: all(self.state(user) == State.OPEN for user in chosen))

    def end(self, users: Iterable[int], data: bytes = b"") -> None:
        """Say something to users and close their connections; return when all of them have ended."""
        chosen = list(users)
        for user in chosen:
            self.servers[user].sendall(data)
            self.servers[user].close()
        self.until(lambda: all(self.state(user) in (State.CLOSED_EARLY, State.FAILED) for user in chosen))

    def take_ended(self) -> list[End]:
        """Return who was handed over since this was last asked."""
        taken = self.ended.copy()
        self.ended.clear()
        return taken

    def state(self, user: int) -> State:
        return State(self.states[user - self.plan.first_user])

    def pair(self, user: int) -> tuple[str, int]:
        """Return the source pair of a user's latest connection, as the server sees it."""
        address, port = self.servers[user].getpeername()
        assert port == self.ports[user - self.plan.first_user]
        return address, port

    def total(self, name: str) -> int:
        return int(self.ledger.total(name))

    @property
    def failures(self) -> int:
        return sum(named_failures(self.ledger.total("failures"))[0].values())

    @property
    def closed_early(self) -> int:
        return sum(named_failures(self.ledger.total("failures"))[1].values())

    def assert_balanced(self) -> None:
        """Hold the counters of the ledger against each other and against the column of states."""
        in_flight, open_now = (int(np.count_nonzero(self.states == state)) for state in (State.IN_FLIGHT, State.OPEN))
        assert in_flight == self.client.in_flight
        assert self.total("attempts") == self.total("opens") + self.failures + in_flight
        assert self.total("opens") == open_now + self.closed_early + self.total("closed")
        assert self.ledger.total("open_us").sum() == self.total("opens")
        assert self.ledger.total("life_ms").sum() == self.ledger.total("quiet_ms").sum() == self.closed_early

    def close(self) -> None:
        """Close everything."""
        while self.client.close_some():
            pass
        for sock in (*self._held, *self._channel):
            sock.close()
        os.close(self.ledger.descriptor)
        trio.run(self._close_readiness)

    async def _close_readiness(self) -> None:
        with self.readiness:
            pass
