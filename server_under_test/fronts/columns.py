"""A front: a server worker that holds connections and writes to them what it is told. It knows nobody but its own.

In: what each front is given (`server_under_test.fronts.worker`), then the orders `Accept`, `Tick`, `Deliver`, `Renew`,
`Stop`.
Out: `Ready`, `Full` and `Room` (the parent hands the listener on), `Resume`, `Stopped`. Fails: connections one by one,
counted; anything else ends the front, which the parent sees. A front that has nothing to do does not wake up.
"""

import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import trio

from floodtest.flyweight.engine.intake import END, Intake
from floodtest.flyweight.engine.layer import Over
from floodtest.flyweight.engine.outbox import Outbox
from floodtest.flyweight.engine.readiness import LEVEL, PLAIN, Readiness
from floodtest.flyweight.processes.channel import Channel, Message
from floodtest.server_under_test.fronts.accounts import TlsAccounts
from floodtest.server_under_test.fronts.metering import Meter
from floodtest.server_under_test.fronts.orders import Accept, Full, Ready, Renew, Room, Stopped, Tick, Ticked, ToWorker
from floodtest.server_under_test.fronts.partings import Partings
from floodtest.server_under_test.fronts.reception import Reception
from floodtest.server_under_test.fronts.renewal import read_again
from floodtest.server_under_test.fronts.senders import MessageSender, Rounds, TickSender
from floodtest.server_under_test.fronts.streams import Streams
from floodtest.server_under_test.fronts.websockets import PONG_RECORD, PONG_SIZE
from floodtest.server_under_test.fronts.worker import Shared, be_worker
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.wire.tls.settings import ServerTls

if TYPE_CHECKING:
    from floodtest.wire.tls.tls_layer import TlsLayer

ORDERS = 4
"""Orders taken in one turn."""

WRITES = 512
"""Deliveries of one slice; what else is due is looked at between two slices."""


class Front:
    """What one front does; `turn` is all there is to do at one time."""

    def __init__(self, shared: Shared, readiness: Readiness) -> None:
        limits, row, files_limit = shared.spec.limits, shared.row, shared.files_limit
        self._channel = shared.channel
        self._readiness = readiness
        self._listener = shared.listener.fileno()
        self._capacity = shared.capacity
        self._tls = shared.spec.tls
        self._layer = layer = None if self._tls is None else _make_layer(self._tls, files_limit)
        self._tls_accounts = TlsAccounts(row)
        self._meter = None if layer is None else Meter(layer)
        self._intake = intake = Intake(self._meter)
        self._outbox = outbox = Outbox(limits.pending, readiness.modify, layer)
        if layer is not None:
            layer.bind(outbox.write_sealed)
        self._partings = partings = Partings(intake, outbox, limits.excess)
        self._resuming = resuming = shared.make_resuming()
        self._streams = streams = Streams(
            intake,
            outbox,
            row,
            files_limit,
            limits.excess,
            shared.places,
            partings,
            resuming,
            shared.more_headers,
            pong_size=PONG_SIZE if layer is None else PONG_SIZE + PONG_RECORD,
        )
        self._reception = Reception(
            shared.listener, readiness, intake, outbox, streams, partings, shared.make_requests(), limits, row, layer
        )
        self._ticks = TickSender(streams, row)
        self._messages = MessageSender(streams, shared.bus, shared.spec.worker, row)
        self._rounds = (
            Rounds(streams, streams.ping, limits.ping),
            Rounds(streams, streams.send_heartbeats, limits.heartbeat),
        )
        self.stopping = False
        self.full = False
        self.news: list[Message] = []
        self.has_news = trio.Event()
        readiness.register(shared.channel.descriptor, LEVEL)

    def obey(self, order: ToWorker | None) -> None:
        """Carry out an order; None (the parent is gone) means to stop."""
        match order:
            case Accept():
                self._reception.watch(True)
            case Tick(number=number):
                self._ticks.begin(number)
            case Deliver():
                self._messages.begin(order)
            case Renew():
                self._renew()
            case _:
                self.stopping = True

    def turn(self) -> bool:
        """Poll, accept, read, write; return whether there was anything to do."""
        events = self._readiness.poll()
        worked = bool(events)
        if worked and self._channel.descriptor in dict(events):
            events = [event for event in events if event[0] != self._channel.descriptor]
            for order in self._channel.receive_waiting(ORDERS):
                self.obey(order)
        if self._reception.watching and worked:
            events = [event for event in events if event[0] != self._listener]
            self._reception.accept()
        if events or self._intake.has_unread:
            self._read(events)
        now = time.monotonic()
        self._reception.expire(now)
        for rounds in self._rounds:
            rounds.begin_if_due(now)
            if rounds.under_way:
                worked = True
                rounds.send_some(WRITES)
        if self._ticks.under_way:
            worked = True
            if not self._ticks.send_some(WRITES):
                self._tell(Ticked())
        if self._messages.under_way:
            worked = True
            self._messages.send_some(WRITES)
        if self._resuming.has_asked:
            for request in self._resuming.requests():
                self._tell(request)
        self._streams.publish_counts()
        self._check_room()
        return worked or self._intake.has_unread

    def _read(self, events: list[tuple[int, int]]) -> None:
        """Read what the events announce, and let the reception and the streams have each its own."""
        sweeps, over = self._intake.read(events)
        if self._meter is not None:
            self._charge(self._meter.take())
        for fds, data, _, _ in sweeps:
            self._streams.take(*self._reception.take(fds, data))
        if over:
            if self._layer is not None:
                self._end_tls(over)
            self._reception.end(over)
            self._streams.end(over)
        if self._outbox:
            self._streams.write_on(fd for fd, event in events if event != PLAIN)
        if self._layer is not None:
            self._tls_accounts.add(self._layer.take_counts())

    def _charge(self, unsaid: dict[int, int]) -> None:
        """Count against the bounds of streams, and of those that are parting, what TLS took besides their texts."""
        self._streams.charge(unsaid)
        for fd in unsaid.keys() & self._partings.descriptors():
            self._partings.drop(fd, unsaid[fd])

    def _end_tls(self, over: Over) -> None:
        """Count by what connections have ended; tell those who have ended in order that nothing follows here either."""
        over = [(fd, code) for fd, code in over if fd not in self._partings]  # which have been told, and may just go
        for _, code in over:
            self._tls_accounts.end(code)
        self._outbox.say_nothing_follows([fd for fd, code in over if code == END])

    def _renew(self) -> None:
        """Have handshakes from now on use the certificate as it is in its file now, if it can be read."""
        if self._layer is not None and self._tls is not None and (context := read_again(self._tls)) is not None:
            self._layer.renew(context)

    def deadline(self) -> float:
        return min(self._reception.next_deadline(), *(rounds.due for rounds in self._rounds))

    def _check_room(self) -> None:
        held = self._streams.open + len(self._reception)
        full = held >= (self._capacity * 9 // 10 if self.full else self._capacity)
        if full != self.full:
            if full:
                self._reception.watch(False)
            self.full = full
            self._tell(Full() if full else Room())

    def _tell(self, news: Message) -> None:
        self.news.append(news)
        self.has_news.set()

    def close_some(self) -> bool:
        """Close the next thousand connections; False when none is left."""
        self._reception.close()
        closed = self._streams.close(1000)
        self._streams.publish_counts()
        return closed > 0

    def close(self) -> None:
        """Close what it has opened besides connections."""
        if self._layer is not None:
            self._layer.close()


def _make_layer(tls: ServerTls, files_limit: int) -> "TlsLayer":
    """Make the TLS of a front, whose files are read."""
    from floodtest.wire.tls.contexts import server_context
    from floodtest.wire.tls.tls_layer import TlsLayer  # takes 7 MiB, which a front without TLS does not need

    return TlsLayer(server_context(tls), files_limit)


async def run(shared: Shared) -> None:
    """Be a front until told to stop, or until the parent is gone."""
    with Readiness() as readiness, closing(Front(shared, readiness)) as front:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_report, shared.channel, front)
            await readiness.turns(front.turn, front.deadline, lambda: front.stopping)
            tasks.cancel_scope.cancel()
        while front.close_some():
            await trio.lowlevel.checkpoint()
    shared.listener.close()
    await shared.channel.send(Stopped())


async def _report(channel: Channel[ToWorker], front: Front) -> None:
    await channel.send(Ready())
    while True:
        await front.has_news.wait()
        front.has_news = trio.Event()
        news, front.news = front.news, []
        for message in news:
            await channel.send(message)


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Entry of the worker process (see `flyweight.processes.nursery`)."""
    be_worker(run, specification, sock, descriptors)
