"""The server's streams on socket pairs: a test plays the clients and reads the ledger. No network, no clock."""

import os
import socket

import trio

from floodtest.flyweight.engine.intake import Intake
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.engine.outbox import Outbox
from floodtest.flyweight.engine.readiness import PLAIN, READ, WRITE, Readiness
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.partings import Partings
from floodtest.server_under_test.fronts.resuming import Resuming
from floodtest.server_under_test.fronts.senders import MessageSender, TickSender
from floodtest.server_under_test.fronts.streams import Streams
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.wire.protocols import CHUNKED, UNTIL_CLOSE, WEBSOCKET, Served
from tests.rigs.websocket import KEY

FILES = 4096
MAX_USERS = 1_000_000
PENDING = 10_000
EXCESS = 1000
SMALL = 2048
"""A send buffer asked for, so that a client that does not read is behind after a few messages."""


class Clients:
    """The clients' end of a front's connections, by user."""

    def __init__(self) -> None:
        self.clients: dict[int, socket.socket] = {}

    def turn(self) -> None:
        """Let the front do what is to be done."""
        raise NotImplementedError

    def read(self, user: int) -> bytes | None:
        """Return all that has arrived for a user; None when that is nothing, but the end."""
        data = b""
        while True:
            try:
                piece = self.clients[user].recv(1 << 16)
            except BlockingIOError:
                return data
            except ConnectionResetError:
                return data or None
            if not piece:
                return data or None
            data += piece

    def read_to_the_end(self, user: int) -> bytes:
        """Return all that a user gets, which makes room for more, until nothing comes any more."""
        data = b""
        for _ in range(1000):
            piece = self.read(user)
            if not piece:
                return data
            data += piece
            self.turn()
        raise AssertionError("it never ends")


class ServerRig(Clients):
    """Streams of one front and their clients, by user."""

    in_hand = 0
    """Bytes that the bound on what is kept leaves out."""

    def __init__(self, life: str = "", retry: float | None = None) -> None:
        super().__init__()
        self.bus = SharedBus(1)
        self.readiness = Readiness()
        self._behind: set[int] = set()
        self.intake = Intake()
        self.outbox = Outbox(PENDING, self._modify)
        self.ledger = Ledger(FRONT_LEDGER, 1)
        self.whereabouts = SharedWhereabouts(MAX_USERS, 1, FILES)
        places = self.whereabouts.of_front(0)
        self.partings = Partings(self.intake, self.outbox, EXCESS)
        row = self.ledger.row(0)
        self.resuming = Resuming(self.bus, life, retry)
        self.streams = Streams(self.intake, self.outbox, row, FILES, EXCESS, places, self.partings, self.resuming)
        self.ticks = TickSender(self.streams, self.ledger.row(0))
        self.messages = MessageSender(self.streams, self.bus, 0, row)
        self.descriptors: dict[int, int] = {}
        self.welcomed = b""
        """The beginning of the last stream that was read."""

    def _modify(self, fd: int, events: int) -> None:
        (self._behind.add if events == WRITE else self._behind.discard)(fd)
        self.readiness.modify(fd, events)

    def accept(self, user: int, buffer: int | None = None) -> int:
        """Make a connection that is not logged in yet."""
        server, client = socket.socketpair()
        server.setblocking(False)
        client.setblocking(False)
        if buffer is not None:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.clients[user], self.descriptors[user] = client, server.detach()
        self.readiness.register(self.descriptors[user], READ)
        return self.descriptors[user]

    def login(self, user: int, buffer: int | None = None, protocol: Served = CHUNKED) -> socket.socket:
        """Log a user in, whose welcome is read; return the client's end."""
        self.streams.login([self.accept(user, buffer)], [user], protocol, [KEY])
        self.welcomed = self.read(user) or b""
        return self.clients[user]

    def login_unchunked(self, user: int) -> socket.socket:
        """Log in a client of HTTP/1.0."""
        return self.login(user, protocol=UNTIL_CLOSE["test"])

    def login_websocket(self, user: int, buffer: int | None = None) -> socket.socket:
        """Log in a client of a WebSocket."""
        return self.login(user, buffer, WEBSOCKET)

    def ping(self) -> None:
        """Ping all WebSockets."""
        self.streams.ping(self.streams.descriptors())

    def send_heartbeats(self) -> None:
        """Send all streams of events a comment."""
        self.streams.send_heartbeats(self.streams.descriptors())

    def deliver_turns(self, order: Deliver) -> None:
        """Write all turns that there are."""
        self.messages.begin(order)
        while self.messages.under_way:
            self.messages.send_some(FILES)

    def turn(self) -> None:
        """Handle what is ready, as a front does, until nothing is left to be read."""
        self.handle(self.readiness.poll())
        while self.intake.has_unread:
            self.handle([])

    def handle(self, events: list[tuple[int, int]]) -> None:
        """Read and write what events announce, as a front does."""
        sweeps, over = self.intake.read(events)
        for fds, data, _, _ in sweeps:
            for fd, read in zip(fds, data, strict=True):
                if fd in self.partings:
                    self.partings.drop(fd, len(read))
                else:
                    self.streams.take([fd], [read])
        for fd, _ in over:
            if fd in self.partings:
                self.partings.close(fd)
        self.streams.end(over)
        self.streams.write_on(fd for fd, event in events if event != PLAIN)
        self.streams.publish_counts()

    def send(self, text: bytes) -> int:
        """Send a message to every stream."""
        sent = self.streams.send(self.streams.descriptors(), text)
        self.streams.publish_counts()
        return sent

    def fall_behind(self, user: int) -> int:
        """Send messages until a user who does not read is behind; return how many."""
        for count in range(1, 100):
            self.send(b"x" * 1000)
            if self.descriptors[user] in self._behind:
                return count
        raise AssertionError("its buffer is never full")

    def figure(self, name: str) -> int:
        self.streams.publish_counts()
        return int(self.ledger.total(name))

    def end(self) -> None:
        """Close everything."""
        self.streams.close(FILES)
        self.partings.close_all()
        for client in self.clients.values():
            client.close()
        for descriptor in (self.whereabouts.descriptor, self.bus.descriptor, self.ledger.descriptor):
            os.close(descriptor)
        trio.run(self._close_readiness)

    async def _close_readiness(self) -> None:
        with self.readiness:
            pass
