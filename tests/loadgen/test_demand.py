"""loadgen.preflight.demand: what a run is predicted to take, against what runs took."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.machine import files as limits
from floodtest.loadgen.client.poll_timing import Pollers
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.choices import Link
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.models import POLL_BYTES
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.pacer import steady
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight import demand as demand_module
from floodtest.loadgen.preflight.demand import QUEUED_BYTES, Demand, Traffic, demand_of, forecast
from floodtest.loadgen.preflight.fit import obstacles
from floodtest.loadgen.preflight.subscription_sizes import (
    NO_SUBSCRIPTIONS,
    PAIR_BYTES,
    SubscriptionSizes,
    sizes_of,
)
from floodtest.wire.poll_options import Polling
from floodtest.wire.poll_requests import Polls
from floodtest.wire.template import RequestTemplate
from tests.rigs.host import FakeMachine

MIB = 1 << 20


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A machine of two cores, on which threads may have files of their own."""
    monkeypatch.setattr(limits, "cores", lambda: 2)
    monkeypatch.setattr("floodtest.loadgen.preflight.machine.cores", lambda: 2)
    monkeypatch.setattr(demand_module, "can_unshare_files", lambda: True)
    return FakeMachine(tmp_path)


def plan(connections: int, base_ip: str = "127.0.1.1") -> Plan:
    return Plan(17, 62_000, base_ip, 1024, connections)


MEASURED = 1_054_000 * (8412 + 71 + 91)
"""Kernel of both ends, user memory of the server and of the client (docs/benchmarks.md)."""


@pytest.mark.parametrize("readable", [True, False])
def test_a_million_takes_what_it_took(fake: FakeMachine, readable: bool) -> None:
    if readable:
        fake.slabs()
    found = forecast(Demand(plan(1_054_000)), fake.machine())
    assert found.total == pytest.approx(MEASURED, rel=0.03)
    assert (found.client_workers, found.server_workers) == (54, 54)
    assert found.client_user == pytest.approx(91 * 1_054_000, rel=0.1)
    assert found.server_user == pytest.approx(71 * 1_054_000, rel=0.1)
    assert found.kernel_source.startswith("/sys/kernel/slab" if readable else "those of Linux 6.18")


def test_a_task_a_connection_takes_kibibytes(fake: FakeMachine) -> None:
    columns = forecast(Demand(plan(100_000)), fake.machine())
    tasks = forecast(Demand(plan(100_000), client_model="httpx", server_model="tasks"), fake.machine())
    assert columns.server_user is not None
    assert tasks.server_user is not None
    assert (tasks.server_user - columns.server_user) // 100_000 == 8 * 1024 - 5
    assert (tasks.client_user - columns.client_user) // 100_000 == 24 * 1024 - 17


def test_polls_take_what_their_columns_have_for_each_descriptor(fake: FakeMachine) -> None:
    """Where a cursor has 32 bytes or less; a longer one widens its column."""
    polling = Polling(1.0, 1.0)
    polls = Polls(RequestTemplate(b"/"), lambda name: pytest.fail(name), 1000, polling)
    pollers = Pollers(polls, polling, 1000, has_to_be_held=True)
    columns = [polls._cursors._column, pollers._pause_of, pollers._has_paused]
    assert sum(column.nbytes for column in columns) == 1000 * POLL_BYTES
    without = forecast(Demand(plan(100_000)), fake.machine())
    found = forecast(Demand(plan(100_000), polls=True), fake.machine())
    assert found.client_user - without.client_user == found.total - without.total == 100_000 * POLL_BYTES


def test_kinds_add_up(fake: FakeMachine) -> None:
    fake.slabs()
    found = forecast(Demand(plan(100_000)), fake.machine())
    assert found.server_user is not None
    assert found.total == found.client_user + found.server_user + sum(found.kernel.values())
    assert found.kernel["TCP sockets"] == 200_000 * 32_768 // 13


def test_sizes_are_those_of_this_kernel(fake: FakeMachine) -> None:
    fake.slabs()
    before = forecast(Demand(plan(100_000)), fake.machine()).kernel["TCP sockets"]
    fake.write("sys/kernel/slab/TCP/objs_per_slab", "26\n")
    assert forecast(Demand(plan(100_000)), fake.machine()).kernel["TCP sockets"] == before // 2


def test_what_this_kernel_has_not_got_takes_nothing(fake: FakeMachine) -> None:
    fake.slabs()
    fake.write("sys/kernel/slab/tcp_bind2_bucket/objs_per_slab", "")
    fake.write("sys/kernel/slab/tcp_bind_bucket/objs_per_slab", "")
    assert forecast(Demand(plan(100_000)), fake.machine()).kernel["source pairs"] == 0


def test_sockets_of_ipv6_are_larger(fake: FakeMachine) -> None:
    fake.slabs()
    four, six = (forecast(Demand(plan(1000, base)), fake.machine()).kernel for base in ("127.0.1.1", "fd00::1"))
    assert six["TCP sockets"] > four["TCP sockets"]


def test_a_server_elsewhere_takes_nothing_here(fake: FakeMachine) -> None:
    here = forecast(Demand(plan(100_000)), fake.machine())
    there = forecast(Demand(plan(100_000), bundled=False, server_here=False), fake.machine())
    assert (there.server_user, there.server_workers) == (None, None)
    assert there.kernel["TCP sockets"] * 2 == here.kernel["TCP sockets"]
    assert there.total < 0.6 * here.total
    assert there.ramp_seconds < here.ramp_seconds


def test_processes_cost_more_than_threads(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = forecast(Demand(plan(1_054_000)), fake.machine())
    monkeypatch.setattr(demand_module, "can_unshare_files", lambda: False)
    assert forecast(Demand(plan(1_054_000)), fake.machine()).client_user > 2 * threads.client_user


def test_a_table_of_its_own_counts(fake: FakeMachine) -> None:
    shared, own = (forecast(Demand(plan(1000), hash_entries=entries), fake.machine()) for entries in (None, 1 << 22))
    assert own.total - shared.total == own.hash_table == 8 << 22


def test_messages_that_wait_to_be_read_are_in_the_sum_and_not_in_what_is_held(fake: FakeMachine) -> None:
    """A tick waits at all connections at once; of single messages those of a second wait, one a connection at most."""
    queued, users = QUEUED_BYTES, 100_000
    store = SubscriptionSizes(int(15 * users * PAIR_BYTES) + 1)
    for traffic, subscriptions, expected in (
        (Traffic(), store, 0),
        (Traffic(ticks=True), NO_SUBSCRIPTIONS, users * queued),
        (Traffic(messages=50.0, size=100), NO_SUBSCRIPTIONS, 50 * (queued + 100)),
        (Traffic(messages=50.0), store, 50 * 16 * queued),
        (Traffic(messages=50_000.0), store, users * queued),
        (Traffic(messages=0.5, to_all=True), NO_SUBSCRIPTIONS, users // 2 * queued),
        (Traffic(True, 50.0), NO_SUBSCRIPTIONS, users * queued),
    ):
        found = forecast(Demand(plan(users), traffic=traffic, subscriptions=subscriptions), fake.machine())
        assert found.queued == pytest.approx(expected, rel=1e-3)
        assert found.total == found.held + found.queued + found.store
        assert found.store == subscriptions.store


def test_what_loads_friends_counts_where_it_takes_more_than_the_run(fake: FakeMachine) -> None:
    loading = SubscriptionSizes(80 * MIB, 600 * MIB)
    small, large = (forecast(Demand(plan(n), subscriptions=loading), fake.machine()) for n in (1000, 1_000_000))
    assert small.most == 600 * MIB > small.total
    assert large.most == large.total > 600 * MIB
    fake.memory(total=2, available=1)
    (obstacle,) = obstacles(fake.machine(), Demand(plan(1000), subscriptions=loading))
    assert obstacle.check.name.startswith("memory available")
    assert "600 MiB needed" in obstacle.sentence()
    assert "the loading of --friends" in obstacle.sentence()


def test_connections_that_a_rule_tracks_have_an_entry_each(fake: FakeMachine) -> None:
    fake.set("net/netfilter/nf_conntrack_max", "2000000")
    fake.set("net/netfilter/nf_conntrack_count", "7")
    found = forecast(Demand(plan(1000)), fake.machine())
    assert found.kernel["tracked connections"] == 256_000
    assert "tracked connections" not in forecast(Demand(plan(1000), isolated=True), fake.machine()).kernel


@pytest.mark.parametrize("connections", [10_000, 100_000, 1_054_000, 2_600_000])
def test_one_more_costs_as_much_at_any_size(fake: FakeMachine, connections: int) -> None:
    """A worker is added for each 19,872, and a port's entry in a table for each of the first 62,000."""
    each = (62_000, "127.0.1.1", 1024)
    fewer, more = (forecast(Demand(Plan(50, *each, n)), fake.machine()) for n in (connections, connections + 19_872))
    assert (more.total - fewer.total) / 19_872 == pytest.approx(8_440, rel=0.02)


@pytest.mark.parametrize(("link", "entries"), [("loopback", 1 << 22), ("veth", 2 << 22)])
def test_two_networks_have_a_table_each(link: Link, entries: int) -> None:
    options = RunOptions(plan(1000))
    assert demand_of(options, None, Network("isolated", link, 1 << 22)).hash_entries == entries
    assert demand_of(options, None, Network("isolated", link)).hash_entries is None


def test_a_demand_has_what_the_options_ask_for(tmp_path: Path) -> None:
    (friends := tmp_path / "friends.txt").write_text("1 2\n" * 1000)
    options = RunOptions(plan(1000), tick=1.0, messages=MessageOptions(20.0, size=70), friends=friends)
    found = demand_of(options, None)
    assert (found.traffic, found.polls) == (Traffic(True, 20.0, False, 70), False)
    assert found.subscriptions == sizes_of(friends, None)
    assert not demand_of(RunOptions(plan(1000)), None).traffic


def test_the_ramp_takes_as_long_as_planned_or_as_the_cores_need(fake: FakeMachine) -> None:
    machine = fake.machine()
    assert forecast(Demand(plan(100_000), pacer=steady(None)), machine).ramp_seconds == pytest.approx(4.0)
    assert forecast(Demand(plan(100_000), pacer=steady(1000)), machine).ramp_seconds == pytest.approx(100, abs=0.1)


@given(st.integers(1, 1_000_000), st.integers(1, 50_000), st.integers(256, 1_000_000))
def test_fewer_connections_never_take_more(connections: int, fewer: int, files: int) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        fake = FakeMachine(Path(folder))
        fake.files(1024, files)
        machine, all_of_them = fake.machine(), Demand(plan(connections))
        less = all_of_them.of(max(1, connections - fewer))
        assert forecast(less, machine).total <= forecast(all_of_them, machine).total
