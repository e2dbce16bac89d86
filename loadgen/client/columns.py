"""A client worker: opens its share by the clock, then pumps what comes in, until it is told to close.

In: what each worker is given (`loadgen.client.worker`), then the orders `Go`, `Halt` and `Close`. Out: how far the ramp
has come, and `Closed`; all else is in the accounts, where the parent reads it. One trio run, one nested epoll; a worker
that has nothing to do does not wake up. Fails: connections fail one by one, on the accounts; whatever else goes wrong
ends the worker, which the parent sees.
"""

import socket
import time

import trio

from floodtest.flyweight.engine.readiness import Readiness
from floodtest.flyweight.processes.channel import Channel
from floodtest.loadgen.client.opening import Opener
from floodtest.loadgen.client.orders import Closed, Go, Halt, ToWorker
from floodtest.loadgen.client.streams import Streams
from floodtest.loadgen.client.worker import Shared, be_worker, report
from floodtest.loadgen.plan.pacer import Pacer
from floodtest.wire.protocols import OPENED

BATCH = 64
"""Connections opened in one go: enough to make a sweep worth it, few enough to stay in the core's cache."""


class Client:
    """The ramp and the pump of one worker; `turn` is all there is to do at one time."""

    def __init__(self, shared: Shared, readiness: Readiness) -> None:
        spec, accounts = shared.spec, shared.accounts
        self._share = spec.share
        self._pacer = Pacer(spec.stages)
        self._timeout = spec.connect_timeout
        self._readiness = readiness
        protocol = OPENED[spec.protocol]
        self._streams = Streams(accounts, readiness, shared.files_limit, protocol)
        request = protocol.requests(*spec.request)
        reserved = frozenset(port for first, last in spec.reserved for port in range(first, last + 1))
        self._opener = Opener(accounts, readiness, spec.target, spec.ports, reserved, request, self._streams.outbox)
        self._reset_at_end = spec.reset_at_end
        self._begun = 0
        self._piece = 0
        self._go: Go | None = None
        self.closing = False
        self.started = trio.Event()
        self.settled = trio.Event()

    def obey(self, order: ToWorker | None) -> None:
        """Carry out an order; None (the parent is gone) means to close."""
        match order:
            case Go():
                self._go = order
            case Halt():
                self.started.set()
            case _:
                self.closing = True
        self._readiness.wake()

    def turn(self) -> bool:
        """Poll, read, give up what is overdue, open what is due; return whether there was anything to do."""
        events = self._readiness.poll()
        if events or self._streams.has_unread:
            self._streams.handle(events)
        now = time.monotonic()
        self._streams.expire(now)
        if now >= self._streams.digest_due:
            self._streams.digest()
        began = self._open_due()
        if self.started.is_set() and not self._streams.in_flight:
            self.settled.set()
        return bool(events) or began or self._streams.has_unread

    def deadline(self) -> float:
        """When the next turn is due even if nothing comes in."""
        deadline = min(self._streams.digest_due, next(iter(self._streams.in_flight.values()), float("inf")))
        if self._go is not None and not self.started.is_set() and self._room():
            deadline = min(deadline, self._go.start + self._pacer.time_of(self._share.first_user + self._begun))
        return deadline

    @property
    def in_flight(self) -> int:
        return len(self._streams.in_flight)

    def close_some(self) -> int:
        return self._streams.close(1000, self._reset_at_end)

    def _room(self) -> int:
        """How many more may be in flight. Small room is left to grow: half-empty batches cost as much as full ones."""
        assert self._go is not None
        room = self._go.in_flight - self.in_flight
        return room if room >= min(BATCH, self._go.in_flight) else 0

    def _open_due(self) -> bool:
        if self._go is None or self.started.is_set():
            return False
        piece = self._share.pieces[self._piece]
        offset = self._share.first_user + self._begun - piece.first_user
        due = self._pacer.due(time.monotonic() - self._go.start, self._share.first_user - 1 + self._share.count)
        due -= self._share.first_user - 1 + self._begun
        count = min(due, self._room(), BATCH, piece.count - offset)
        if count <= 0:
            return False
        fds, users = self._opener.open(piece, offset, count)
        self._streams.add(fds, users, time.monotonic() + self._timeout)
        self._begun += count
        if offset + count == piece.count:
            self._piece += 1
        if self._begun == self._share.count:
            self.started.set()
        return True


async def run(shared: Shared) -> None:
    """Be a client worker until told to close, or until the parent is gone."""
    with Readiness() as readiness:
        client = Client(shared, readiness)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_listen, shared.channel, client)
            tasks.start_soon(report, shared.channel, client)
            await readiness.turns(client.turn, client.deadline, lambda: client.closing)
            tasks.cancel_scope.cancel()
        while client.close_some():
            await trio.lowlevel.checkpoint()
    await shared.channel.send(Closed())


async def _listen(channel: Channel[ToWorker], client: Client) -> None:
    while not client.closing:
        client.obey(await channel.receive())


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Entry of the worker process (see `flyweight.processes.nursery`)."""
    be_worker(run, specification, sock, descriptors)
