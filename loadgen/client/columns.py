"""One client worker: opens its share by the clock, then pumps what comes in, until it is told to close.

In: a `Specification`, then `Go` (when its turn to ramp has come) and `Close`. Out: `Ready`, `Started` once every
connection of the share was begun, `Settled` once each is open or failed, `Closed`. All else is in the accounts, where
the parent reads it. One process, one trio run, one nested epoll; a worker that has nothing to do does not wake up.
Fails: connections fail one by one, on the accounts; whatever else goes wrong ends the process, which the parent sees.
"""

import os
import socket
import time
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.engine.readiness import Readiness
from floodtest.flyweight.machine.files import raise_files_limit
from floodtest.flyweight.processes.channel import Channel, Message, decoder
from floodtest.loadgen.client.accounts import LEDGER, Accounts
from floodtest.loadgen.client.opening import Opener
from floodtest.loadgen.client.streams import Streams
from floodtest.loadgen.plan.choices import Ports
from floodtest.loadgen.plan.pacer import Pacer, Stage
from floodtest.loadgen.plan.plan import Share
from floodtest.wire.protocols import OPENED

BATCH = 64
"""Connections opened in one go: enough to make a sweep worth it, few enough to stay in the core's cache."""


class Specification(msgspec.Struct, frozen=True):
    """What one client worker needs to know; `worker` is its row of the ledger, of `workers`."""

    worker: int
    workers: int
    share: Share
    folder: bytes
    """Of the run record, as the kernel has its name, which need not be UTF-8."""
    target: tuple[str, int]
    request: tuple[str, str]
    """The request, before and after the user's id."""
    protocol: str
    """A name of `wire.protocols.OPENED`."""
    ports: Ports
    reserved: list[tuple[int, int]]
    """Ports that are not ours to bind: ranges, both ends included."""
    stages: tuple[Stage, ...]
    connect_timeout: float
    reset_at_end: bool
    """Close by reset, which spares the host a million sockets in TIME_WAIT; for a server that knows of it."""

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(os.fsdecode(self.folder))


class Go(Message, frozen=True):
    """Ramp now: connection 1 of the plan was due at `start` (time.monotonic), at most `in_flight` at a time."""

    start: float
    in_flight: int


class Halt(Message, frozen=True):
    """Begin no more connections; those that are in flight may still open."""


class Close(Message, frozen=True):
    """Close all connections."""


class Ready(Message, frozen=True):
    """The worker is up."""


class Started(Message, frozen=True):
    """All connections of the share have been begun; `in_flight` of them are not settled."""

    in_flight: int


class Settled(Message, frozen=True):
    """Every connection of the share is open or has failed."""


class Closed(Message, frozen=True):
    """All connections are closed."""


ToWorker = Go | Halt | Close
FromWorker = Ready | Started | Settled | Closed


class Client:
    """The ramp and the pump of one worker; `turn` is all there is to do at one time."""

    def __init__(self, spec: Specification, readiness: Readiness, accounts: Accounts, files_limit: int) -> None:
        self._share = spec.share
        self._pacer = Pacer(spec.stages)
        self._timeout = spec.connect_timeout
        self._readiness = readiness
        protocol = OPENED[spec.protocol]
        self._streams = Streams(accounts, readiness, files_limit, protocol)
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

    def go(self, order: Go) -> None:
        self._go = order
        self._readiness.wake()

    def halt(self) -> None:
        self.started.set()
        self._readiness.wake()

    def close(self) -> None:
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


async def run(spec: Specification, channel: Channel[ToWorker], ledger: Ledger, files_limit: int) -> None:
    """Be a client worker until told to close, or until the parent is gone."""
    accounts = Accounts(spec.path, spec.share.first_user, spec.share.count, ledger.row(spec.worker))
    with Readiness() as readiness:
        client = Client(spec, readiness, accounts, files_limit)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_obey, channel, client)
            tasks.start_soon(report, channel, client)
            await readiness.turns(client.turn, client.deadline, lambda: client.closing)
            tasks.cancel_scope.cancel()
        while client.close_some():
            await trio.lowlevel.checkpoint()
    await channel.send(Closed())


async def _obey(channel: Channel[ToWorker], client: Client) -> None:
    while True:
        match await channel.receive():
            case Go() as order:
                client.go(order)
            case Halt():
                client.halt()
            case _:
                client.close()
                return


class Ramping(Protocol):
    """Who opens the connections of a share, whether by the column or in another way."""

    started: trio.Event
    settled: trio.Event

    @property
    def in_flight(self) -> int: ...


async def report(channel: Channel[ToWorker], client: Ramping) -> None:
    """Tell the parent how far the ramp has come."""
    await channel.send(Ready())
    await client.started.wait()
    await channel.send(Started(client.in_flight))
    await client.settled.wait()
    await channel.send(Settled())


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Entry of the worker process (see `flyweight.processes.nursery`); the one descriptor is the ledger."""
    spec = decoder(Specification).decode(specification)
    files_limit = raise_files_limit()
    ledger = Ledger(LEDGER, spec.workers, descriptors[0])
    trio.run(partial(run, spec, Channel(sock, ToWorker), ledger, files_limit))
