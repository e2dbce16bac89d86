"""A front of the tasks model on socket pairs: a test plays the clients and reads the ledger. No network, no clock.

Its trio run is a thread's; a test lets it go on until all its tasks wait for something: nothing is left to time.
"""

import os
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import trio
import trio.testing

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.processes.channel import Channel
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.orders import Specification, ToWorker
from floodtest.server_under_test.fronts.task_streams import Connection
from floodtest.server_under_test.fronts.tasks import TaskFront
from floodtest.server_under_test.fronts.worker import Shared
from floodtest.server_under_test.limits import Limits
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from tests.rigs.server import EXCESS, FILES, MAX_USERS, PENDING, Clients
from tests.rigs.websocket import handshake

T = TypeVar("T")


class TaskRig(Clients):
    """One front and its clients, by user."""

    in_hand = 2000
    """Bytes of a write that does not go on, which the bound leaves out: one message here."""

    def __init__(self, life: str = "", retry: float | None = None) -> None:
        super().__init__()
        self._life, self._retry = life, retry
        self.ledger = Ledger(FRONT_LEDGER, 1)
        self.whereabouts = SharedWhereabouts(MAX_USERS, 1, FILES)
        self.bus = SharedBus(1)
        self.welcomed = b""
        """The beginning of the last stream that was read."""
        self.has_parted = False
        self._up = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        self._up.wait()

    async def _main(self) -> None:
        limits = Limits(pending=PENDING, excess=EXCESS)
        spec = Specification(0, 1, MAX_USERS, limits, None, self._retry, self._life)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            channel = Channel[ToWorker](theirs, ToWorker)
            places = self.whereabouts.of_front(0)
            async with trio.open_nursery() as self._tasks:
                shared = Shared(spec, channel, FILES, self.ledger.row(0), ours, places, self.bus)
                self._front = TaskFront(shared, self._tasks)
                self._token = trio.lowlevel.current_trio_token()
                self._up.set()
                await trio.sleep_forever()

    def _run(self, call: Callable[[], Awaitable[T]]) -> T:
        return trio.from_thread.run(call, trio_token=self._token)

    def turn(self) -> None:
        """Go on until all tasks wait for something."""
        self._run(trio.testing.wait_all_tasks_blocked)

    def login(self, user: int, buffer: int | None = None, version: bytes = b"1.1") -> socket.socket:
        """Log a user in, whose welcome is read; return the client's end."""
        return self.ask(user, b"GET /test/%d HTTP/%b\r\nHost: comet\r\n\r\n" % (user, version), buffer)

    def ask(self, user: int, request: bytes, buffer: int | None = None, shuts_down: bool = False) -> socket.socket:
        """Make a connection that sends a request, and perhaps nothing after it; read its welcome, and return the
        client's end.
        """
        server, client = socket.socketpair()
        client.setblocking(False)
        if buffer is not None:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        client.sendall(request)
        if shuts_down:
            client.shutdown(socket.SHUT_WR)
        self.clients[user] = client

        async def serve() -> None:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(server))
            self._tasks.start_soon(self._front._serve, stream)
            await trio.testing.wait_all_tasks_blocked()

        self._run(serve)
        self.welcomed = self.read(user) or b""
        assert b"Welcome, user %d\n" % user in self.welcomed
        return client

    def login_websocket(self, user: int, buffer: int | None = None) -> socket.socket:
        """Log in a client of a WebSocket."""
        return self.ask(user, handshake(user), buffer)

    def ping(self) -> None:
        """Ping all WebSockets."""
        self._go_round(self._front.streams.ping)

    def send_heartbeats(self) -> None:
        """Send all streams of events a comment."""
        self._go_round(self._front.streams.send_heartbeats)

    def _go_round(self, send: Callable[[list[Connection]], None]) -> None:
        async def go_round() -> None:
            send(list(self._front.streams))
            await trio.testing.wait_all_tasks_blocked()

        self._run(go_round)

    def say_goodbye(self) -> None:
        """Tell clients that the server ends, which it does not do as long as they may answer."""

        async def say() -> None:
            self._tasks.start_soon(self._part)
            await trio.testing.wait_all_tasks_blocked()

        self._run(say)

    async def _part(self) -> None:
        await self._front.say_goodbye()
        self.has_parted = True

    def login_unchunked(self, user: int) -> socket.socket:
        """Log in a client of HTTP/1.0."""
        return self.login(user, version=b"1.0")

    def send(self, text: bytes) -> int:
        """Send a message to every stream."""

        async def write() -> int:
            connections = list(self._front.streams)
            for connection in connections:
                self._front.streams.write(connection, connection.next_message(text))
            await trio.testing.wait_all_tasks_blocked()
            return len(connections)

        return self._run(write)

    def deliver(self, *messages: tuple[int, int, bytes]) -> None:
        """Send a turn of the router's: rows of whose descriptor, for whom, and the text."""
        fd_of = {connection.user: connection.fd for connection in self._front.streams}
        at, users, texts = zip(*messages, strict=True)
        fds = np.array([fd_of.get(user, FILES - 1) for user in at], np.uint32)
        which = np.arange(len(texts), dtype=np.uint32)
        turn = self.bus.write(fds, np.array(users, np.uint32), which, list(texts), np.array([0, len(texts)]))
        self.deliver_turns(Deliver(turn))

    def deliver_turns(self, order: Deliver) -> None:
        """Write all turns that there are."""

        async def deliver() -> None:
            await self._front.streams.deliver(order)
            await trio.testing.wait_all_tasks_blocked()

        self._run(deliver)

    def fall_behind(self, user: int) -> int:
        """Send messages until a user who does not read is behind; return how many."""
        for count in range(1, 100):
            self.send(b"x" * 1000)
            if any(c.user == user and c.writing is not None for c in self._front.streams):
                return count
        raise AssertionError("its buffer is never full")

    def figure(self, name: str) -> int:
        return int(self.ledger.total(name))

    def end(self) -> None:
        """Close everything."""
        trio.from_thread.run_sync(self._tasks.cancel_scope.cancel, trio_token=self._token)
        self._thread.join()
        for client in self.clients.values():
            client.close()
        for descriptor in (self.whereabouts.descriptor, self.bus.descriptor, self.ledger.descriptor):
            os.close(descriptor)
