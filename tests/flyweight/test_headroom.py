"""flyweight.machine.headroom and cgroups: how much memory may be used, by the machine and by cgroups of either
version.
"""

from pathlib import Path

import pytest

from floodtest.flyweight.machine.cgroups import Cgroups
from floodtest.flyweight.machine.headroom import DEFAULT_RESERVE, MemoryGauge, Reserve, parse_reserve
from tests.rigs.host import FakeMachine

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


@pytest.mark.parametrize(("total", "left"), [(GIB, 512 * MIB), (8 * GIB, 512 * MIB), (40 * GIB, 2 * GIB)])
def test_a_twentieth_and_at_least_half_a_gib_are_left_free(total: int, left: int) -> None:
    assert Reserve().of(total) == left


@pytest.mark.parametrize(
    ("text", "reserve"),
    [
        ("10%", Reserve(0.1)),
        (" 2.5% ", Reserve(0.025)),
        ("2GiB", Reserve(0.0, 2 * GIB)),
        ("0.5GiB", Reserve(0.0, GIB // 2)),
        ("800 MiB", Reserve(0.0, 800 * MIB)),
    ],
)
def test_a_reserve(text: str, reserve: Reserve) -> None:
    assert parse_reserve(text) == reserve
    assert parse_reserve(str(reserve)) == reserve


def test_a_reserve_is_written_as_the_option_takes_it() -> None:
    reserves = (DEFAULT_RESERVE, Reserve(0.07), Reserve(0.0, GIB // 2))
    assert [str(reserve) for reserve in reserves] == ["5%", "7%", "512MiB"]


@pytest.mark.parametrize("text", ["", "5", "%", "GiB", "-1%", "101%", "nan%", "infGiB", "2GB", "-2GiB", "1e9GiB"])
def test_no_reserve(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_reserve(text)


def test_what_open_files_keep_in_use_can_not_be_had(fake: FakeMachine) -> None:
    """With 2.6 million connections MemAvailable said 7.8 GiB, and 2.5 GiB could be had."""
    fake.memory(total=24, available=7.8, reclaimable=6.5)
    fake.open_files(5_225_000)
    (room,) = MemoryGauge(proc=fake.proc).rooms()
    assert room.available == pytest.approx(7.8 * GIB - 5_225_000 * (862 + 195), abs=2 * MIB)
    assert room.total == 24 * GIB
    assert MemoryGauge(proc=fake.proc).least() == room.available


def test_no_more_is_in_use_than_the_kernel_counts_as_reclaimable(fake: FakeMachine) -> None:
    fake.memory(total=24, available=22, reclaimable=1)
    fake.open_files(5_225_000)
    assert MemoryGauge(proc=fake.proc).read().available == 21 * GIB
    fake.memory(total=24, available=0.5, reclaimable=1)
    assert MemoryGauge(proc=fake.proc).read().available == 0


def test_a_kernel_that_does_not_tell_of_open_files_leaves_what_is_available(fake: FakeMachine) -> None:
    fake.memory(total=24, available=22, reclaimable=1)
    (fake.proc / "sys/fs/file-nr").unlink()
    assert MemoryGauge(proc=fake.proc).read().available == 22 * GIB


def test_least_is_what_the_cgroup_has_if_that_is_less(fake: FakeMachine) -> None:
    fake.cgroup_v2(str(4 * GIB), used=3 * GIB)
    assert MemoryGauge(proc=fake.proc).least() == GIB


def test_without_a_cgroup_there_is_the_machine(fake: FakeMachine) -> None:
    (room,) = MemoryGauge(proc=fake.proc).rooms()
    assert (room.source, room.total, room.available) == ("this machine", 24 * GIB, 22 * GIB)
    assert room.free == 22 * GIB - int(1.2 * GIB)


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_a_cgroup_without_a_limit_is_none(fake: FakeMachine, limit: str) -> None:
    fake.cgroup_v2(limit, 100 * MIB)
    assert Cgroups(fake.proc).tightest() is None


def test_a_limit_of_a_cgroup_above_counts_with_all_that_is_in_it(fake: FakeMachine) -> None:
    fake.cgroup_v2(str(4 * GIB), used=3 * GIB, inactive_file=GIB // 2)
    cgroup = Cgroups(fake.proc).tightest()
    assert cgroup is not None
    assert (cgroup.folder.name, cgroup.limit, cgroup.available) == ("box", 4 * GIB, GIB + GIB // 2)
    room = MemoryGauge(proc=fake.proc).read()
    assert "cgroup" in room.source
    assert room.free == GIB


@pytest.mark.parametrize("root", ["/", "/docker/abc"])
def test_version_1_as_the_host_and_as_a_container_sees_it(fake: FakeMachine, root: str) -> None:
    fake.cgroup_v1(2 * GIB, used=GIB, inactive_file=100 * MIB, root=root)
    cgroup = Cgroups(fake.proc).tightest()
    assert cgroup is not None
    assert (cgroup.limit, cgroup.available) == (2 * GIB, GIB + 100 * MIB)


def test_a_mount_whose_name_is_no_utf8_is_passed_over(fake: FakeMachine) -> None:
    fake.cgroup_v2(str(4 * GIB), used=3 * GIB)
    with open(fake.proc / "self/mountinfo", "ab") as mounts:
        mounts.write(b"40 23 0:30 / /mnt/\xff rw,relatime - ext4 /dev/sda rw\n")
    cgroup = Cgroups(fake.proc).tightest()
    assert cgroup is not None
    assert cgroup.limit == 4 * GIB


def test_a_cgroup_over_its_limit_has_nothing_left(fake: FakeMachine) -> None:
    fake.cgroup_v1(GIB, used=2 * GIB)
    cgroup = Cgroups(fake.proc).tightest()
    assert cgroup is not None
    assert cgroup.available == 0


def test_a_cgroup_that_went_is_no_limit(fake: FakeMachine) -> None:
    fake.cgroup_v1(GIB, used=0)
    cgroups = Cgroups(fake.proc)
    (fake.proc.parent / "memory/docker/abc/memory.limit_in_bytes").unlink()
    assert cgroups.tightest() is None


def test_the_machine_bounds_where_it_has_less_than_the_cgroup(fake: FakeMachine) -> None:
    fake.cgroup_v1(20 * GIB, used=0)
    fake.memory(total=24, available=2)
    assert MemoryGauge(proc=fake.proc).read().source == "this machine"


def test_this_machine_is_read() -> None:
    room = MemoryGauge().read()
    assert 0 < room.available <= room.total
