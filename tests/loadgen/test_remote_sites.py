"""loadgen.cluster: packets, hosts and their sites: what is said is heard, and what is lost is accounted for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from floodtest.flyweight.errors import Refused, WorkerFault
from floodtest.loadgen.client.accounts import State, count_states, create_columns, map_columns
from floodtest.loadgen.cluster import host_messages as messages
from floodtest.loadgen.cluster.clock import SAME_CLOCK, Echo, offset_of
from floodtest.loadgen.cluster.host_relay import claim_share
from floodtest.loadgen.cluster.packets import MAX_PACKET, Unpacker, pack
from floodtest.loadgen.cluster.remote_host import RemoteHost
from floodtest.loadgen.cluster.remote_site import RemoteSite
from floodtest.loadgen.cluster.standing import sources_of, standing
from floodtest.loadgen.network.addresses import bring_up
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.run.reading import States, total
from floodtest.loadgen.run.site import Detail
from tests.loadgen.test_sites import TARGET, figures
from tests.rigs.figures import reading
from tests.rigs.namespaces import in_a_namespace

# -- packets ---------------------------------------------------------------------------------------------------------


PACKETS = [b"", b"a", bytes(1000)]


@pytest.mark.parametrize("size", [1, 3, 5000])
def test_packets_come_out_however_the_stream_is_cut(size: int) -> None:
    stream, unpacker = b"".join(map(pack, PACKETS)), Unpacker()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [packet for piece in pieces for packet in unpacker.feed(piece)] == PACKETS


def test_no_packet_is_larger_than_the_bound() -> None:
    with pytest.raises(WorkerFault, match="larger than"):
        pack(bytes(MAX_PACKET + 1))
    with pytest.raises(WorkerFault, match="was announced"):
        Unpacker().feed((MAX_PACKET + 1).to_bytes(4, "big"))


def test_options_with_paths_can_be_sent() -> None:
    order = messages.Prepare(RunOptions(Plan(1, 10, "127.0.0.1", 2000, 10), out=Path("somewhere"), rate=2.5))
    assert messages.decode_order(messages.encode(order)) == order


# -- clocks, shares, sources -----------------------------------------------------------------------------------------


def test_the_quickest_echo_tells_the_offset_and_its_bound() -> None:
    found = offset_of([Echo(10.0, 10.5, 1010.4), Echo(11.0, 11.002, 1011.001), Echo(12.0, 12.1, 1012.0)])
    assert found.ahead == pytest.approx(-1000.0)
    assert found.bound == pytest.approx(0.001)


def test_a_share_is_had_once(tmp_path: Path) -> None:
    claim_share(tmp_path / "shares", "run-0")
    claim_share(tmp_path / "shares", "run-1")
    with pytest.raises(FileExistsError):
        claim_share(tmp_path / "shares", "run-0")


def test_this_process_shares_all_with_itself() -> None:
    here = standing()
    assert here.shares_network_with(standing())
    assert here.shares_clock_with(standing())


def test_sources_are_those_of_the_plan_a_device_or_the_way_to_the_target() -> None:
    options = RunOptions(Plan(3, 10, "127.0.1.1", 2000, 10))
    assert sources_of(options, None) == ("127.0.1.1", 3)
    assert sources_of(options, "lo")[0] == "127.0.0.1"
    with pytest.raises(Refused, match="There is no device 'nosuch'"):
        sources_of(options, "nosuch")


@in_a_namespace
def test_sources_are_the_way_to_the_servers_of_a_ring() -> None:
    """Whatever the target is called, which says what is asked for there."""
    bring_up(["10.0.0.1", "10.0.0.2"])
    plan, url = Plan(3, 10, "127.0.1.1", 2000, 10), "http://nobody.example/{user}"
    assert sources_of(RunOptions(plan, target=url, ring="10.0.0.2:8000,10.0.0.1"), None) == ("10.0.0.2", 1)
    assert sources_of(RunOptions(plan, target="http://10.0.0.1/{user}"), None) == ("10.0.0.1", 1)
    assert sources_of(RunOptions(plan, target=url), None) == ("127.0.1.1", 3)


# -- a host and its site ---------------------------------------------------------------------------------------------


class Wire:
    """The way to a host that says nothing by itself: what is sent to it is kept."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self._unpacker = Unpacker()
        self.host = RemoteHost("tcp://10.0.0.1:4000", "h1", self._take)

    async def _take(self, data: bytes) -> None:
        self.sent += map(messages.decode_order, self._unpacker.feed(data))

    def say(self, *said: messages.FromHost) -> None:
        self.host.hear(b"".join(pack(messages.encode(one)) for one in said))


def site_of(wire: Wire, folder: Path, before: int = 0, count: int = 100, **options: Any) -> RemoteSite:
    return RemoteSite(wire.host, SAME_CLOCK, folder, before, count, marks=None, finds_target=False, **options)


def on_virtual_time(function: Any) -> None:
    trio.run(function, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_host_that_is_silent_is_lost_and_stays_so() -> None:
    wire = Wire()

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(wire.host.keep_in_touch)
            for _ in range(20):
                await trio.sleep(messages.SILENCE - 1)
                wire.say(messages.Quiet())
            assert wire.host.why_lost is None
            began = trio.current_time()
            await wire.host.lost.wait()
            assert messages.SILENCE <= trio.current_time() - began <= messages.SILENCE + 2
        wire.say(messages.Said(reading(10)))
        assert wire.host.reading is None
        assert wire.host.why_lost is not None
        assert wire.host.why_lost.startswith("nothing was heard of it for")

    on_virtual_time(main)
    assert wire.sent.count(messages.Alive()) >= 20 * (messages.SILENCE - 1)


def test_what_can_not_be_understood_loses_a_host() -> None:
    async def main() -> None:
        for said in (pack(b"\xc1"), (1 << 30).to_bytes(4, "big")):
            wire = Wire()
            wire.host.hear(said)
            assert "can't be understood" in (wire.host.why_lost or "")

    on_virtual_time(main)


@pytest.mark.parametrize(("is_refusal", "kind"), [(True, Refused), (False, WorkerFault)])
def test_a_host_that_can_not_do_what_it_is_asked_for_says_why(is_refusal: bool, kind: type[Exception]) -> None:
    wire = Wire()

    async def main() -> None:
        wire.say(messages.Unable("There is no room.", is_refusal))
        with pytest.raises(kind, match=r"h1: There is no room\."):
            await wire.host.expect(messages.Examined)

    on_virtual_time(main)


def test_orders_are_sent_and_waited_for(tmp_path: Path) -> None:
    wire = Wire()
    create_columns(tmp_path, 150)
    states, ports = map_columns(tmp_path, 1, 150)

    async def main() -> None:
        site = site_of(wire, tmp_path, before=50)
        async with site.attached(), trio.open_nursery() as tasks:
            tasks.start_soon(site.open, TARGET, True)
            await trio.testing.wait_all_tasks_blocked()
            wire.say(messages.Done("open", reading(states=States(100, 0, 0, 0, 0))))
            await trio.testing.wait_all_tasks_blocked()
            tasks.start_soon(site.ramp, 5.0)
            await trio.testing.wait_all_tasks_blocked()
            wire.say(messages.Said(reading(states=States(50, 0, 50, 0, 0))))
            assert (await site.read(Detail.ACCOUNTS)).states.open == 50
            wire.say(messages.Done("ramp", reading(100)))
            await trio.testing.wait_all_tasks_blocked()
            wire.say(
                messages.Column("states.u8", 0, bytes([2] * 60)),
                messages.Column("states.u8", 60, bytes([2] * 40)),
                messages.Column("ports.u16", 0, np.arange(100, dtype="<u2").tobytes()),
                messages.ColumnsSent(1),
            )
            await trio.testing.wait_all_tasks_blocked()
            assert not tasks.child_tasks

    on_virtual_time(main)
    kinds = [type(order) for order in wire.sent]
    assert kinds == [messages.Open, messages.Ramp, messages.SendColumns, messages.Leave]
    assert wire.sent[1].start == 5.0
    assert states.tolist() == [0] * 50 + [2] * 100
    assert ports.tolist() == [0] * 50 + list(range(100))


def test_columns_that_were_asked_for_before_are_not_those_that_are_waited_for() -> None:
    wire = Wire()

    async def main() -> None:
        with trio.move_on_after(1):
            await wire.host.fetch_columns()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(wire.host.fetch_columns)
            await trio.testing.wait_all_tasks_blocked()
            wire.say(messages.ColumnsSent(1))
            await trio.testing.wait_all_tasks_blocked()
            assert tasks.child_tasks
            wire.say(messages.ColumnsSent(2))

    on_virtual_time(main)


def test_a_piece_of_a_column_beyond_its_end_changes_nobody_elses(tmp_path: Path) -> None:
    wire = Wire()
    create_columns(tmp_path, 20)

    async def main() -> None:
        site_of(wire, tmp_path, count=10)
        wire.say(messages.Column("states.u8", 5, bytes([2] * 10)), messages.Column("states.u8", 100, bytes([2] * 10)))

    on_virtual_time(main)
    assert map_columns(tmp_path, 1, 20)[0].tolist() == [0] * 5 + [2] * 5 + [0] * 10


def test_a_lost_host_takes_its_connections_along_and_the_accounts_add_up(tmp_path: Path) -> None:
    wire = Wire()
    create_columns(tmp_path, 100)
    states, _ = map_columns(tmp_path, 1, 100)

    async def main() -> None:
        site = site_of(wire, tmp_path)
        wire.say(
            messages.Column("states.u8", 0, bytes([2] * 90 + [1] * 10)),
            messages.Said(
                reading(states=States(5, 7, 80, 6, 2), failed={"cut@response": 6}, closed_by={"cut": 2}, opens=82)
            ),
        )
        wire.host.lose("nothing was heard of it for 8 s")
        for order in (site.ramp(0.0), site.halt(), site.close(), site.wait_until_empty()):
            with trio.fail_after(1):
                await order
        found = await site.read(Detail.EVERYTHING)
        assert found.states == States(5, 0, 0, 13, 82)
        assert found.failed == {"cut@response": 6, "HOST_LOST@host": 7}
        assert found.closed_by == {"cut": 2, "HOST_LOST": 80}
        assert found.reasons == [
            "h1: host lost: nothing was heard of it for 8 s; 87 connections went with it (tcp://10.0.0.1:4000)"
        ]
        assert sum(found.failed.values()) == found.states.failed
        assert sum(found.closed_by.values()) == found.states.closed_early

    on_virtual_time(main)
    counts = count_states(states)
    assert [counts[state] for state in State] == [5, 0, 0, 13, 82]


def test_a_host_lost_while_it_closes_has_held_its_connections(tmp_path: Path) -> None:
    wire = Wire()
    create_columns(tmp_path, 100)

    async def main() -> None:
        site = site_of(wire, tmp_path)
        wire.say(messages.Said(reading(100)))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(site.close)
            await trio.testing.wait_all_tasks_blocked()
            wire.host.lose("its process ended by signal 9")
        found = await site.read(Detail.ACCOUNTS)
        assert found.states == States(0, 0, 100, 0, 0)
        assert "while it closed" in found.reasons[0]

    on_virtual_time(main)


def test_what_hosts_of_one_machine_say_of_it_counts_once(tmp_path: Path) -> None:
    create_columns(tmp_path, 200)

    async def main() -> None:
        said = []
        for number in range(2):
            wire = Wire()
            site = site_of(wire, tmp_path, 100 * number, tells_machine=not number, tells_network=not number)
            wire.say(messages.Said(reading(100, figures=figures(slab=7, client_private=3, tcp_inuse=11, slab_tcp=5))))
            said.append(await site.read(Detail.FIGURES))
        both = total(said).figures
        assert both is not None
        assert (both.slab, both.client_private, both.tcp_inuse, both.slab_tcp, both.slab_filp) == (7, 6, 11, 5, None)

    on_virtual_time(main)


def test_a_site_is_short_of_memory_when_its_host_says_so(tmp_path: Path) -> None:
    wire = Wire()
    create_columns(tmp_path, 100)

    async def main() -> None:
        site = site_of(wire, tmp_path)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(site.wait_until_short)
            wire.say(messages.Said(reading(100)))
            await trio.testing.wait_all_tasks_blocked()
            assert tasks.child_tasks
            wire.say(messages.Short(reading(100, reasons=["memory: the run was ended early"])))
        assert (await site.read(Detail.ACCOUNTS)).reasons == ["h1: memory: the run was ended early"]

    on_virtual_time(main)
