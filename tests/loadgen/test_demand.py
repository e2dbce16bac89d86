"""loadgen.preflight.demand: what a run is predicted to take, against what runs took."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.machine import files as limits
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.choices import Link
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.pacer import steady
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight import demand as demand_module
from floodtest.loadgen.preflight.demand import Demand, demand_of, forecast
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


@pytest.mark.parametrize(("link", "entries"), [("loopback", 1 << 22), ("veth", 2 << 22)])
def test_two_networks_have_a_table_each(link: Link, entries: int) -> None:
    options = RunOptions(plan(1000))
    assert demand_of(options, None, Network("isolated", link, 1 << 22)).hash_entries == entries
    assert demand_of(options, None, Network("isolated", link)).hash_entries is None


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
