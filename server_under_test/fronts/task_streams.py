"""The open streams of a front of tasks: what is written to them, each by a task that lives until that is done.

In: streams that begin and end (`fronts.tasks`), and what is for them: ticks, turns of the router's, pings. Out: what
was written, counted in the front's row. Who does not read is cut off. Cost: a task for each write.
"""

import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import trio

from floodtest.flyweight.engine.ledger import Counter, TickTable
from floodtest.server_under_test.fronts.resuming import COMMENT, Resuming
from floodtest.server_under_test.fronts.tls_streams import Stream, TooMuch
from floodtest.server_under_test.fronts.websockets import PING_FRAME
from floodtest.server_under_test.fronts.worker import Shared
from floodtest.server_under_test.routing.bus import REPLAYS, Deliver, Turn
from floodtest.server_under_test.routing.bus_reader import Reader
from floodtest.wire.framing.frames import Beginning
from floodtest.wire.protocols import WEBSOCKET, Served

WRITES = 512
"""Deliveries before other tasks have their turn, those that write them among them."""

WRITE_BYTES = 1 << 16
"""Bytes of deliveries before other tasks have their turn."""


@dataclass(eq=False, slots=True)
class Connection:
    """One open stream."""

    stream: Stream
    transport: trio.SocketStream
    """The stream itself, or what is below its TLS."""
    fd: int
    user: int
    protocol: Served
    number: int = 0
    """Of the last message."""
    unsent: bytearray = field(default_factory=bytearray)
    writing: trio.Event | None = None
    """Set at the end of the write that has begun, behind which `unsent` has to wait."""
    open: bool = True
    begun: Beginning | None = None
    """That of a frame of its client's."""
    owes_pong: bool = False
    listening: trio.CancelScope = field(default_factory=trio.CancelScope)
    """In which its client is listened to; cancelled when the server ends."""

    @property
    def has_unsent(self) -> bool:
        """Whether something is still to be written."""
        return self.writing is not None or bool(self.unsent)

    @property
    def is_behind(self) -> bool:
        """Whether a write has to wait for the client, and not just for its own turn to go on."""
        room = select.poll()
        room.register(self.fd, select.POLLOUT)
        return self.writing is not None and not room.poll(0)

    def next_message(self, text: bytes, event: bytes = b"") -> bytes:
        """Return a message with the next number, as it travels, perhaps with the id of its event."""
        self.number += 1
        return self.protocol.frame(self.number, text, event)


class TaskStreams:
    """The streams of one front, by descriptor; what writes to them runs in `tasks`."""

    def __init__(self, shared: Shared, resuming: Resuming, tasks: trio.Nursery) -> None:
        row = shared.row
        self._bus, self._places, self._pending = shared.bus, shared.places, shared.spec.limits.pending
        self._resuming = resuming
        self._tasks = tasks
        self._logins, self._open, self._bytes = (Counter(row, name) for name in ("logins", "open", "bytes"))
        self._slow, self._unanswered = Counter(row, "slow"), Counter(row, "unanswered")
        self._deliveries, self._undeliverable = Counter(row, "deliveries"), Counter(row, "undeliverable")
        self._reader = Reader(shared.bus, shared.spec.worker, row)
        self._ticks = TickTable(row)
        self._connections: dict[int, Connection] = {}

    def __iter__(self) -> Iterator[Connection]:
        """Those that are open now, whatever becomes of them meanwhile."""
        return iter(list(self._connections.values()))

    def login(self, connection: Connection) -> None:
        self._places.login([connection.fd], [connection.user])
        self._connections[connection.fd] = connection
        self._logins.add(1)
        self._open.add(1)

    def leave(self, connection: Connection) -> None:
        """Log a connection out and close it, which ends its tasks: in this order, as the descriptor may be had anew."""
        if connection.open:
            self.log_out(connection)
            connection.transport.socket.close()

    def log_out(self, connection: Connection) -> None:
        """Let go of a connection, which stays open."""
        connection.open = False
        self._places.logout([connection.fd])
        del self._connections[connection.fd]
        self._resuming.forget(connection.fd)
        self._open.add(-1)

    def write(self, connection: Connection, data: bytes) -> bool:
        """Have bytes written to a connection, after those that wait already; False if its client had to be cut off."""
        if not connection.has_unsent:
            self._tasks.start_soon(self._write_on, connection)
        elif len(connection.unsent) + len(data) > self._pending and connection.is_behind:
            self._slow.add(1)
            self.leave(connection)
            return False
        connection.unsent += data
        return True

    async def _write_on(self, connection: Connection) -> None:
        """Write until nothing is left."""
        connection.writing = trio.Event()
        try:
            while connection.unsent:
                data, connection.unsent = connection.unsent, bytearray()
                await connection.stream.send_all(data)
                self._bytes.add(len(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError, TooMuch):
            self.leave(connection)
        finally:
            connection.writing.set()
            connection.writing = None

    async def send_tick(self, number: int) -> None:
        """Send a tick to all who are here now."""
        connections = list(self._connections.values())
        began = time.monotonic_ns()
        for first in range(0, len(connections), WRITES):
            here = [connection for connection in connections[first : first + WRITES] if connection.open]
            for connection in here:
                self.write(connection, connection.next_message(b"tick %d" % number))
            self._ticks.count(number, len(here), began, time.monotonic_ns())  # before anybody can have received it
            await trio.lowlevel.checkpoint()
        self._ticks.count(number, 0, began, time.monotonic_ns())

    def wrote(self, size: int) -> None:
        """Count what somebody else has written, who says the last of a stream."""
        self._bytes.add(size)

    async def go_round(self, seconds: float, send: Callable[[list[Connection]], None]) -> None:
        """Have something done for all connections by the clock, some at a time."""
        while True:
            await trio.sleep(seconds)
            connections = list(self._connections.values())
            for first in range(0, len(connections), WRITES):
                send(connections[first : first + WRITES])
                await trio.lowlevel.checkpoint()

    def ping(self, connections: list[Connection]) -> None:
        """Ping those that are WebSockets, and cut off those that have not answered the last ping."""
        for connection in connections:
            if not connection.open or connection.protocol is not WEBSOCKET:
                continue
            if connection.owes_pong:
                self._unanswered.add(1)
                self.leave(connection)
            else:
                connection.owes_pong = True
                self.write(connection, PING_FRAME)

    def send_heartbeats(self, connections: list[Connection]) -> None:
        """Send a comment to those that are streams of events."""
        for connection in connections:
            if connection.open and connection.protocol.is_events:
                self.write(connection, connection.protocol.fields(COMMENT))

    async def deliver(self, order: Deliver) -> None:
        """Send the messages of turns, each to the connection of its row if that is still the row's user's."""
        self._reader.begin(order)
        while (turn := self._next_turn()) is not None:
            rows = turn.rows
            ends = _slices(rows.sizes_of(rows.which))
            for first, end in pairwise([0, *ends]):
                part = rows.part(slice(first, end))
                texts = list(map(bytes, part.texts_of(part.which)))
                fds, users = part.fds.tolist(), part.users.tolist()
                ids = self._resuming.ids_of(part, part.which) or [b""] * len(fds)
                if not self._bus.has(turn.number):
                    break  # the texts that were copied may be of another turn
                for fd, user, text, event in zip(fds, users, texts, ids, strict=True):
                    if rows.first == REPLAYS:
                        self._replay_one(fd, text)
                    else:
                        self._deliver_one(fd, user, text, event)
                self._reader.deal_with(end - first)
                await trio.lowlevel.checkpoint()
            self._reader.finish(turn)

    def _next_turn(self) -> Turn | None:
        """Return the next turn; where one was missed, those who wait for a replay are closed, and come back."""
        turn = self._reader.next()
        if self._reader.has_missed:
            for fd in self._resuming.waiting:
                self.leave(self._connections[fd])
        return turn

    def _deliver_one(self, fd: int, user: int, text: bytes, event: bytes) -> None:
        connection = self._connections.get(fd)
        is_theirs = connection is not None and connection.user == user and fd not in self._resuming
        if connection is not None and is_theirs and self.write(connection, connection.next_message(text, event)):
            self._deliveries.add(1)
        else:
            self._undeliverable.add(1)

    def _replay_one(self, fd: int, text: bytes) -> None:
        missed, connection = self._resuming.missed(fd, text), self._connections.get(fd)
        if missed is not None and connection is not None:
            connection.number, data = missed.frames(connection.protocol, connection.number)
            if not data or self.write(connection, data):
                self._deliveries.add(1)
                return
        self._undeliverable.add(1)


def _slices(sizes: npt.NDArray[np.intp]) -> list[int]:
    """Return where slices of rows end that have at most WRITES rows, and at most WRITE_BYTES or one row."""
    ends: list[int] = []
    total = np.cumsum(sizes)
    while not ends or ends[-1] < len(sizes):
        begin = ends[-1] if ends else 0
        before = int(total[begin - 1]) if begin else 0
        fitting = int(np.searchsorted(total, before + WRITE_BYTES, "right"))
        ends.append(min(max(begin + 1, fitting), begin + WRITES, len(sizes)))
    return ends
