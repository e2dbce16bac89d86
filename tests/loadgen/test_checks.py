"""loadgen.preflight.checks and preflight: what is found on machines made of files, how many connections fit, and
why.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from floodtest.flyweight.errors import ExitCode, Refused
from floodtest.flyweight.machine.headroom import Reserve
from floodtest.flyweight.processes.worker_count import MAX_WORKERS, workers_for
from floodtest.loadgen.plan.plan import HOST_PORTS, Plan
from floodtest.loadgen.preflight.checks import CHECKS, examine
from floodtest.loadgen.preflight.demand import Demand, Traffic, forecast
from floodtest.loadgen.preflight.fit import fit, obstacles, refuse_what_does_not_fit
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.preflight.ports import ports_to_avoid
from floodtest.loadgen.preflight.verdicts import Verdict
from floodtest.loadgen.run.journal import host_facts
from tests.rigs.host import FakeMachine

GIB = 1 << 30
MILLION = Demand(Plan(17, 62_000, "127.0.1.1", 1024, 1_054_000))


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def found(fake: FakeMachine, name: str, demand: Demand = MILLION) -> Verdict:
    """Return what the one check finds whose name begins so."""
    (verdict,) = [verdict for verdict in examine(fake.machine(), demand) if verdict.check.name.startswith(name)]
    return verdict


def names(fake: FakeMachine, demand: Demand = MILLION) -> set[str]:
    """Return the checks that would stop a run."""
    return {verdict.check.name for verdict in obstacles(fake.machine(), demand)}


def test_a_machine_of_24_gib_holds_a_million_out_of_the_box(fake: FakeMachine) -> None:
    assert names(fake) == set()
    assert fit(fake.machine(), MILLION).connections == 1_054_000


def test_every_row_has_a_reason_and_a_source_and_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) >= 20
    for check in CHECKS:
        assert len(check.reason) > 20, check.name
        assert check.source, check.name


def test_a_machine_without_anything_to_read_is_not_judged(tmp_path: Path) -> None:
    fake = FakeMachine(tmp_path)
    for path in sorted((fake.proc / "sys").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert names(fake) == set()


def test_memory_bounds_what_fits_and_is_named(fake: FakeMachine) -> None:
    fake.memory(total=8, available=4)
    bound = fit(fake.machine(), MILLION)
    assert 300_000 < bound.connections < 450_000
    assert bound.reason.startswith("memory available, beyond the reserve: 3,584 MiB, and at least 8,")
    assert forecast(MILLION.of(bound.connections), fake.machine()).total < 3.5 * GIB


def test_what_is_named_as_fitting_does_not_fail_by_a_hair(fake: FakeMachine) -> None:
    fake.memory(total=8, available=4)
    bound = fit(fake.machine(), MILLION).connections
    fake.memory(total=8, available=3.9)
    assert names(fake, MILLION.of(bound)) == set()


def test_a_greater_reserve_leaves_room_for_fewer(fake: FakeMachine) -> None:
    fake.memory(total=8, available=4)
    usual, greater = (fit(fake.machine(reserve), MILLION) for reserve in (Reserve(), Reserve(0.0, 2 * GIB)))
    assert greater.connections < usual.connections


@pytest.mark.parametrize("version", [1, 2])
def test_a_cgroup_limit_under_the_plan_is_refused_with_the_number_that_fits(fake: FakeMachine, version: int) -> None:
    if version == 1:
        fake.cgroup_v1(2 * GIB, used=200 << 20)
    else:
        fake.cgroup_v2(str(2 * GIB), used=200 << 20)
    fits = fit(fake.machine(), MILLION).connections
    assert 0 < fits < 200_000
    with pytest.raises(Refused, match=rf"1,054,000 connections don't fit.*--connections {fits}") as caught:
        refuse_what_does_not_fit(fake.machine(), MILLION)
    assert "memory of the cgroup" in str(caught.value)
    assert caught.value.exit_code == ExitCode.REFUSED
    refuse_what_does_not_fit(fake.machine(), MILLION.of(fits))


def test_a_hard_file_limit_of_256_bounds_what_fits(fake: FakeMachine) -> None:
    fake.files(256, 256)
    bound = fit(fake.machine(), MILLION)
    assert bound.connections == MAX_WORKERS * 128
    assert bound.reason.startswith("open files, hard limit: 256")
    assert workers_for(bound.connections, 256) == MAX_WORKERS


def test_a_hard_file_limit_without_room_lets_nothing_fit(fake: FakeMachine) -> None:
    fake.files(255, 255)
    assert fit(fake.machine(), MILLION).connections == 0
    with pytest.raises(Refused, match="Not even one connection fits"):
        refuse_what_does_not_fit(fake.machine(), MILLION)


def test_epoll_watches_bound_what_fits_and_are_named(fake: FakeMachine) -> None:
    fake.set("fs/epoll/max_user_watches", "401000")
    bound = fit(fake.machine(), MILLION)
    assert bound.connections == 200_000
    assert "max_user_watches: 401,000" in bound.reason


def test_only_the_superuser_goes_beyond_the_files_of_the_system(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.set("fs/file-max", "100000")
    monkeypatch.setattr(Machine, "is_privileged", True)
    assert names(fake) == set()
    monkeypatch.setattr(Machine, "is_privileged", False)
    assert names(fake) == {"fs.file-max, less files in use"}
    assert fit(fake.machine(), MILLION).connections == (100_000 - 1500 - 1000) // 2


def test_a_small_conntrack_table_that_is_in_use_is_an_obstacle(fake: FakeMachine) -> None:
    fake.set("net/netfilter/nf_conntrack_max", "65536")
    fake.set("net/netfilter/nf_conntrack_count", "536")
    assert names(fake) == {"conntrack entries left"}
    assert fit(fake.machine(), MILLION).connections == 65_000


def test_conntrack_that_tracks_nothing_is_none(fake: FakeMachine) -> None:
    fake.set("net/netfilter/nf_conntrack_max", "65536")
    fake.set("net/netfilter/nf_conntrack_count", "0")
    assert names(fake) == set()


def test_conntrack_of_the_host_does_not_matter_to_an_isolated_run(fake: FakeMachine) -> None:
    fake.set("net/netfilter/nf_conntrack_max", "65536")
    fake.set("net/netfilter/nf_conntrack_count", "536")
    assert names(fake, replace(MILLION, isolated=True)) == set()


@pytest.mark.parametrize("key", ["kernel/threads-max", "kernel/pid_max"])
def test_fewer_tasks_than_workers_are_an_obstacle(fake: FakeMachine, key: str) -> None:
    """A million connections take 54 workers at each end, where a worker may open 20,000 files."""
    fake.write("proc/loadavg", "0.10 0.20 0.30 1/150 4711\n")
    fake.set(key, "1000")
    assert names(fake) == set()
    fake.set(key, "200")
    assert names(fake) == {f"{key.replace('/', '.')}, less tasks"}
    bound = fit(fake.machine(), MILLION)
    assert 0 < bound.connections < 350_000
    assert f"{key.replace('/', '.')}, less tasks: 50, and at least" in bound.reason


def test_processes_of_a_user_and_pids_of_a_cgroup_bound_a_run(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "is_privileged", False)
    fake.files(1024, 20_000, processes=100)
    assert names(fake) == {"processes of the user, left"}
    assert found(fake, "processes of the user, left").value == 100
    monkeypatch.setattr(Machine, "is_privileged", True)
    assert names(fake) == set()
    fake.cgroup_v2(str(23 * GIB), used=0)
    fake.write("cgroup/box/pids.max", "120\n")
    fake.write("cgroup/box/pids.current", "40\n")
    assert found(fake, "pids of the cgroup, left").value == 80
    assert names(fake) == {"pids of the cgroup, left"}


def test_a_message_to_everybody_takes_a_page_of_tcp_mem_at_each_connection(fake: FakeMachine) -> None:
    quiet, ticking = (found(fake, "net.ipv4.tcp_mem", replace(MILLION, traffic=t)) for t in (Traffic(), Traffic(True)))
    assert (quiet.needed, quiet.ok) == (1024, True)
    assert (ticking.needed, ticking.ok, ticking.stops) == (1_054_000, False, False)


def test_a_few_listeners_are_replaced_by_spares(fake: FakeMachine) -> None:
    fake.listeners(*(("0.0.0.0", port) for port in range(2000, 2200)), ("127.0.0.1", 3000), ("0.0.0.0", 80))
    verdict = found(fake, "wildcard listeners")
    assert (verdict.value, verdict.needed, verdict.ok) == (200, 2512, True)


def test_listeners_of_both_kinds_count_once(fake: FakeMachine) -> None:
    fake.listeners(("0.0.0.0", 2000), ("::", 2000), ("::", 2001), ("::1", 2002))
    assert found(fake, "wildcard listeners").value == 2


def test_more_listeners_than_spares_are_told(fake: FakeMachine) -> None:
    fake.listeners(*(("0.0.0.0", port) for port in range(2000, 2200)))
    tight = Demand(Plan(17, 64_400, "127.0.1.1", 1024, 1_054_000))
    verdict = found(fake, "wildcard listeners", tight)
    assert (verdict.value, verdict.needed, verdict.ok) == (200, 112, False)


def test_reserved_ports_are_replaced_by_spares_as_far_as_there_are_any(fake: FakeMachine) -> None:
    fake.set("net/ipv4/ip_local_reserved_ports", "80,2000-2199,65000")
    verdict = found(fake, "net.ipv4.ip_local_reserved_ports")
    assert (verdict.value, verdict.ok) == (200, True)
    assert not found(fake, "net.ipv4.ip_local_reserved_ports", Demand(Plan(1, 64_400, "127.0.1.1", 1024, 64_400))).ok


def test_ports_that_the_kernel_chooses_are_not_planned(fake: FakeMachine) -> None:
    fake.listeners(("0.0.0.0", 2000))
    assert found(fake, "wildcard listeners", replace(MILLION, explicit_ports=False)).value == 0


def test_with_ports_of_the_kernel_each_address_needs_a_range_of_them(fake: FakeMachine) -> None:
    verdict = found(fake, "net.ipv4.ip_local_port_range", replace(MILLION, explicit_ports=False))
    assert (verdict.value, verdict.needed, verdict.ok) == (28_232, 62_000, False)


def test_a_server_that_may_open_a_thousand_files_is_an_obstacle(fake: FakeMachine) -> None:
    demand = replace(MILLION, bundled=False, server_files=1024)
    assert names(fake, demand) == {"open files of the server"}
    assert fit(fake.machine(), demand).connections == 1024


def test_the_backlog_of_a_server_stands_beside_that_of_the_machine(fake: FakeMachine) -> None:
    fake.set("net/core/somaxconn", "4096")
    demand = replace(MILLION, bundled=False, server_backlog=100)
    verdict = found(fake, "backlog of the server", demand)
    assert (verdict.value, verdict.needed, verdict.ok, verdict.stops) == (100, 1024, False, False)
    assert found(fake, "net.core.somaxconn", demand).ok
    assert not any(verdict.check.name == "backlog of the server" for verdict in examine(fake.machine(), MILLION))


@pytest.mark.parametrize("isolated", [False, True])
def test_what_is_slower_does_not_stop(fake: FakeMachine, isolated: bool) -> None:
    fake.set("net/core/somaxconn", "128")
    fake.memory(total=24, available=22, swap_used=2048)
    fake.write("proc/stat", "cpu  100 0 100 800 0 0 0 1000 0 0\n")
    fake.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    demand = replace(MILLION, isolated=isolated)
    wrong = {verdict.check.name for verdict in examine(fake.machine(), demand) if not verdict.ok}
    assert {"swap in use", "CPU governor", "CPU time stolen since boot"} <= wrong
    assert ("net.core.somaxconn" in wrong) is not isolated
    assert names(fake, demand) == set()


def test_all_that_stops_is_said_at_once(fake: FakeMachine) -> None:
    fake.memory(total=4, available=1)
    fake.set("fs/epoll/max_user_watches", "100000")
    with pytest.raises(Refused) as caught:
        refuse_what_does_not_fit(fake.machine(), MILLION)
    first, *reasons = str(caught.value).splitlines()
    assert first.startswith("1,054,000 connections don't fit on this machine. ")
    assert [reason.split(":")[0] for reason in reasons] == [
        "fs.epoll.max_user_watches",
        "memory available, beyond the reserve",
    ]


def test_nothing_fits_when_no_memory_is_left(fake: FakeMachine) -> None:
    fake.memory(total=8, available=0.1)
    assert fit(fake.machine(), MILLION.of(10)).connections == 0


def test_this_machine_can_be_examined() -> None:
    machine = Machine()
    assert fit(machine, MILLION.of(1)).connections == 1
    verdicts = examine(machine, MILLION)
    assert len(verdicts) > 10
    assert all(verdict.sentence() for verdict in verdicts)


def test_a_backlog_that_the_kernel_hides_is_no_fault_of_the_record(fake: FakeMachine) -> None:
    """Before Linux 6.3 a network namespace of a user namespace has no net.core sysctls."""
    assert host_facts(fake.machine())["somaxconn"] == 4096
    (fake.proc / "sys/net/core/somaxconn").unlink()
    assert host_facts(fake.machine())["somaxconn"] is None
    assert "net.core.somaxconn" not in names(fake)


def test_tls_of_the_kernel_is_found_where_it_is_at_hand_or_a_module(fake: FakeMachine) -> None:
    assert fake.machine().kernel_tls == "none"
    fake.set("net/ipv4/tcp_available_ulp", "espintcp mptcp")
    fake.set("kernel/osrelease", "6.12.0")
    others = "kernel/net/tls/tls_other.ko: \nkernel/drivers/x.ko.xz: kernel/net/core/y.ko.xz\n"
    fake.write("modules/6.12.0/modules.dep", others)
    assert fake.machine().kernel_tls == "none"
    fake.write("modules/6.12.0/modules.dep", f"{others}kernel/net/tls/tls.ko.xz:\n")
    assert fake.machine().kernel_tls == "module"
    fake.write("sys/module/tls/initstate", "live\n")
    assert fake.machine().kernel_tls == "there"


def test_tls_of_the_kernel_is_in_its_list_of_protocols(fake: FakeMachine) -> None:
    fake.set("net/ipv4/tcp_available_ulp", "espintcp mptcp tls")
    assert fake.machine().kernel_tls == "there"


def test_ports_to_avoid_are_the_reserved_and_those_kept_for_the_host(fake: FakeMachine) -> None:
    fake.set("net/ipv4/ip_local_reserved_ports", "80,2000-2009")
    full = Plan(1, 62_000, "127.0.1.1", 1024, 62_000)
    avoided = ports_to_avoid(full, fake.machine())
    assert {80, *range(2000, 2010)} < avoided
    assert len(avoided) == 11 + HOST_PORTS


def test_a_kernel_that_tells_of_no_ports_leaves_none_to_avoid(tmp_path: Path) -> None:
    nothing = Machine(tmp_path / "proc", tmp_path / "sys")
    assert ports_to_avoid(Plan(1, 62_000, "127.0.1.1", 1024, 62_000), nothing) == frozenset()


def test_a_machine_that_counts_no_cpu_time_has_none_stolen(fake: FakeMachine) -> None:
    fake.write("proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\n")
    assert fake.machine().steal_percent is None
