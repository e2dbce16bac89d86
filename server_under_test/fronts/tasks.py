"""A front of the other model: a trio task and a trio SocketStream for each connection, the conventional way.

It is what 2008 did with a process for each connection, and is here to be compared with `fronts.columns`: with the
orders, answers, limits and counts of that, but written as servers on trio are. Each connection's task reads its
request, answers, and then takes what comes until the client goes. What is to be written to a connection is written by a
task that lives until that is done, so that none holds up another (`fronts.task_streams`). TLS is trio's
(`fronts.tls_streams`).

Cost: 8 KiB a connection, and a task that is woken or started for each event and each delivery. At the most `pending`
bytes wait behind a write that does not go on, and what that has in hand is no more than two slices of deliveries.
"""

import socket
from contextlib import suppress

import trio

from floodtest.flyweight.engine.ledger import Counter
from floodtest.server_under_test.fronts.accounts import FIRST_STATUS
from floodtest.server_under_test.fronts.listener import probe_when_idle
from floodtest.server_under_test.fronts.orders import Accept, Full, Ready, Renew, Room, Stopped, Tick, Ticked
from floodtest.server_under_test.fronts.task_streams import Connection, TaskStreams
from floodtest.server_under_test.fronts.tls_streams import (
    Metered,
    Stream,
    TlsStream,
    TlsStreams,
    TooMuch,
    close_in_order,
    end_writing,
)
from floodtest.server_under_test.fronts.websockets import GOING_AWAY_FRAME, PONG_RECORD, PONG_SIZE, hear
from floodtest.server_under_test.fronts.worker import Shared, be_worker
from floodtest.server_under_test.limits import LINGER, OUT_OF_DESCRIPTORS, PAUSE
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.wire import answers
from floodtest.wire.protocols import WEBSOCKET
from floodtest.wire.requests import Asked, Refuse, too_late


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
        self.streams = TaskStreams(shared, self._resuming, tasks)
        self._dropped, self._cut_off, self._silent = (Counter(row, name) for name in ("dropped", "excess", "silent"))
        self._accept_errors = Counter(row, "accept_errors")
        self._rejected, self._violations = row["rejected"][0], row["violations"][0]
        self._held = 0
        self._parting: set[trio.SocketStream] = set()
        """Those that have been told that the server ends, and may read it."""
        self._accepting = trio.CancelScope()
        self._leaving = trio.lowlevel.ParkingLot()

    async def obey(self) -> None:
        """Carry out orders until told to stop, or until the parent is gone."""
        if self._limits.ping is not None:
            self._tasks.start_soon(self.streams.go_round, self._limits.ping, self.streams.ping)
        if self._limits.heartbeat is not None:
            self._tasks.start_soon(self.streams.go_round, self._limits.heartbeat, self.streams.send_heartbeats)
        while True:
            match await self._shared.channel.receive():
                case Accept():
                    self._tasks.start_soon(self._accept_in_turn)
                case Tick(number=number):
                    await self.streams.send_tick(number)
                    await self._shared.channel.send(Ticked())
                case Deliver() as order:
                    await self.streams.deliver(order)
                case Renew():
                    if self._tls is not None:
                        self._tls.renew()
                case _:
                    return

    async def _accept_in_turn(self) -> None:
        with trio.CancelScope() as self._accepting:
            await self._accept()

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
            self._parting.discard(transport)
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
        if isinstance(stream, trio.SSLStream):
            stream.transport_stream.allow(self._limits.excess)
        with trio.move_on_after(LINGER), suppress(TooMuch):
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
        self.streams.login(connection)
        try:
            (welcome,) = asked.protocol.welcomes([asked.user], [asked.key], self._shared.more_headers, fields)
            if asked.last_event is not None:
                welcome += self._resuming.begin(connection.fd, asked.user, asked.protocol, asked.last_event)
            self.streams.write(connection, welcome)
            for request in self._resuming.requests():
                await self._shared.channel.send(request)
            last: bytes | None = GOING_AWAY_FRAME if asked.protocol is WEBSOCKET else b""
            with connection.listening:  # which ends when the server does
                last = await self._listen_to(connection, extra)
            if last is None or not connection.open:
                return b""
            self.streams.log_out(connection)
            with trio.move_on_after(LINGER) as waiting:
                while connection.writing is not None:
                    await connection.writing.wait()
            if waiting.cancelled_caught:
                return b""
            unsent, connection.unsent = connection.unsent, bytearray()
            self.streams.wrote(len(unsent))
            return bytes(unsent) + last
        finally:
            self.streams.leave(connection)

    async def _listen_to(self, connection: Connection, extra: bytes) -> bytes | None:
        """Take what comes until the client goes, and return what it is to be told last; None: it is cut off."""
        meter = connection.stream.transport_stream if isinstance(connection.stream, trio.SSLStream) else None
        if meter is not None:
            meter.allow(self._limits.excess - len(extra))
        try:
            return await self._take_texts(connection, extra, meter)
        except TooMuch:
            self._cut_off.add(1)
            return None

    async def _take_texts(self, connection: Connection, extra: bytes, meter: Metered | None) -> bytes | None:
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
                    if meter is not None:
                        meter.give_back(PONG_SIZE + PONG_RECORD)
                if heard.violation is not None:
                    self._violations[heard.violation - FIRST_STATUS] += 1
                if heard.is_over:
                    return heard.reply
                if heard.reply:
                    self.streams.write(connection, heard.reply)  # which closes the stream if its client does not read
            data = bytes(await connection.stream.receive_some())
            if not data:
                return b""

    async def say_goodbye(self) -> None:
        """Tell the clients of WebSockets that the server ends, and those over TLS that nothing follows, and give them
        time to read it and close: who is closed while something of his is unread is reset, and may never read it. Those
        that are behind are told nothing.
        """
        self._accepting.cancel()
        for connection in self.streams:
            is_told = connection.protocol is WEBSOCKET or isinstance(connection.stream, trio.SSLStream)
            if is_told and not connection.is_behind:
                self._parting.add(connection.transport)
                connection.listening.cancel()
        with trio.move_on_after(LINGER):
            while self._parting:
                await self._leaving.park()


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
