"""server_under_test.fronts.director and fronts that take no orders: one whose channel is full keeps nobody waiting."""

import os
import socket
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.processes.channel import Channel
from floodtest.flyweight.processes.workers import Worker, Workers
from floodtest.server_under_test.fronts import director as server_module
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.director import STOP_QUIET, Server
from floodtest.server_under_test.fronts.orders import Accept, FromWorker, Stop, Tick, ToWorker
from floodtest.server_under_test.options import Options
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts

FRONTS = 2


class Rig:
    """A server of two fronts that a test plays; the first one reads nothing, and its channel is full."""

    def __init__(self) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(FRONTS)]
        self.theirs = [theirs for _, theirs in pairs]
        self.workers = [
            Worker(number, Channel(ours, FromWorker), cast(Any, SimpleNamespace(exit_status=None, ended=trio.Event())))
            for number, (ours, _) in enumerate(pairs)
        ]
        self.ledger, whereabouts = Ledger(FRONT_LEDGER, FRONTS), SharedWhereabouts(10, FRONTS, 100)
        bus = SharedBus(FRONTS)
        self._descriptors = [self.ledger.descriptor, whereabouts.descriptor, bus.descriptor]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            fronts = cast(Workers, SimpleNamespace(all=self.workers, pids=[]))
            self.server = Server(Options(), listener, fronts, self.ledger, whereabouts, bus, None)
        while self.workers[0].channel.send_nowait(Deliver(1)):
            pass

    def told(self, front: int) -> list[Any]:
        """Return what a front was told since this was last asked."""
        orders: list[Any] = []
        self.theirs[front].setblocking(False)
        while True:
            try:
                packet = self.theirs[front].recv(1000)
            except BlockingIOError:
                return [order for order in orders if not isinstance(order, Deliver)]
            orders.append(msgspec.msgpack.decode(packet, type=ToWorker))

    def close(self) -> None:
        for worker, theirs in zip(self.workers, self.theirs, strict=True):
            worker.channel.close()
            theirs.close()
        for descriptor in self._descriptors:
            os.close(descriptor)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> trio.testing.MockClock:
    monkeypatch.setattr(server_module, "cores", lambda: 1)
    return trio.testing.MockClock(autojump_threshold=0)


def test_the_end_of_a_server_waits_for_no_order_to_be_taken(clock: trio.testing.MockClock) -> None:
    async def main() -> float:
        rig = Rig()
        with trio.move_on_after(100 * STOP_QUIET):
            await rig.server.stop()
        assert rig.told(1) == [Stop()]
        rig.close()
        return trio.current_time()

    began = clock.current_time()
    assert trio.run(main, clock=clock) - began <= 2 * STOP_QUIET


def test_the_place_at_the_listener_goes_to_a_front_that_takes_it(clock: trio.testing.MockClock) -> None:
    async def main() -> None:
        rig = Rig()
        async with trio.open_nursery() as tasks:
            rig.server._tasks = tasks
            rig.server._with_room = list(rig.workers)
            rig.server._hand_on()
            assert rig.told(1) == [Accept()]
            assert rig.told(0) == []  # it goes on, and reads what it was told
            await trio.testing.wait_all_tasks_blocked()
            assert rig.told(0) == [Accept()]
        rig.close()

    trio.run(main, clock=clock)


def test_a_tick_goes_on_without_a_front_that_takes_no_order(clock: trio.testing.MockClock) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.server.send_tick(1)
        assert rig.told(1) == [Tick(1)]
        assert rig.server.fronts_left_out == 1
        await rig.server.send_tick(2)
        assert rig.told(1) == []  # it has not said that tick 1 is written
        assert rig.server.fronts_left_out == 3
        rig.close()

    trio.run(main, clock=clock)


def test_a_turn_is_told_without_waiting(clock: trio.testing.MockClock) -> None:
    async def main() -> None:
        rig = Rig()
        for front in range(FRONTS):
            rig.server._tell(front, Deliver(2))
        assert rig.theirs[1].recv(1000) == msgspec.msgpack.encode(Deliver(2))
        rig.close()

    trio.run(main, clock=clock)
