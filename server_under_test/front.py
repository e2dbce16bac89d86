"""A front: a server worker that holds connections and writes to them what it is told. It knows nobody but its own.

In: a `FrontSpecification`, the listener and what else all fronts share, then `Accept`, `Tick`, `Deliver`, `Stop`.
Out: `Ready`, `Full` and `Room` (the parent hands the listener on), `Stopped`. Fails: connections one by one, counted;
anything else ends the process, which the parent sees. A front that has nothing to do does not wake up.
"""

import socket
import time
from typing import Any

import msgspec
import numpy.typing as npt
import trio

from flyweight.channel import Channel, Message
from flyweight.ledger import Ledger
from flyweight.limits import FILES_RESERVE, raise_files_limit
from flyweight.readiness import LEVEL, Readiness
from server_under_test.accounts import FRONT_LEDGER
from server_under_test.bus import Bus, Deliver
from server_under_test.limits import Limits
from server_under_test.outbox import Outbox
from server_under_test.reception import Reception
from server_under_test.requests import Requests
from server_under_test.senders import MessageSender, TickSender
from server_under_test.streams import Streams
from server_under_test.whereabouts import Whereabouts

ORDERS = 4
"""Orders taken in one turn."""

WRITES = 512
"""Deliveries of one slice; what else is due is looked at between two slices."""


class FrontSpecification(msgspec.Struct, frozen=True):
    """What one front needs to know; `worker` is its row of the ledger, of `workers`."""

    worker: int
    workers: int
    max_users: int
    limits: Limits


class Accept(Message, frozen=True):
    """Watch the listener, or no longer."""

    on: bool


class Tick(Message, frozen=True):
    """Send tick `number` to every connection."""

    number: int


class Stop(Message, frozen=True):
    """Close all connections and end."""


class Ready(Message, frozen=True):
    """The front is up."""


class Ticked(Message, frozen=True):
    """The tick has been written to every connection."""


class Full(Message, frozen=True):
    """No descriptors are left: somebody else must accept."""


class Room(Message, frozen=True):
    """There is room again."""


class Stopped(Message, frozen=True):
    """All connections are closed."""


ToFront = Accept | Tick | Deliver | Stop
FromFront = Ready | Ticked | Full | Room | Stopped


class Front:
    """What one front does; `turn` is all there is to do at one time."""

    def __init__(
        self,
        spec: FrontSpecification,
        channel: Channel[ToFront],
        listener: socket.socket,
        readiness: Readiness,
        row: npt.NDArray[Any],
        whereabouts: Whereabouts,
        bus: Bus,
        files_limit: int,
    ) -> None:
        self._channel = channel
        self._readiness = readiness
        self._listener = listener.fileno()
        self._capacity = files_limit - FILES_RESERVE
        outbox, places = Outbox(spec.limits.pending, readiness.modify), whereabouts.of_front(spec.worker)
        self._streams = Streams(outbox, row, files_limit, spec.limits.excess, places)
        requests = Requests(spec.max_users, spec.limits.head_size)
        self._reception = Reception(listener, readiness, self._streams, requests, spec.limits, row)
        self._ticks = TickSender(self._streams, row)
        self._messages = MessageSender(self._streams, bus, row)
        self.stopping = False
        self.full = False
        self.news: list[Message] = []
        self.has_news = trio.Event()
        readiness.register(channel.descriptor, LEVEL)

    def obey(self, order: ToFront | None) -> None:
        """Carry out an order; None (the parent is gone) means to stop."""
        match order:
            case Accept(on=on):
                self._reception.watch(on)
            case Tick(number=number):
                self._ticks.begin(number)
            case Deliver():
                self._messages.begin(order)
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
        if self._reception:
            theirs = [fd for fd, _ in events if fd in self._reception]
            events = [event for event in events if event[0] not in self._reception]
            for fd in theirs:
                self._reception.handle(fd)
            self._reception.expire(time.monotonic())
        if events:
            self._streams.handle(events)
        if self._ticks.under_way:
            worked = True
            if not self._ticks.send_some(WRITES):
                self._tell(Ticked())
        if self._messages.under_way:
            worked = True
            self._messages.send_some(WRITES)
        self._streams.publish_counts()
        self._check_room()
        return worked

    def deadline(self) -> float:
        return self._reception.next_deadline()

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


async def run(
    spec: FrontSpecification,
    channel: Channel[ToFront],
    listener: socket.socket,
    row: npt.NDArray[Any],
    whereabouts: Whereabouts,
    bus: Bus,
    files_limit: int,
) -> None:
    """Be a front until told to stop, or until the parent is gone."""
    with Readiness() as readiness:
        front = Front(spec, channel, listener, readiness, row, whereabouts, bus, files_limit)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_report, channel, front)
            await readiness.turns(front.turn, front.deadline, lambda: front.stopping)
            tasks.cancel_scope.cancel()
        while front.close_some():
            await trio.lowlevel.checkpoint()
    listener.close()
    await channel.send(Stopped())


async def _report(channel: Channel[ToFront], front: Front) -> None:
    await channel.send(Ready())
    while True:
        await front.has_news.wait()
        front.has_news = trio.Event()
        news, front.news = front.news, []
        for message in news:
            await channel.send(message)


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Entry of the worker process (see `flyweight.nursery`); its descriptors: ledger, listener, whereabouts, bus."""
    spec = msgspec.msgpack.decode(specification, type=FrontSpecification)
    files_limit = raise_files_limit()
    ledger = Ledger(FRONT_LEDGER, spec.workers, descriptors[0])
    listener = socket.socket(fileno=descriptors[1])
    whereabouts = Whereabouts(spec.max_users, spec.workers, files_limit, descriptors[2])
    bus = Bus(descriptors[3])
    channel = Channel[ToFront](sock, ToFront)
    trio.run(run, spec, channel, listener, ledger.row(spec.worker), whereabouts, bus, files_limit)
