"""loadgen.run.site, reading, local_site: sites are added up, and a run needs nothing of them but their interface."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import trio
import trio.testing

from floodtest.analysis import load
from floodtest.flyweight.errors import WorkerFault
from floodtest.loadgen.client.accounts import count_states
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.targets import Target
from floodtest.loadgen.run import conductor
from floodtest.loadgen.run.local_site import LocalSite, replaced_ports
from floodtest.loadgen.run.reading import (
    Counters,
    Figures,
    Negative,
    Reading,
    ReceivedTick,
    States,
    by_this_clock,
    total,
)
from floodtest.loadgen.run.site import Detail, Sites
from floodtest.wire.template import RequestTemplate
from tests.rigs.figures import reading
from tests.rigs.support import OUR_NETWORK

TARGET = Target((("127.0.0.1", 8000),), RequestTemplate(b"/{user}"), "127.0.0.1:8000")


def figures(**changes: Any) -> Figures:
    return Figures(**{**dict.fromkeys(Figures.__struct_fields__[:14], 1), **changes})


# -- readings --------------------------------------------------------------------------------------------------------


FULL = reading(
    failed={"ECONNREFUSED@connect": 2},
    closed_by={"cut": 3},
    ticks={7: ReceivedTick(10, 1.5, 2.5)},
    latency={5: 9, 300: 1},
    reasons=["memory: the ramp was ended"],
    figures=figures(slab_tcp=12),
)


def test_a_reading_can_be_sent_over_a_network() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(FULL), type=Reading) == FULL
    assert msgspec.json.decode(msgspec.json.encode(FULL), type=Reading) == FULL


def test_the_total_of_one_site_is_what_it_says() -> None:
    assert total([FULL]) == FULL


def test_what_took_less_than_no_time_is_added_up_and_its_most_is_that_of_any() -> None:
    added = total([reading(negative=Negative(1, 2, 30)), reading(), reading(negative=Negative(5, 6, 7))])
    assert added.negative == Negative(6, 8, 30)


def test_times_of_a_site_elsewhere_are_told_by_this_hosts_clock() -> None:
    there = reading(
        ticks={7: ReceivedTick(10, 1001.5, 1002.5)}, first_message_ns=10**12 + 5, last_message_ns=10**12 + 9
    )
    here = by_this_clock(there, 10**12)
    assert here == reading(ticks={7: ReceivedTick(10, 1.5, 2.5)}, first_message_ns=5, last_message_ns=9)
    assert by_this_clock(here, -(10**12)) == there
    assert by_this_clock(reading(), 10**12) == reading()


def test_sites_are_added_up() -> None:
    one = reading(
        states=States(1, 2, 3, 4, 5),
        counters=Counters(10, 20, 30, 40, 50, 60, 70),
        failed={"cut@response": 3, "EMFILE@bind": 1},
        closed_by={"cut": 5},
        latency={0: 4, 7: 1},
        latency_published={1: 1},
        first_message_ns=500,
        last_message_ns=900,
        replaced_ports=3,
        begun=4,
        put_off=8,
        workers=2,
        files_limit=20_000,
        reasons=["one"],
        figures=figures(client_cpu=0.5, slab_tcp=100),
    )
    two = reading(
        states=States(10, 20, 30, 40, 50),
        counters=Counters(1, 2, 3, 4, 5, 6, 7),
        failed={"cut@response": 40},
        latency={7: 2},
        first_message_ns=400,
        last_message_ns=800,
        replaced_ports=4,
        workers=3,
        files_limit=1024,
        reasons=["two"],
        figures=figures(client_cpu=1.5, slab_tcp=None),
    )
    both = total([one, two])
    assert both.states == States(11, 22, 33, 44, 55)
    assert both.states.planned == one.states.planned + two.states.planned
    assert both.counters == Counters(11, 22, 33, 44, 55, 66, 77)
    assert both.failed == {"cut@response": 43, "EMFILE@bind": 1}
    assert (both.closed_by, both.latency, both.latency_published) == ({"cut": 5}, {0: 4, 7: 3}, {1: 1})
    assert (both.first_message_ns, both.last_message_ns) == (400, 900)
    assert (both.replaced_ports, both.begun, both.put_off, both.workers, both.files_limit) == (7, 6, 8, 5, 1024)
    assert both.reasons == ["one", "two"]
    assert both.figures is not None
    assert (both.figures.client_cpu, both.figures.slab, both.figures.slab_tcp) == (2.0, 2, None)


def test_a_site_without_messages_is_not_the_first_to_have_read_one() -> None:
    assert total([reading(), reading(first_message_ns=7)]).first_message_ns == 7
    assert total([reading(), reading()]).first_message_ns == 0


def test_a_tick_lasts_from_the_first_delivery_at_any_site_to_the_last_at_any() -> None:
    one = reading(ticks={1: ReceivedTick(10, 1.0, 2.0), 2: ReceivedTick(10, 5.0, 6.0)})
    two = reading(ticks={2: ReceivedTick(7, 4.0, 5.5), 3: ReceivedTick(1, 9.0, 9.0)})
    assert total([one, two]).ticks == {
        1: ReceivedTick(10, 1.0, 2.0),
        2: ReceivedTick(17, 4.0, 6.0),
        3: ReceivedTick(1, 9.0, 9.0),
    }


def test_figures_that_one_site_could_not_read_are_not_those_of_all() -> None:
    assert total([reading(figures=figures()), reading()]).figures is None


# -- ports -----------------------------------------------------------------------------------------------------------


PLAN = Plan(2, 600, "127.0.1.1", 1024, 1000)
PORTS = np.array([PLAN.pair(user)[1] for user in range(1, PLAN.connections + 1)], np.uint16)


def test_ports_that_are_not_the_planned_ones_were_replaced() -> None:
    ports = PORTS.copy()
    assert replaced_ports(PLAN, ports) == 0
    ports[0] = 5000
    ports[599] = 5001
    ports[600] = 1025
    ports[999] = 0
    assert replaced_ports(PLAN, ports) == 3


@pytest.mark.parametrize("ports", ["explicit", "kernel"])
def test_nothing_is_replaced_where_the_kernel_chooses(ports: Any, tmp_path: Path) -> None:
    site = LocalSite(RunOptions(PLAN, ports=ports), tmp_path, [], workers=1, files_limit=1024)
    site._ports[:] = 40_000

    async def main() -> Reading:
        async with site.attached():
            await site.halt()
            return await site.read(Detail.ACCOUNTS)

    assert trio.run(main).replaced_ports == (0 if ports == "kernel" else 1000)


# -- sites -----------------------------------------------------------------------------------------------------------


class Scripted:
    """A site that notes what it is told, and takes `seconds` for each of it."""

    def __init__(self, seconds: float, heard: list[str], said: Reading, cannot_open: bool = False) -> None:
        self._seconds = seconds
        self._heard = heard
        self._said = said
        self._cannot_open = cannot_open

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[None]:
        yield
        self._heard.append("left")

    async def open(self, target: Target, reset_at_end: bool) -> None:
        if self._cannot_open:
            raise WorkerFault("It did not come up.")
        await self._do("open")

    async def ramp(self, start: float) -> None:
        await self._do("ramp")

    async def wait_until_empty(self) -> None:
        await self._do("empty")

    async def wait_until_short(self) -> None:
        await self._do("short")

    async def halt(self) -> None:
        await self._do("halt")

    async def close(self) -> None:
        await self._do("close")

    async def _do(self, what: str) -> None:
        await trio.sleep(self._seconds)
        self._heard.append(what)

    async def read(self, detail: Detail) -> Reading:
        await trio.sleep(self._seconds)
        return self._said


def test_orders_reach_all_sites_at_once_and_are_waited_for() -> None:
    heard: list[str] = []

    async def main() -> None:
        quick = Scripted(1, heard, reading(10, reasons=["quick"]))
        sites = Sites([Scripted(3, heard, reading(20, reasons=["slow"])), quick])
        async with sites.attached():
            for order in (sites.open(TARGET, True), sites.ramp(0), sites.wait_until_empty(), sites.halt()):
                began = trio.current_time()
                await order
                assert trio.current_time() - began == pytest.approx(3)
            both = await sites.read(Detail.EVERYTHING)
            assert both.states.open == 30
            assert both.reasons == ["slow", "quick"]  # in the order of the sites, whoever answers first
            await sites.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert heard == [word for word in ("open", "ramp", "empty", "halt", "close", "left") for _ in range(2)]


def test_the_first_site_that_is_short_of_memory_is_enough() -> None:
    heard: list[str] = []

    async def main() -> None:
        await Sites([Scripted(seconds, heard, reading()) for seconds in (5, 2, 9)]).wait_until_short()
        assert trio.current_time() == pytest.approx(2)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert heard == ["short"]


def test_a_site_that_does_not_open_is_an_end_to_opening_the_others() -> None:
    heard: list[str] = []

    async def main() -> None:
        await Sites([Scripted(1, heard, reading()), Scripted(1, heard, reading(), True)]).open(TARGET, False)

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert caught.group_contains(WorkerFault)
    assert heard == []


class Afar:
    """A site that has nothing but the interface, and of which only bytes arrive."""

    def __init__(self, *made_of: Any) -> None:
        self._site = LocalSite(*made_of)

    def attached(self) -> AbstractAsyncContextManager[None]:
        return self._site.attached()

    async def open(self, target: Target, reset_at_end: bool) -> None:
        await self._site.open(target, reset_at_end)

    async def ramp(self, start: float) -> None:
        await self._site.ramp(start)

    async def wait_until_empty(self) -> None:
        await self._site.wait_until_empty()

    async def wait_until_short(self) -> None:
        await self._site.wait_until_short()

    async def halt(self) -> None:
        await self._site.halt()

    async def close(self) -> None:
        await self._site.close()

    async def read(self, detail: Detail) -> Reading:
        said = msgspec.msgpack.encode(await self._site.read(detail))
        return msgspec.msgpack.decode(said, type=Reading)


@pytest.mark.usefixtures("forks")
def test_a_run_needs_no_more_of_a_site_than_its_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conductor, "LocalSite", Afar)
    options = RunOptions(Plan(1, 200, f"{OUR_NETWORK}.9", 2000, 200), hold=0.5, tick=0.2, interval=0.1, out=tmp_path)
    summary = trio.run(conductor.Run(options).execute)
    assert (summary.outcome, summary.connections.opened, summary.received) == (
        "ok",
        200,
        200 * (1 + len(summary.ticks)),
    )
    assert len(summary.ticks) >= 2
    record = load(summary.run)
    assert record.summary == summary
    assert set(count_states(record.read_states()).values()) == {0, 200}
