"""A router and front machines in this process, over channels in memory that lose what a test has them lose."""

import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.cluster.dialogue import MACHINES, ROUTER, Figures, channel_of, read_order
from floodtest.server_under_test.cluster.machines import Machines
from floodtest.server_under_test.cluster.relay import Relay
from floodtest.server_under_test.cluster.reporter import Identity, Reporter
from floodtest.server_under_test.cluster.valkey_link import Messages
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.progress import Progress
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.turn_writer import TurnWriter

USERS, FILES = 20_000, 20_480
SLOTS = 2


class Broker:
    """Channels; who hears one may be deaf (nobody hears it), or still (what is for it waits), as a stopped process."""

    def __init__(self) -> None:
        self._tasks: trio.Nursery | None = None
        self._ears: dict[str, list[trio.MemorySendChannel[tuple[str, bytes]]]] = defaultdict(list)
        self._may_go_on: dict[str, trio.Event] = {}
        self.deaf: set[str] = set()
        self.loses: Callable[[str, bytes], bool] = lambda channel, data: False
        self.waiting: dict[str, int] = defaultdict(int)
        """Bytes that wait in each channel, those of its head included that is being heard."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._tasks:
            task_status.started()
            await trio.sleep_forever()

    def subscribe(self, owner: str, channels: list[str], hear: Callable[[Messages], Awaitable[None]]) -> None:
        """Have what comes in some channels heard, one message after another."""
        send, receive = trio.open_memory_channel[tuple[str, bytes]](float("inf"))
        for channel in channels:
            self._ears[channel].append(send)

        async def listen() -> None:
            async for channel, data in receive:
                await self._wait_for(owner)
                await hear([(channel, data)])
                self.waiting[channel] -= len(data)

        assert self._tasks is not None
        self._tasks.start_soon(listen)

    def stand_still(self, owner: str) -> None:
        """Have somebody neither hear nor speak."""
        self._may_go_on[owner] = trio.Event()

    def go_on(self, owner: str) -> None:
        self._may_go_on.pop(owner).set()

    async def _wait_for(self, owner: str) -> None:
        while owner in self._may_go_on:
            await self._may_go_on[owner].wait()

    async def publish_as(self, owner: str, channel: str, data: bytes) -> int | None:
        await self._wait_for(owner)
        return await self.publish(channel, data)

    async def publish(self, channel: str, data: bytes) -> int | None:
        await trio.lowlevel.checkpoint()
        if self.loses(channel, data):
            return None
        ears = [] if channel in self.deaf else self._ears[channel]
        for ear in ears:
            self.waiting[channel] += len(data)
            ear.send_nowait((channel, data))
        return len(ears)


class RouterRig:
    """The router's end."""

    def __init__(self, broker: Broker, life: str = "router") -> None:
        self.notices: list[str] = []
        self.bus_seconds = 0.0
        """That the bus takes to answer."""
        self.ledger = Ledger(FRONT_LEDGER, SLOTS + 1)
        self.whereabouts, self.bus = SharedWhereabouts(USERS, SLOTS, FILES), SharedBus(SLOTS)
        args = (self.ledger, self.whereabouts, self.bus)
        self.machines = Machines(
            life, SLOTS, *args, broker.publish, self._bus_answers, lambda number: None, self.notices.append
        )
        progress = Progress(self.machines.written, self.machines.dealt_with.copy)
        self.router = Router(self.whereabouts, None, TurnWriter(self.bus, self.machines.tell, progress))
        broker.subscribe(life, [ROUTER], self.machines.hear)

    async def _bus_answers(self) -> bool:
        await trio.sleep(self.bus_seconds)
        return True

    async def run(self) -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self.machines.run)
            tasks.start_soon(self.router.run)
            await self.machines.joined()

    async def publish(self, *messages: tuple[int, bytes]) -> int:
        """Publish a batch as the head of a cluster does."""
        subjects, texts = zip(*messages, strict=True)
        await self.machines.sync()
        return await self.router.publish(subjects, texts)

    def end(self) -> None:
        for descriptor in (self.ledger.descriptor, self.whereabouts.descriptor, self.bus.descriptor):
            os.close(descriptor)


class MachineRig:
    """A front machine whose one front writes whatever it is told at once."""

    def __init__(self, broker: Broker, name: str, life: str = "life") -> None:
        self.name = name
        self.got: list[tuple[int, int, bytes]] = []
        """What the front has written: descriptor, user, text."""
        self.ticks: list[int] = []
        self.refused = ""
        self.ledger = Ledger(FRONT_LEDGER, 1)
        self.whereabouts, self.bus = SharedWhereabouts(USERS, 1, FILES), SharedBus(1)
        self.places = self.whereabouts.of_front(0)
        self._written = np.zeros(1, np.int64)
        progress = Progress(self._written, self._written.copy)
        self.relay = Relay(self.whereabouts, TurnWriter(self.bus, self._tell, progress))
        identity = Identity(name, life, "columns", False)
        args = (self.whereabouts, self.relay, self._figures, self._tick, partial(broker.publish_as, life))
        self.reporter = Reporter(identity, *args)
        broker.subscribe(life, [channel_of(name), MACHINES], self._hear)

    def _tell(self, front: int, order: Deliver) -> None:
        turn = self.bus.next(front, order.turn - 1)
        assert turn is not None
        rows = turn.rows
        texts = map(bytes, rows.texts_of(rows.which))
        self.got += list(zip(rows.fds.tolist(), rows.users.tolist(), texts, strict=True))
        self._written[front] = order.turn

    async def _hear(self, messages: Messages) -> None:
        for _, data in messages:
            if data.startswith(b'{"'):
                self.reporter.obey(read_order(data))
            else:
                await self.relay.take([data])
                self.reporter.wake()

    def _figures(self, came: dict[int, int]) -> Figures:
        counters = {"open": self.whereabouts.connections, "undeliverable": self.relay.missed}
        return Figures(counters, {}, [], [None], 1, 0, 0, 1, self.relay.extra, self.relay.gaps, self.relay.malformed)

    async def _tick(self, number: int) -> None:
        self.ticks.append(number)
        await trio.lowlevel.checkpoint()

    async def run(self) -> None:
        try:
            await self.reporter.run()
        except* Refused as group:
            self.refused = str(group.exceptions[0])

    def end(self) -> None:
        for descriptor in (self.ledger.descriptor, self.whereabouts.descriptor, self.bus.descriptor):
            os.close(descriptor)
