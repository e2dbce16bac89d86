"""The client's streams on socket pairs: a test plays the server and reads the accounts. No network, no clock."""

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import trio

from floodtest.flyweight.engine.intake import READ_SIZE
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.engine.readiness import READ, WRITE, Readiness
from floodtest.loadgen.client.accounts import LEDGER, Accounts, State, create_columns, map_columns, named_failures
from floodtest.loadgen.client.poll_timing import Pollers
from floodtest.loadgen.client.securing import Securing
from floodtest.loadgen.client.streams import Streams
from floodtest.wire.grammar import OURS, Grammar
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.protocols import CHUNKED, Protocol
from floodtest.wire.template import Requests
from floodtest.wire.tls.settings import ClientTls
from tests.rigs.support import HEAD, chunk

USERS = 2000
ID = OpenWhen("id")
FILES = 4096
DEADLINE = 100.0


def welcome(user: int) -> bytes:
    """The answer that opens a user's connection."""
    return HEAD + chunk(b"Welcome, user %d\n" % user)


def message(number: int, text: bytes = b"hello") -> bytes:
    """The `number`th message of a connection, as it travels."""
    return chunk(b"Recvd msg #%d: %b\n" % (number, text))


def _requests(users: list[int]) -> list[bytes]:
    return [b"GET /%d" % user for user in users]


class AccountsReader:
    """The accounts of one worker for users from 1 on, and what a test reads in them."""

    def __init__(self, folder: Path, users: int) -> None:
        create_columns(folder, users)
        self.ledger = Ledger(LEDGER, 1)
        self.accounts = Accounts(folder, 1, users, self.ledger.row(0))
        self.states, _ = map_columns(folder, 1, users)

    def state(self, user: int) -> State:
        return State(self.states[user - 1])

    @property
    def failed(self) -> dict[str, int]:
        return named_failures(self.ledger.total("failures"))[0]

    @property
    def closed(self) -> dict[str, int]:
        return named_failures(self.ledger.total("failures"))[1]

    @property
    def settled(self) -> int:
        """Connections that opened or failed."""
        return int(self.ledger.total("opens")) + sum(self.failed.values())

    @property
    def received(self) -> tuple[int, int]:
        """Chunks and bytes."""
        return int(self.ledger.total("received")), int(self.ledger.total("bytes"))

    @property
    def out_of_sequence(self) -> tuple[int, int]:
        """Messages missing and repeated."""
        return int(self.ledger.total("missing")), int(self.ledger.total("repeated"))

    @property
    def jumps(self) -> int:
        """Messages whose number can't be right."""
        return int(self.ledger.total("jumps"))

    @property
    def ticks(self) -> dict[int, int]:
        """Deliveries of each tick."""
        return {number: count for number, (count, _, _) in self.ledger.ticks().items()}

    @property
    def stamped(self) -> int:
        """Messages whose latency was counted, those among them that took less than no time."""
        return int(self.ledger.total("latency").sum() + self.ledger.total("negative")[0])

    @property
    def sent(self) -> tuple[int, int, int, int]:
        """Messages that say when they were sent: with a latency, after the read, too long ago, and with no time."""
        ahead, old, unreadable = (int(self.ledger.total(f"sent_{name}")) for name in ("ahead", "old", "unreadable"))
        return self.stamped, ahead, old, unreadable

    def everything(self) -> dict[str, Any]:
        """All that is on the accounts and no time, for comparing two ways to the same end."""
        return {
            "states": self.states.tolist(),
            "received": self.received,
            "out_of_sequence": self.out_of_sequence,
            "jumps": self.jumps,
            "messages": int(self.ledger.total("messages")),
            "misdelivered": int(self.ledger.total("misdelivered")),
            "stamped": self.stamped,
            "ticks": self.ticks,
            "failed": self.failed,
            "closed": self.closed,
            "settled": self.settled,
            "sent": self.sent,
            "protocols": self.ledger.total("protocols").tolist(),
        }

    def end(self) -> None:
        """Close what the accounts are in."""
        os.close(self.ledger.descriptor)


class ClientRig(AccountsReader):
    """Streams of one worker, the servers they talk to, and their accounts."""

    def __init__(
        self,
        folder: Path,
        users: int = USERS,
        protocol: Protocol = CHUNKED,
        open_when: OpenWhen = ID,
        sends: Requests | None = None,
        pollers: Pollers | None = None,
        grammar: Grammar = OURS,
        watch_every: int = 0,
        tls: ClientTls | None = None,
    ) -> None:
        """`tls`: how connections speak TLS, whose requests are `GET /USER`."""
        super().__init__(folder, users)
        self.readiness = Readiness()
        self.securing = None if tls is None else Securing(tls, FILES, _requests, self.accounts)
        answers = protocol.answers(open_when, READ_SIZE, grammar=grammar)
        self.streams = Streams(
            self.accounts,
            self.readiness,
            FILES,
            protocol,
            answers,
            DEADLINE,
            grammar,
            sends=sends,
            pollers=pollers,
            watch_every=watch_every,
            securing=self.securing,
        )
        self.servers: dict[int, socket.socket] = {}
        self.descriptors: dict[int, int] = {}

    def connect(
        self, user: int, deadline: float = DEADLINE, request: bytes = b"", is_connecting: bool = False
    ) -> socket.socket:
        """Begin a user's connection, with a request if it is given; return the server's end of it."""
        ours, server = socket.socketpair()
        self.begin(user, ours, deadline, request, is_connecting)
        self.servers[user] = server
        return server

    def connect_by_tcp(self, user: int) -> socket.socket:
        """Open a user's connection over loopback, of which the kernel can say when messages arrive."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        self.begin(user, ours)
        self.servers[user] = server
        self.feed(user, welcome(user))
        return server

    def begin(
        self,
        user: int,
        ours: socket.socket,
        deadline: float = DEADLINE,
        request: bytes = b"",
        is_connecting: bool = False,
    ) -> None:
        """Begin a user's connection on a socket that is connected, or is being connected."""
        ours.setblocking(False)
        fd = self.descriptors[user] = ours.detach()
        self.accounts.started(np.array([user]))
        if self.securing is not None:
            (request,) = self.securing.layer.begin([fd])
        assert self.streams.outbox.write_sealed([fd], [request], are_registered=False) == {}
        self.readiness.register(fd, WRITE if fd in self.streams.outbox else READ)
        self.streams.add([fd], [user], deadline, connect_us=0, connecting=[fd] if is_connecting else [])

    def open(self, *users: int) -> list[socket.socket]:
        """Begin connections, welcome them, and forget what that added to the ledger."""
        servers = [self.connect(user) for user in users]
        for user, server in zip(users, servers, strict=True):
            server.sendall(welcome(user))
        self.settle()
        assert [self.state(user) for user in users] == [State.OPEN] * len(users)
        self.ledger.rows[0]["received"] = self.ledger.rows[0]["bytes"] = 0
        return servers

    def turn(self) -> bool:
        """Poll and handle once, as a worker does; return whether there was anything to do."""
        events = self.readiness.poll()
        if events or self.streams.has_unread:
            self.streams.handle(events)
        return bool(events) or self.streams.has_unread

    def settle(self) -> None:
        """Take turns until there is nothing left to read."""
        for _ in range(1000):
            if not self.turn():
                self.streams.digest()
                return
        raise AssertionError("it never comes to rest")

    def feed(self, user: int, *pieces: bytes) -> None:
        """Send pieces to a user, each read before the next is sent."""
        for piece in pieces:
            self.servers[user].sendall(piece)
            self.settle()

    def end(self) -> None:
        """Close everything."""
        self.streams.close(FILES, reset=False)
        for server in self.servers.values():
            server.close()
        super().end()
        if self.securing is not None:
            self.securing.layer.close()
        trio.run(self._close_readiness)

    async def _close_readiness(self) -> None:
        with self.readiness:
            pass
