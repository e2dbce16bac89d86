"""`comet serve`: one listener, as many fronts as the file limit asks for, and the parent that directs them.

The fronts share the listener, but only as many watch it at a time as there are cores: a listener that all of them
watched would wake all of them for every connection. A front that is full says so, and the next one takes its place.
The parent writes nothing to connections; it hands on turns, sends ticks, routes messages, and adds up the fronts'
ledger for the control API. It ends in order on SIGTERM, on SIGINT, or when the process that started it is gone.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import msgspec
import trio

from flyweight.errors import Refused, WorkerFault
from flyweight.http import authority
from flyweight.ledger import TICKS, Ledger
from flyweight.limits import cores, need_proc, raise_files_limit, workers_for
from flyweight.reasons import memory_is_a_fault
from flyweight.workers import Worker, Workers, open_workers, wait_while_moving
from server_under_test import orders
from server_under_test.accounts import FRONT_LEDGER
from server_under_test.bus import Bus, Deliver
from server_under_test.limits import Limits
from server_under_test.progress import NEVER, Progress
from server_under_test.requests import MAX_USERS
from server_under_test.router import Router
from server_under_test.subscriptions import Store
from server_under_test.whereabouts import Whereabouts

BACKLOG = 65535
"""Asked for; the kernel takes at most net.core.somaxconn."""

DEFER_SECONDS = 5
"""How long the kernel waits for a request before it wakes a front for a silent client (TCP_DEFER_ACCEPT)."""

STOP_QUIET = 5.0
"""Seconds in which no connection is closed, after which fronts that have not ended are left to be killed."""

TICK_QUIET = 0.5
"""Seconds in which a front that writes a tick writes nothing, after which the tick goes on without it."""


Model = Literal["columns", "tasks"]
"""How fronts hold connections: in columns, all by one task; or with a task and a stream for each."""

MODELS: tuple[str, ...] = get_args(Model)

_MODULES: dict[Model, str] = {"columns": "server_under_test.front", "tasks": "server_under_test.tasks"}


@dataclass(frozen=True)
class Options:
    """What `comet serve` was asked for."""

    host: str = "127.0.0.1"
    port: int = 8000
    max_users: int = 1_100_000
    """The highest id."""
    max_connections: int | None = None
    """How many there is room for; None: as many as users."""
    workers: int | None = None
    tick: float | None = None
    control_host: str = "127.0.0.1"
    control_port: int = 8001
    token: str | None = None
    db: Path | None = None
    limits: Limits = field(default_factory=Limits)
    model: Model = "columns"


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; Refused when the address can't be had."""
    with ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, _, _, address = found[0]
            sock = stack.enter_context(socket.socket(family, kind | socket.SOCK_NONBLOCK))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no such name"
            raise Refused(f"Can't listen on {authority(host, port)}: {why}. Choose another --host or port.") from error
        stack.pop_all()  # it stays open
    return sock


def notice_silence(listener: socket.socket, seconds: float) -> None:
    """Have the kernel end each connection accepted from a listener whose peer has not answered for so long.

    Accepted sockets inherit these options (tcp(7)), so that a connection costs no call. The first probe of an idle
    connection is sent after half of the time; TCP_USER_TIMEOUT decides the end, for data and probes alike.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(seconds / 2)))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds / 6)))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


class Server:
    """A running server: its fronts, its ticker, its router, its counts."""

    def __init__(
        self,
        options: Options,
        listener: socket.socket,
        workers: Workers,
        ledger: Ledger,
        whereabouts: Whereabouts,
        bus: Bus,
        store: Store | None,
    ) -> None:
        self.options = options
        self.ledger = ledger
        self.store = store
        rows = ledger.rows
        progress = Progress(rows["turn"], lambda: rows["deliveries"] + rows["undeliverable"])
        self.router = Router(whereabouts, store, bus, self._tell, progress)
        self._whereabouts = whereabouts
        self._bus = bus
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self.workers = workers
        self.tick_seconds = options.tick
        self.tick_changed = trio.Event()
        self.ticks_planned: dict[int, float] = {}  # of the last TICKS
        self.ticks_skipped = 0
        self.fronts_left_out = 0
        """How often a tick went to its fronts without one that had not written the tick before, or took no order."""
        self._listener = listener
        self._last_tick = 0
        self._stopping = False
        self._gone: set[int] = set()
        self._with_room: list[Worker] = []
        self._watching: list[Worker] = []
        self._tasks: trio.Nursery | None = None
        self._ticked: dict[Worker, trio.Event] = {}
        self.tick_done = trio.Event()
        self.tick_done.set()

    async def start_fronts(self, count: int, tasks: trio.Nursery) -> None:
        """Start the fronts and let the first of them accept."""
        self._tasks = tasks
        options = self.options
        specifications = [
            msgspec.msgpack.encode(orders.FrontSpecification(number, count, options.max_users, options.limits))
            for number in range(count)
        ]
        shared = [self.ledger.descriptor, self._listener.fileno(), self._whereabouts.descriptor, self._bus.descriptor]
        await self.workers.start(specifications, orders.FromFront, shared)
        for worker in self.workers.all:
            if not isinstance(await worker.channel.receive(), orders.Ready):
                raise WorkerFault("A front ended before it was up; see above for its reason.")
            self._with_room.append(worker)
            tasks.start_soon(self._listen_to, worker)
            self._hand_on()

    async def _listen_to(self, worker: Worker) -> None:
        """Hear a front until it ends; its place at the listener goes to the next."""
        while message := await worker.channel.receive():
            match message:
                case orders.Ticked():
                    self._ticked[worker].set()
                case orders.Room():
                    self._with_room.append(worker)
                case orders.Full() if worker in self._watching:
                    self._watching.remove(worker)
            self._hand_on()
        self.ledger.rows["open"][worker.number] = 0  # a front that was killed could not say so
        self.ledger.rows["turn"][worker.number] = NEVER  # nobody is to wait for it
        self._whereabouts.forget_front(worker.number)
        self._ticked.setdefault(worker, trio.Event()).set()
        self._watching = [other for other in self._watching if other is not worker]
        self._with_room = [other for other in self._with_room if other is not worker]
        self._gone.add(worker.number)
        if len(self._gone) == len(self.workers.all) and not self._stopping:
            raise WorkerFault("All fronts have ended by themselves; their last words stand above.")
        self._hand_on()

    def _hand_on(self) -> None:
        """Keep as many fronts accepting as there are cores, while any has room; waits for none."""
        while self._with_room and len(self._watching) < cores():
            worker = self._with_room.pop(0)
            if worker.channel.send_nowait(orders.Accept(True)):
                self._watching.append(worker)
            elif self._tasks is not None:
                self._tasks.start_soon(self._let_accept_later, worker)

    async def _let_accept_later(self, worker: Worker) -> None:
        """Let a front accept that has no room for an order, once it has: one more than there are cores, maybe."""
        if await worker.channel.send(orders.Accept(True)):
            self._watching.append(worker)

    def _tell(self, number: int, order: Deliver) -> None:
        # A front with so many orders unread that there is no room finds the turns of later ones by itself.
        self.workers.all[number].channel.send_nowait(order)

    def set_tick(self, seconds: float | None) -> None:
        """Send a message to every connection each `seconds` from now on; None: no longer."""
        self.tick_seconds = seconds
        self.tick_changed.set()

    async def tick_on(self) -> None:
        """Send ticks by the clock. One that falls due while the one before is still being written is skipped."""
        async with trio.open_nursery() as tasks:
            while True:
                self.tick_changed = trio.Event()
                await self.tick_done.wait()
                due, seconds = time.monotonic(), self.tick_seconds
                while seconds is not None and not self.tick_changed.is_set():
                    with trio.move_on_after(max(0.0, due - time.monotonic())):
                        await self.tick_changed.wait()
                    if self.tick_changed.is_set():
                        break  # even if that was in the moment in which the tick was due
                    if self.ticking:
                        self.ticks_skipped += 1
                    else:
                        self.tick_done = trio.Event()
                        self._last_tick += 1
                        tasks.start_soon(self._send_tick, self._last_tick, due)
                    due += seconds
                await self.tick_changed.wait()

    async def _send_tick(self, number: int, due: float) -> None:
        """Have all fronts write tick `number`, as many at a time as there are cores.

        All at once is a tenth slower with a million connections: each front gets less of a core in one piece.
        """
        self.ticks_planned[number] = due
        self.ticks_planned.pop(number - TICKS, None)
        # A front that has not written the tick before (it was stopped) is left out until it has.
        waiting = [one for one in reversed(self.workers.all) if one not in self._ticked or self._ticked[one].is_set()]
        self.fronts_left_out += len(self.workers.all) - len(waiting)

        async def send_in_turn() -> None:
            while waiting:
                worker = waiting.pop()
                self._ticked[worker] = trio.Event()
                if worker.channel.send_nowait(orders.Tick(number)):
                    await wait_while_moving([self._ticked[worker]], partial(self._written_by, worker), TICK_QUIET)
                else:
                    self._ticked[worker].set()
                    self.fronts_left_out += worker.number not in self._gone

        async with trio.open_nursery() as tasks:
            for _ in range(cores()):
                tasks.start_soon(send_in_turn)
        self.tick_done.set()

    def _written_by(self, worker: Worker) -> int:
        """Return how many bytes a front has written."""
        return int(self.ledger.rows["bytes"][worker.number])

    @property
    def ticking(self) -> bool:
        """Whether a tick is being written."""
        return not self.tick_done.is_set()

    @property
    def front_statuses(self) -> list[int | None]:
        """For each front None while it runs, or its process's exit status; 1 if that process goes on without it."""
        return [
            1 if worker.exit_status is None and worker.number in self._gone else worker.exit_status
            for worker in self.workers.all
        ]

    @property
    def pids(self) -> list[int]:
        """All processes of this server."""
        return [os.getpid(), *self.workers.pids]

    async def stop(self) -> None:
        """Close all connections in order, as long as any are being closed."""
        self._stopping = True
        ended = [worker.ended for worker in self.workers.all]
        async with trio.open_nursery() as tasks:
            for worker in self.workers.all:  # beside each other: one that stands still may have no room for its order
                tasks.start_soon(worker.channel.send, orders.Stop())
            await wait_while_moving(ended, lambda: int(self.ledger.total("open")), STOP_QUIET)
            tasks.cancel_scope.cancel()


async def serve(options: Options, parent: int | None, announce: Callable[[Server, int], None]) -> None:
    """Serve until told to stop; `announce` is called with the server and its control port once it accepts.

    `parent`, if given, is a descriptor: when its other end is closed, the server ends.
    """
    from server_under_test import control  # brings a web framework: only the parent needs it, no front

    need_proc()
    files_limit = raise_files_limit()
    options = replace(options, max_users=min(options.max_users, MAX_USERS))
    count = workers_for(options.max_connections or options.max_users, files_limit, options.workers)
    serves = False
    with (
        memory_is_a_fault(lambda: "The server was serving, and all its connections end with it." if serves else None),
        nullcontext(None) if options.db is None else Store(options.db) as store,
        listen(options.host, options.port) as listener,
        listen(options.control_host, options.control_port) as api,
    ):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
        notice_silence(listener, options.limits.silence)
        ledger, whereabouts = Ledger(FRONT_LEDGER, count), Whereabouts(options.max_users, count, files_limit)
        async with open_workers(_MODULES[options.model]) as workers, trio.open_nursery() as tasks:
            server = Server(options, listener, workers, ledger, whereabouts, Bus(count), store)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                if parent is not None:
                    tasks.start_soon(_end_with, parent, tasks.cancel_scope)
                await server.start_fronts(count, tasks)
                tasks.start_soon(server.tick_on)
                tasks.start_soon(server.router.run)
                tasks.start_soon(control.serve, server, api)
                serves = True
                announce(server, api.getsockname()[1])
                async for _ in signals:
                    break
            listener.close()
            await server.stop()
            tasks.cancel_scope.cancel()


async def _end_with(parent: int, scope: trio.CancelScope) -> None:
    """End everything when the other end of a socket or pipe is closed."""
    await trio.lowlevel.wait_readable(parent)
    scope.cancel()
