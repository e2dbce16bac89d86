"""`comet serve`: one listener, as many fronts as the file limit asks for, and the parent that directs them.

The fronts share the listener, but only as many watch it at a time as there are cores: a listener that all of them
watched would wake all of them for every connection. A front that is full says so, and the next one takes its place.
The parent writes nothing to connections; it hands on turns, sends ticks, routes messages, and has the fronts' ledger
for the control API to add up. It ends in order on SIGTERM, on SIGINT, or when the process that started it is gone.
"""

import os
import secrets
import socket
import time
from functools import partial

import msgspec
import numpy as np
import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.errors import WorkerFault
from floodtest.flyweight.machine.files import cores
from floodtest.flyweight.processes.workers import Worker, Workers, wait_while_moving
from floodtest.server_under_test.fronts import orders
from floodtest.server_under_test.fronts.ticker import Ticker
from floodtest.server_under_test.limits import replay_bytes
from floodtest.server_under_test.options import Options
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.history import History
from floodtest.server_under_test.routing.progress import NEVER, Progress
from floodtest.server_under_test.routing.replays import Asked, Replays
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.turn_writer import TurnWriter
from floodtest.wire.control import ServerPids

STOP_QUIET = 5.0
"""Seconds in which no connection is closed, after which fronts that have not ended are left to be killed."""

LIFE = 4
"""Bytes of the token that ids of events begin with, so that those of another life of a server are told apart."""

TICK_QUIET = 0.5
"""Seconds in which a front that writes a tick writes nothing, after which the tick goes on without it."""


class Server:
    """A running server: its fronts, its ticker, its router, its counts."""

    machines = None
    private_elsewhere = 0
    """All fronts are on this machine."""

    def __init__(
        self,
        options: Options,
        listener: socket.socket,
        workers: Workers,
        ledger: Ledger,
        whereabouts: SharedWhereabouts,
        bus: SharedBus,
        store: Store | None,
    ) -> None:
        self.options = options
        self.ledger = ledger
        self.store = store
        rows = ledger.rows
        progress = Progress(rows["turn"], lambda: rows["deliveries"] + rows["undeliverable"])
        self.history: History | None = None
        self.replays: Replays | None = None
        if options.history.count is not None:
            most = replay_bytes(options.limits)
            self.history = History(options.history, most, time.monotonic)
            self.replays = Replays(self.history, store, most)
        self.turns = TurnWriter(bus, self._tell, progress)
        self.router = Router(whereabouts, store, self.turns, self.history, self.replays)
        self._whereabouts = whereabouts
        self._bus = bus
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self.workers = workers
        self.ticker = Ticker(options.tick, self.send_tick)
        self.fronts_left_out = 0
        """How often a tick went to its fronts without one that had not written the tick before, or took no order."""
        self._listener = listener
        self._stopping = False
        self._gone: set[int] = set()
        self._with_room: list[Worker] = []
        self._watching: list[Worker] = []
        self._tasks: trio.Nursery | None = None
        self._ticked: dict[Worker, trio.Event] = {}

    async def start_fronts(self, count: int, tasks: trio.Nursery) -> None:
        """Start the fronts and let the first of them accept."""
        self._tasks = tasks
        options = self.options
        life = secrets.token_hex(LIFE) if self.history is not None else ""
        tls = options.tls.of_server
        of_all = options.max_users, options.limits, options.allow_origin, options.retry, life, tls
        specifications = [
            msgspec.msgpack.encode(orders.Specification(number, count, *of_all)) for number in range(count)
        ]
        shared = [self.ledger.descriptor, self._listener.fileno(), self._whereabouts.descriptor, self._bus.descriptor]
        await self.workers.start(specifications, orders.FromWorker, shared)
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
                case orders.Resume(asked=asked) if self._tasks is not None:
                    self._tasks.start_soon(self.router.replay, [Asked(worker.number, *one) for one in asked])
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
            if worker.channel.send_nowait(orders.Accept()):
                self._watching.append(worker)
            elif self._tasks is not None:
                self._tasks.start_soon(self._let_accept_later, worker)

    async def _let_accept_later(self, worker: Worker) -> None:
        """Let a front accept that has no room for an order, once it has: one more than there are cores, maybe."""
        if await worker.channel.send(orders.Accept()):
            self._watching.append(worker)

    def _tell(self, number: int, order: Deliver) -> None:
        # A front with so many orders unread that there is no room finds the turns of later ones by itself.
        self.workers.all[number].channel.send_nowait(order)

    def renew(self) -> None:
        """Have all fronts read certificate and key again, each as soon as it has room for that order."""
        if self._tasks is not None:
            for worker in self.workers.all:
                self._tasks.start_soon(worker.channel.send, orders.Renew())

    async def send_tick(self, number: int) -> None:
        """Have all fronts write tick `number`, as many at a time as there are cores; return when they have.

        All at once is a tenth slower with a million connections: each front gets less of a core in one piece.
        """
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

    def _written_by(self, worker: Worker) -> int:
        """Return how many bytes a front has written."""
        return int(self.ledger.rows["bytes"][worker.number])

    @property
    def front_statuses(self) -> list[int | None]:
        """For each front None while it runs, or its process's exit status; 1 if that process goes on without it."""
        return [
            1 if worker.exit_status is None and worker.number in self._gone else worker.exit_status
            for worker in self.workers.all
        ]

    @property
    def pids(self) -> ServerPids:
        """All processes of this server."""
        nursery, *fronts = self.workers.pids
        return ServerPids(os.getpid(), nursery, fronts)

    @property
    def token(self) -> str | None:
        """What calls of the control API have to bring."""
        return self.options.token

    @property
    def model(self) -> str:
        """How fronts hold connections."""
        return self.options.model

    @property
    def has_tls(self) -> bool:
        """Whether streams are over TLS."""
        return self.options.tls.of_server is not None

    @property
    def publisher(self) -> Router:
        """What takes messages."""
        return self.router

    @property
    def fronts_begun(self) -> int:
        """Fronts that have had a stream."""
        return int(np.count_nonzero(self.ledger.rows["logins"]))

    @property
    def fronts_given_up(self) -> int:
        """How often a front was given up that had turns to write."""
        return self.turns.fronts_given_up

    async def bring_up_to_date(self) -> None:
        """Nothing: figures are read where they are counted."""

    async def stop(self) -> None:
        """Close all connections in order, as long as any are being closed."""
        self._stopping = True
        ended = [worker.ended for worker in self.workers.all]
        async with trio.open_nursery() as tasks:
            for worker in self.workers.all:  # beside each other: one that stands still may have no room for its order
                tasks.start_soon(worker.channel.send, orders.Stop())
            await wait_while_moving(ended, lambda: int(self.ledger.total("open")), STOP_QUIET)
            tasks.cancel_scope.cancel()
