"""A client worker: opens its share by the clock, then pumps what comes in, until it is told to close.

In: what each worker is given (`loadgen.client.worker`), then the orders `Go`, `Halt` and `Close`. Out: how far the ramp
has come, and `Closed`; all else is in the accounts, where the parent reads it. One trio run, one nested epoll; a worker
that has nothing to do does not wake up. Users whose connection has ended are handed, once a turn, to who wants to open
them again; no command asks for that yet. Fails: connections fail one by one, on the accounts; whatever else goes wrong
ends the worker, which the parent sees.
"""

import errno
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import trio

from floodtest.flyweight.engine.intake import READ_SIZE
from floodtest.flyweight.engine.readiness import Readiness
from floodtest.flyweight.processes.channel import Channel
from floodtest.loadgen.client.accounts import End, Phase
from floodtest.loadgen.client.opening import Opener
from floodtest.loadgen.client.orders import Closed, Go, Halt, ToWorker
from floodtest.loadgen.client.poll_timing import Pollers
from floodtest.loadgen.client.streams import Streams
from floodtest.loadgen.client.unix_queue import Waiting
from floodtest.loadgen.client.worker import Shared, be_worker, report
from floodtest.loadgen.plan.pacer import Pacer
from floodtest.loadgen.plan.plan import Rows
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.protocols import client_protocol

BATCH = 64
"""Connections opened in one go: enough to make a sweep worth it, few enough to stay in the core's cache."""


class Client:
    """The ramp and the pump of one worker; `turn` is all there is to do at one time.

    `take_ended` is called in a turn with the users whose connections have ended since the last one, failed ones
    included. It, or anybody at any time, may ask to `open_again`.
    """

    def __init__(
        self, shared: Shared, readiness: Readiness, take_ended: Callable[[list[End]], None] | None = None
    ) -> None:
        spec, accounts = shared.spec, shared.accounts
        self._share = spec.share
        self._pacer = Pacer(spec.stages)
        self._timeout = spec.connect_timeout
        self._readiness = readiness
        self._take_ended = take_ended
        self._ended = ended = None if take_ended is None else list[End]()
        self._again: deque[int] = deque()
        """Users that are to be opened again, as soon as there is room for them in flight."""
        protocol, open_when = client_protocol(spec.protocol, spec.polling), OpenWhen(spec.open_when)
        answers = protocol.answers(open_when, READ_SIZE, spec.request, spec.grammar)
        patience, files_limit = spec.connect_timeout, shared.files_limit
        polls, pollers = shared.polls(), None
        requests = shared.requests() if polls is None else polls.first
        self._securing = securing = shared.securing(requests)
        if polls is not None and spec.polling is not None:
            pollers = Pollers(polls, spec.polling, files_limit, open_when.is_held)
        self._streams = Streams(
            accounts,
            readiness,
            files_limit,
            protocol,
            answers,
            patience,
            spec.grammar,
            ended,
            shared.sends(),
            pollers,
            spec.watch_every,
            securing,
        )
        reserved = frozenset(port for first, last in spec.reserved for port in range(first, last + 1))
        pieces, outbox = spec.share.pieces, self._streams.outbox
        layer = None if securing is None else securing.layer
        self._opener = Opener(
            accounts, readiness, spec.targets, spec.choice, spec.ports, reserved, requests, outbox, pieces, ended, layer
        )
        self._accounts = accounts
        self._waiting = Waiting(BATCH)
        self._reset_at_end = spec.reset_at_end
        self._begun = 0
        self._piece = 0
        self._go: Go | None = None
        self._halted = False
        self.closing = False
        self.started = trio.Event()
        self.settled = trio.Event()

    def obey(self, order: ToWorker | None) -> None:
        """Carry out an order; None (the parent is gone) means to close."""
        match order:
            case Go():
                self._go = order
            case Halt():
                self._halted = True
                self.started.set()
            case _:
                self.closing = True
        self._readiness.wake()

    def open_again(self, users: Iterable[int]) -> None:
        """Open further connections of users that have none, as room allows; what the plan says is due comes first."""
        self._again.extend(users)
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
        self._hand_over()
        began = self._open_due()
        if self._waiting:
            self._try_again(now)
        if self.started.is_set() and not self.in_flight:
            self.settled.set()
        return bool(events) or began or self._streams.has_unread

    def deadline(self) -> float:
        """When the next turn is due even if nothing comes in."""
        streams = self._streams
        overdue = streams.in_flight.due(time.monotonic())
        deadline = min(streams.digest_due, streams.polls_due, overdue, self._waiting.deadline)
        if self._go is not None and not self.started.is_set() and self._room():
            deadline = min(deadline, self._go.start + self._pacer.time_of(self._share.before + self._begun + 1))
        return deadline

    @property
    def in_flight(self) -> int:
        return len(self._streams.in_flight) + len(self._waiting)

    def close_some(self) -> int:
        return self._streams.close(1000, self._reset_at_end)

    def close_layer(self) -> None:
        """Close what TLS has opened here: the collector would close it in whichever thread it runs."""
        if self._securing is not None:
            self._securing.layer.close()

    def _room(self) -> int:
        """How many more may be in flight. Small room is left to grow: half-empty batches cost as much as full ones."""
        assert self._go is not None
        room = self._go.in_flight - self.in_flight
        if self._securing is not None:
            room = min(room, self._securing.room)
        return room if room >= min(BATCH, self._go.in_flight) else 0

    def _hand_over(self) -> None:
        """Give away who has ended.

        This comes after all events of the turn, since who takes them may open users again: a new connection may get the
        number of a descriptor that was closed in this turn, and would be taken for it where events are left.
        """
        if self._ended and self._take_ended is not None:
            ended = self._ended.copy()
            self._ended.clear()
            self._take_ended(ended)

    def _open_due(self) -> bool:
        if self._go is None or self._halted or (self.started.is_set() and not self._again):
            return False
        rows = self._next_planned(self._go) or self._next_again()
        if rows is None:
            return False
        deadline = time.monotonic() + self._timeout
        self._accounts.started(np.array(rows.users, np.int64))
        if self._waiting:
            self._accounts.put_off(len(rows.users))
            self._waiting.add(rows.users, deadline)
            return True
        fds, users = self._opener.open(rows)
        self._add(fds, users, deadline, self._opener.connect_us)
        if self._opener.refused:
            self._accounts.put_off(len(self._opener.refused))
            self._waiting.tried(self._opener.refused, deadline, time.monotonic())
        return True

    def _try_again(self, now: float) -> None:
        """Give up those that have waited too long, and try the next ones."""
        for user in self._waiting.expired(now):
            self._opener.fail(user, Phase.CONNECT, errno.ETIMEDOUT)
        deadline, users = self._waiting.take(now)
        if users:
            fds, connected = self._opener.open(self._share.rows(users))
            self._waiting.tried(self._opener.refused, deadline, time.monotonic())
            waited_us = int((time.monotonic() - deadline + self._timeout) * 1e6)
            self._add(fds, connected, deadline, waited_us)

    def _add(self, fds: list[int], users: list[int], deadline: float, connect_us: int) -> None:
        """Hand over what has just been opened, each of which took so long to connect."""
        opener = self._opener
        self._streams.add(fds, users, deadline, connect_us, opener.connecting, opener.unwritable)

    def _next_planned(self, order: Go) -> Rows | None:
        """Take users whose first connection is due, a batch at the most."""
        if self.started.is_set():
            return None
        share = self._share
        piece = share.pieces[self._piece]
        offset = share.first_user + self._begun - piece.first_user
        due = self._pacer.due(time.monotonic() - order.start, share.before + share.count)
        due -= share.before + self._begun
        count = min(due, self._room(), BATCH, piece.count - offset)
        if count <= 0:
            return None
        self._begun += count
        if offset + count == piece.count:
            self._piece += 1
        if self._begun == share.count:
            self.started.set()
        return piece.rows(offset, count)

    def _next_again(self) -> Rows | None:
        """Take users that are to be opened again, a batch at the most."""
        count = min(len(self._again), self._room(), BATCH) if self._again else 0
        return self._share.rows(self._again.popleft() for _ in range(count)) if count else None


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
        client.close_layer()
    await shared.channel.send(Closed())


async def _listen(channel: Channel[ToWorker], client: Client) -> None:
    while not client.closing:
        client.obey(await channel.receive())


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Entry of the worker process (see `flyweight.processes.nursery`)."""
    be_worker(run, specification, sock, descriptors)
