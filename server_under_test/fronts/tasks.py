"""A front of the other model: a trio task and a trio SocketStream for each connection, the conventional way.

It is what 2008 did with a process for each connection, and is here to be compared with `fronts.columns`: with the
orders, answers, limits and counts of that, but written as servers on trio are. Each connection's task reads its
request, answers, and then takes what comes until the client goes. What is to be written to a connection is written by a
task that lives until that is done, so that none holds up another. TLS is trio's (`fronts.tls_streams`).

Cost: 8 KiB a connection, and a task that is woken or started for each event and each delivery. At the most `pending`
bytes wait behind a write that does not go on, and what that has in hand is no more than two slices of deliveries.
"""

import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import trio

from floodtest.flyweight.engine.ledger import Counter, TickTable
from floodtest.server_under_test.fronts.accounts import FIRST_STATUS
from floodtest.server_under_test.fronts.listener import probe_when_idle
from floodtest.server_under_test.fronts.orders import Accept, Full, Ready, Renew, Room, Stopped, Tick, Ticked
from floodtest.server_under_test.fronts.resuming import COMMENT
from floodtest.server_under_test.fronts.tls_streams import (
    Stream,
    TlsStream,
    TlsStreams,
    close_in_order,
    end_writing,
)
from floodtest.server_under_test.fronts.websockets import GOING_AWAY_FRAME, PING_FRAME, PONG_SIZE, hear
from floodtest.server_under_test.fronts.worker import Shared, be_worker
from floodtest.server_under_test.limits import LINGER, OUT_OF_DESCRIPTORS, PAUSE
from floodtest.server_under_test.routing.bus import REPLAYS, Deliver, Turn
from floodtest.server_under_test.routing.bus_reader import Reader
from floodtest.wire import answers
from floodtest.wire.framing.frames import Beginning
from floodtest.wire.protocols import WEBSOCKET, Served
from floodtest.wire.requests import Asked, Refuse, too_late

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


class TaskFront:
    """What one front does; its connections' tasks run in `tasks`."""

    def __init__(self, shared: Shared, tasks: trio.Nursery) -> None:
        row = shared.row
        self._shared = shared
        self._limits = shared.spec.limits
        self._requests = shared.make_requests()
        self._resuming = shared.make_resuming()
        self._tasks = tasks
        self._tls = None if shared.spec.tls is None else TlsStreams(shared.spec.tls, row)
        self._logins, self._open, self._bytes = (Counter(row, name) for name in ("logins", "open", "bytes"))
        self._dropped, self._slow, self._cut_off = (Counter(row, name) for name in ("dropped", "slow", "excess"))
        self._deliveries, self._undeliverable = Counter(row, "deliveries"), Counter(row, "undeliverable")
        self._silent = Counter(row, "silent")
        self._accept_errors = Counter(row, "accept_errors")
        self._reader = Reader(shared.bus, shared.spec.worker, row)
        self._rejected, self._violations = row["rejected"][0], row["violations"][0]
        self._unanswered = Counter(row, "unanswered")
        self._ticks = TickTable(row)
        self._connections: dict[int, Connection] = {}
        self._held = 0
        self._leaving = trio.lowlevel.ParkingLot()

    async def obey(self) -> None:
        """Carry out orders until told to stop, or until the parent is gone."""
        if self._limits.ping is not None:
            self._tasks.start_soon(self._go_round, self._limits.ping, self.ping_all)
        if self._limits.heartbeat is not None:
            self._tasks.start_soon(self._go_round, self._limits.heartbeat, self.send_heartbeats)
        while True:
            match await self._shared.channel.receive():
                case Accept():
                    self._tasks.start_soon(self._accept)
                case Tick(number=number):
                    await self._send_tick(number)
                    await self._shared.channel.send(Ticked())
                case Deliver() as order:
                    await self._deliver(order)
                case Renew():
                    if self._tls is not None:
                        self._tls.renew()
                case _:
                    return

    async def _accept(self) -> None:
        """Accept while there are descriptors; then say that there are none, and when there are some again."""
        listener = trio.socket.from_stdlib_socket(self._shared.listener)
        while self._held < self._shared.capacity:
            while self._tls is not None and not self._tls.has_room:
                await self._leaving.park()
            try:
                sock, address = await listener.accept()
            except OSError as error:
                if error.errno in OUT_OF_DESCRIPTORS:  # else it is the connection's own, which is gone
                    self._accept_errors.add(1)
                    await trio.sleep(PAUSE)
            else:
                self._held += 1
                probe_when_idle(sock.fileno(), address)
                self._tasks.start_soon(self._serve, trio.SocketStream(sock))
        await self._shared.channel.send(Full())
        while self._held >= self._shared.capacity * 9 // 10:
            await self._leaving.park()
        await self._shared.channel.send(Room())

    # One connection, from its first byte to its last.

    async def _serve(self, transport: trio.SocketStream) -> None:
        """Read a request, answer it, and be with the connection until it ends."""
        try:
            async with transport:
                try:
                    await self._answer(transport)
                except trio.BrokenResourceError as error:
                    self._silent.add(int(isinstance(error.__cause__, TimeoutError)))
                    if self._tls is not None:
                        self._tls.end(error.__cause__)
                except trio.ClosedResourceError:
                    pass  # we have cut its client off
        finally:
            self._held -= 1
            self._leaving.unpark_all()

    async def _answer(self, transport: trio.SocketStream) -> None:
        deadline = trio.current_time() + self._limits.head_seconds
        stream: Stream | None = transport
        try:
            if self._tls is not None:
                stream = await self._secure(self._tls, transport, deadline)
            read = None if stream is None else await self._read_request(stream, deadline)
        except Refuse as refusal:
            self._rejected[refusal.status] += 1
            answer = answers.refusal(refusal.status, refusal.text, refusal.head_only, refusal.upgrade)
            await self._say_last(stream or transport, answer)
            return
        if read is None or stream is None:
            return
        asked, extra = read
        if asked.head_only:
            await self._say_last(stream, asked.protocol.head(close=True, more=self._shared.more_headers))
        elif last := await self._hold(stream, transport, asked, extra):
            await self._say_last(stream, last)
        else:
            await close_in_order(stream)

    async def _secure(self, tls: TlsStreams, transport: trio.SocketStream, deadline: float) -> TlsStream | None:
        """Do a handshake, with which somebody else may begin one."""
        try:
            return await tls.secure(transport, deadline)
        finally:
            self._leaving.unpark_all()

    async def _read_request(self, stream: Stream, deadline: float) -> tuple[Asked, bytes] | None:
        """Return what a client asks for and what came behind it, None when it goes before it has said so."""
        head = b""
        with trio.move_on_at(deadline):
            while data := await stream.receive_some():
                head += data
                asked = self._requests.parse(head)
                if asked is not None:
                    return asked, head[len(head) - asked.extra :]
            return None
        raise too_late(self._limits.head_seconds)

    async def _say_last(self, stream: Stream, answer: bytes) -> None:
        """Write the last answer of a connection, say that it is the last, and let the client close."""
        await stream.send_all(answer)
        dropped = 0
        with trio.move_on_after(LINGER):
            rest = await end_writing(stream)
            while dropped <= self._limits.excess and (data := await rest.receive_some()):
                dropped += len(data)

    async def _hold(self, stream: Stream, transport: trio.SocketStream, asked: Asked, extra: bytes) -> bytes:
        """Welcome a user and take what then comes until the client goes or that was too much; return what it is to be
        told last: what nobody has begun to write yet, since a client that has shut its side down still reads, and the
        last frame of a WebSocket.
        """
        connection = Connection(stream, transport, transport.socket.fileno(), asked.user, asked.protocol)
        fields = self._resuming.fields(asked.last_event) if asked.protocol.is_events else b""
        self._login(connection)
        try:
            (welcome,) = asked.protocol.welcomes([asked.user], [asked.key], self._shared.more_headers, fields)
            if asked.last_event is not None:
                welcome += self._resuming.begin(connection.fd, asked.user, asked.protocol, asked.last_event)
            self._write(connection, welcome)
            for request in self._resuming.requests():
                await self._shared.channel.send(request)
            last = await self._listen_to(connection, extra)
            if last is None or not connection.open:
                return b""
            self._log_out(connection)
            with trio.move_on_after(LINGER) as waiting:
                while connection.writing is not None:
                    await connection.writing.wait()
            if waiting.cancelled_caught:
                return b""
            unsent, connection.unsent = connection.unsent, bytearray()
            self._bytes.add(len(unsent))
            return bytes(unsent) + last
        finally:
            self._leave(connection)

    async def _listen_to(self, connection: Connection, extra: bytes) -> bytes | None:
        """Take what comes until the client goes, and return what it is to be told last; None: it is cut off."""
        excess, data = 0, extra
        while True:
            excess += len(data)
            self._dropped.add(len(data))
            if excess > self._limits.excess:
                self._cut_off.add(1)
                return None
            if data and connection.protocol is WEBSOCKET:
                heard = hear(connection.begun, data)
                connection.begun = heard.begun
                if heard.has_ponged and connection.owes_pong:
                    connection.owes_pong = False
                    excess -= PONG_SIZE
                if heard.violation is not None:
                    self._violations[heard.violation - FIRST_STATUS] += 1
                if heard.is_over:
                    return heard.reply
                if heard.reply:
                    self._write(connection, heard.reply)  # which closes the stream if its client does not read
            data = bytes(await connection.stream.receive_some())
            if not data:
                return b""

    def _login(self, connection: Connection) -> None:
        self._shared.places.login([connection.fd], [connection.user])
        self._connections[connection.fd] = connection
        self._logins.add(1)
        self._open.add(1)

    def _leave(self, connection: Connection) -> None:
        """Log a connection out and close it, which ends its tasks: in this order, as the descriptor may be had anew."""
        if connection.open:
            self._log_out(connection)
            connection.transport.socket.close()

    def _log_out(self, connection: Connection) -> None:
        """Let go of a connection, which stays open."""
        connection.open = False
        self._shared.places.logout([connection.fd])
        del self._connections[connection.fd]
        self._resuming.forget(connection.fd)
        self._open.add(-1)

    # What is written to connections.

    def _write(self, connection: Connection, data: bytes) -> bool:
        """Have bytes written to a connection, after those that wait already; False if its client had to be cut off."""
        if connection.writing is None and not connection.unsent:
            self._tasks.start_soon(self._write_on, connection)
        elif len(connection.unsent) + len(data) > self._limits.pending and connection.is_behind:
            self._slow.add(1)
            self._leave(connection)
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
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):  # the last: it is told
            self._leave(connection)  # that the server ends
        finally:
            connection.writing.set()
            connection.writing = None

    async def _send_tick(self, number: int) -> None:
        """Send a tick to all who are here now."""
        connections = list(self._connections.values())
        began = time.monotonic_ns()
        for first in range(0, len(connections), WRITES):
            here = [connection for connection in connections[first : first + WRITES] if connection.open]
            for connection in here:
                self._write(connection, connection.next_message(b"tick %d" % number))
            self._ticks.count(number, len(here), began, time.monotonic_ns())  # before anybody can have received it
            await trio.lowlevel.checkpoint()
        self._ticks.count(number, 0, began, time.monotonic_ns())

    async def _go_round(self, seconds: float, send: Callable[[list[Connection]], None]) -> None:
        """Have something done for all connections by the clock, some at a time."""
        while True:
            await trio.sleep(seconds)
            connections = list(self._connections.values())
            for first in range(0, len(connections), WRITES):
                send(connections[first : first + WRITES])
                await trio.lowlevel.checkpoint()

    def ping_all(self, connections: list[Connection]) -> None:
        """Ping those that are WebSockets, and cut off those that have not answered the last ping."""
        for connection in connections:
            if not connection.open or connection.protocol is not WEBSOCKET:
                continue
            if connection.owes_pong:
                self._unanswered.add(1)
                self._leave(connection)
            else:
                connection.owes_pong = True
                self._write(connection, PING_FRAME)

    def send_heartbeats(self, connections: list[Connection]) -> None:
        """Send a comment to those that are streams of events."""
        for connection in connections:
            if connection.open and connection.protocol.is_events:
                self._write(connection, connection.protocol.fields(COMMENT))

    async def say_goodbye(self) -> None:
        """Tell the clients of WebSockets that the server ends, and those over TLS that nothing follows; not those that
        are behind.
        """
        async with trio.open_nursery() as goodbyes:
            goodbyes.cancel_scope.deadline = trio.current_time() + LINGER
            for connection in self._connections.values():
                if connection.writing is None and not connection.unsent:
                    self._say_goodbye(connection, goodbyes)

    def _say_goodbye(self, connection: Connection, goodbyes: trio.Nursery) -> None:
        last = GOING_AWAY_FRAME if connection.protocol is WEBSOCKET else b""
        if isinstance(connection.stream, trio.SSLStream):
            goodbyes.start_soon(_send_and_close, connection.stream, last)
        elif last:
            with suppress(OSError):
                os.write(connection.fd, last)

    async def _deliver(self, order: Deliver) -> None:
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
                if not self._shared.bus.has(turn.number):
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
                self._leave(self._connections[fd])
        return turn

    def _deliver_one(self, fd: int, user: int, text: bytes, event: bytes) -> None:
        connection = self._connections.get(fd)
        is_theirs = connection is not None and connection.user == user and fd not in self._resuming
        if connection is not None and is_theirs and self._write(connection, connection.next_message(text, event)):
            self._deliveries.add(1)
        else:
            self._undeliverable.add(1)

    def _replay_one(self, fd: int, text: bytes) -> None:
        missed, connection = self._resuming.missed(fd, text), self._connections.get(fd)
        if missed is not None and connection is not None:
            connection.number, data = missed.frames(connection.protocol, connection.number)
            if not data or self._write(connection, data):
                self._deliveries.add(1)
                return
        self._undeliverable.add(1)


async def _send_and_close(stream: TlsStream, last: bytes) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
        if last:
            await stream.send_all(last)
        await stream.aclose()


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


async def run(shared: Shared) -> None:
    """Be a front until told to stop, or until the parent is gone."""
    async with trio.open_nursery() as tasks:
        await shared.channel.send(Ready())
        front = TaskFront(shared, tasks)
        await front.obey()
        await front.say_goodbye()
        tasks.cancel_scope.cancel()
    shared.listener.close()
    await shared.channel.send(Stopped())


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Entry of the worker process (see `flyweight.processes.nursery`)."""
    be_worker(run, specification, sock, descriptors)
