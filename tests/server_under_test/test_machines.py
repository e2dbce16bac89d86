"""A router and front machines over channels in memory: what is lost, late or silent, by a clock of the test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from floodtest.server_under_test.cluster import dialogue, outflow
from floodtest.server_under_test.cluster.dialogue import CHANGES, SILENCE_SECONDS, Heard, channel_of, encode
from floodtest.server_under_test.cluster.machines import SYNC_SECONDS, Machine
from tests.rigs.broker import Broker, MachineRig, RouterRig

A = channel_of("a")


class Net:
    """A router, machines and what is between them."""

    def __init__(self, broker: Broker, tasks: trio.Nursery) -> None:
        self.broker = broker
        self.tasks = tasks
        self.head = RouterRig(broker)
        tasks.start_soon(self.head.run)
        self.made: list[MachineRig] = []

    async def start(self, name: str, life: str = "") -> MachineRig:
        """Start a machine, and wait until the router has heard all it has to say, or has refused it."""
        machine = MachineRig(self.broker, name, life or name)
        self.made.append(machine)
        self.tasks.start_soon(machine.run)
        await until(lambda: machine.refused or self.is_there(name))
        return machine

    def state(self, name: str) -> Machine:
        return next(one for one in self.head.machines.all if one.name == name)

    def is_there(self, name: str) -> bool:
        return any(one.name == name for one in self.head.machines.there)


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.01)


@asynccontextmanager
async def net() -> AsyncIterator[Net]:
    broker = Broker()
    async with trio.open_nursery() as tasks:
        await tasks.start(broker.run)
        made = Net(broker, tasks)
        yield made
        tasks.cancel_scope.cancel()
    made.head.end()
    for machine in made.made:
        machine.end()


def run(test: Callable[[Net], Awaitable[None]]) -> None:
    async def main() -> None:
        async with net() as made:
            await test(made)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.001))


def test_whoever_is_connected_before_a_batch_gets_it_at_each_of_its_connections() -> None:
    async def test(net: Net) -> None:
        a, b = await net.start("a"), await net.start("b")
        for number in range(1, 20):
            a.places.login([number], [7])
            b.places.login([number], [7])
            assert await net.head.publish((7, b"%d" % number), (8, b"nobody")) == number + 1
            await until(lambda: len(a.got) == sum(range(1, number + 1)))  # noqa: B023 (it is called within the loop)
            b.places.logout([number])
        assert [text for fd, _, text in a.got if fd == 5] == [b"%d" % number for number in range(5, 20)]
        assert b.got == [(number, 7, b"%d" % number) for number in range(1, 20)]
        assert (a.relay.missed, a.relay.extra, a.relay.gaps) == (0, 0, 0)

    run(test)


def test_who_comes_while_a_frame_is_on_its_way_gets_it_and_is_counted() -> None:
    async def test(net: Net) -> None:
        a = await net.start("a")
        a.places.login([1, 2], [7, 8])
        assert await net.head.publish((7, b"x"), (8, b"x")) == 2
        a.places.login([3, 4], [7, 7])
        a.places.logout([2])
        await until(lambda: len(a.got) == 3)
        assert (a.relay.extra, a.relay.missed) == (2 - 1, 0)  # of one frame: 2 were expected, and 3 found

    run(test)


def test_more_connections_than_a_report_brings_are_told_in_several() -> None:
    async def test(net: Net) -> None:
        a = await net.start("a")
        count = 2 * CHANGES + 5
        a.places.login(list(range(10, 10 + count)), list(range(1, count + 1)))
        assert await net.head.publish((1, b"x"), (count, b"y"), (count + 1, b"z")) == 2
        assert net.head.whereabouts.connections == count

    run(test)


def test_a_frame_that_is_lost_on_the_way_is_counted_and_what_follows_arrives() -> None:
    async def test(net: Net) -> None:
        a = await net.start("a")
        a.places.login([1, 2, 3], [7, 7, 8])
        net.broker.loses = lambda channel, data: channel == A and b"lost" in data
        assert await net.head.publish((7, b"lost"), (8, b"lost")) == 3
        assert await net.head.publish((7, b"kept")) == 2
        await until(lambda: len(a.got) == 2)
        await until(lambda: (figures := net.state("a").figures) and figures.gaps)
        assert (a.relay.gaps, a.relay.missed, a.relay.extra) == (1, 3, 0)
        assert net.state("a").outflow.in_window == 0

    run(test)


def test_a_frame_that_nobody_hears_is_sent_when_the_machine_is_there_again() -> None:
    async def test(net: Net) -> None:
        a = await net.start("a")
        a.places.login([1], [7])
        await net.head.machines.sync()
        net.broker.deaf.add(A)
        assert await net.head.publish((7, b"early")) == 1
        await trio.sleep(1)
        net.broker.deaf.clear()
        a.reporter.begin_anew()  # as a machine does whose link is up again
        assert await net.head.publish((7, b"late")) == 1
        await until(lambda: len(a.got) == 2)
        assert [text for _, _, text in a.got] == [b"early", b"late"]
        assert (a.relay.gaps, a.relay.missed) == (0, 0)

    run(test)


def test_a_machine_that_stands_still_has_its_window_waiting_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outflow, "WINDOW", 300_000)

    async def test(net: Net) -> None:
        a, b = await net.start("a"), await net.start("b")
        a.places.login([1], [7])
        b.places.login([1], [8])
        await net.head.machines.sync()
        net.broker.stand_still("a")
        for number in range(30):
            with trio.fail_after(4 * SYNC_SECONDS):  # that a machine is silent is paid for once
                assert await net.head.publish((8, b"%d" % number), *((7, b"x" * 60_000),) * 2) == 3
            assert net.broker.waiting[A] < 310_000
        await until(lambda: len(b.got) == 30)
        net.broker.go_on("a")
        await until(lambda: len(a.got) == 60)
        assert (a.relay.gaps, a.relay.missed) == (0, 0)

    run(test)


def test_a_machine_that_is_silent_is_given_up_and_comes_back_with_all_it_has() -> None:
    async def test(net: Net) -> None:
        a = await net.start("a")
        a.places.login([1, 2], [7, 8])
        await net.head.machines.sync()
        await trio.sleep(2 * SILENCE_SECONDS)
        assert net.is_there("a")
        net.broker.stand_still("a")
        a.places.login([3], [9])
        await until(lambda: not net.is_there("a"))
        lost = net.state("a").show()
        assert (lost.times_lost, lost.connections_lost) == (1, 2)
        assert await net.head.publish((7, b"x"), (9, b"x")) == 0
        net.broker.go_on("a")
        await until(lambda: net.is_there("a"))
        assert await net.head.publish((7, b"x"), (9, b"x")) == 2
        assert [words.partition(";")[0] for words in net.head.notices] == [
            "the front machine a is there",
            f"the front machine a has said nothing for {SILENCE_SECONDS:.0f} s and is given up",
            "the front machine a is there",
        ]

    run(test)


def test_a_report_whose_answer_is_lost_begins_a_session_anew() -> None:
    async def test(net: Net) -> None:
        a = await net.start("a")
        a.places.login([1], [7])
        await net.head.machines.sync()
        session = net.state("a").hello
        lost: list[bytes] = []

        def loses(channel: str, data: bytes) -> bool:
            if b'"heard"' in data and not lost:
                lost.append(data)
            return data in lost

        net.broker.loses = loses
        await until(lambda: net.state("a").hello not in (None, session))
        assert await net.head.publish((7, b"x")) == 1
        assert net.state("a").times_lost == 0

    run(test)


def test_what_was_said_in_another_session_is_passed_over() -> None:
    async def test(net: Net) -> None:
        a = await net.start("a")
        a.reporter.obey(Heard("another", 10**6))
        await net.broker.publish(dialogue.ROUTER, encode(dialogue.Report("a", "another", 1, 10**6, 0, True, 0)))
        await net.broker.publish(dialogue.ROUTER, encode(dialogue.Goodbye("a", "another")))
        a.places.login([1], [7])
        await net.head.machines.sync()
        assert await net.head.publish((7, b"x")) == 1

    run(test)


def test_there_is_room_for_so_many_machines() -> None:
    async def test(net: Net) -> None:
        for name in ("a", "b"):
            await net.start(name)
        refused = await net.start("c")
        assert refused.refused.startswith("The router takes no front machine c: the router has room for 2 machines")

    run(test)


def test_a_machine_that_has_started_anew_has_its_slot_and_not_the_frames_of_before() -> None:
    async def test(net: Net) -> None:
        first = await net.start("a")
        first.places.login([1], [7])
        await net.head.machines.sync()
        net.broker.stand_still("a")
        assert await net.head.publish((7, b"x")) == 1
        await until(lambda: not net.is_there("a"))
        second = await net.start("a", life="another")
        second.places.login([1], [7])
        assert await net.head.publish((7, b"y")) == 1
        await until(lambda: second.got)
        assert [text for _, _, text in second.got] == [b"y"]
        assert net.state("a").outflow.lost == 1  # of a frame that was on its way to the first

    run(test)


def test_a_tick_goes_on_without_a_machine_that_is_silent() -> None:
    async def test(net: Net) -> None:
        a, b = await net.start("a"), await net.start("b")
        await net.head.machines.send_tick(1)
        assert a.ticks == b.ticks == [1]
        net.broker.stand_still("a")
        began = trio.current_time()
        await net.head.machines.send_tick(2)
        assert trio.current_time() - began < SILENCE_SECONDS
        await net.head.machines.send_tick(3)
        assert (a.ticks, b.ticks, net.head.machines.left_out) == ([1], [1, 2, 3], 1)
        net.broker.go_on("a")
        await until(lambda: a.ticks == [1, 2])
        await until(lambda: net.state("a").ticked == 2)
        await net.head.machines.send_tick(4)
        assert (a.ticks, b.ticks) == ([1, 2, 4], [1, 2, 3, 4])

    run(test)


def test_several_who_ask_at_a_time_wait_for_one_round() -> None:
    async def test(net: Net) -> None:
        await net.start("a")
        asked: list[bytes] = []

        def loses(channel: str, data: bytes) -> bool:
            if b'"sync"' in data:
                asked.append(data)
            return False

        net.broker.loses = loses
        async with trio.open_nursery() as tasks:
            for _ in range(50):
                tasks.start_soon(net.head.machines.sync)
        assert 1 <= len(asked) <= 2

    run(test)


def test_a_machine_that_speaks_but_hears_nothing_is_given_up_once() -> None:
    async def test(net: Net) -> None:
        a = await net.start("a")
        a.places.login([1], [7])
        await net.head.machines.sync()
        net.broker.loses = lambda channel, data: channel == A
        await trio.sleep(5 * SILENCE_SECONDS)
        shown = net.state("a").show()
        assert (shown.is_there, shown.times_lost, shown.connections_lost) == (False, 1, 1)
        net.broker.loses = lambda channel, data: False
        await until(lambda: net.is_there("a"))
        assert await net.head.publish((7, b"x")) == 1

    run(test)


def test_nobody_is_given_up_while_the_bus_does_not_answer() -> None:
    async def test(net: Net) -> None:
        await net.start("a")
        net.broker.stand_still("a")
        net.head.bus_seconds = 3 * SILENCE_SECONDS
        await trio.sleep(10 * SILENCE_SECONDS)
        assert net.state("a").times_lost == 0
        net.head.bus_seconds = 0.0
        await until(lambda: net.state("a").times_lost)

    run(test)
