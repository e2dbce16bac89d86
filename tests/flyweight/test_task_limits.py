"""flyweight.machine.task_limits: how many more processes and threads may be started."""

import os
from pathlib import Path

import pytest

from floodtest.flyweight.machine.task_limits import left_to_cgroup, left_to_user, tasks_in_use
from tests.rigs.host import FakeMachine


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def test_tasks_of_the_machine(fake: FakeMachine) -> None:
    assert tasks_in_use(fake.proc) is None
    fake.write("proc/loadavg", "0.10 0.20 0.30 3/150 4711\n")
    assert tasks_in_use(fake.proc) == 150


def test_threads_of_all_processes_of_the_user_count(fake: FakeMachine) -> None:
    assert left_to_user(fake.proc) is None
    fake.files(1024, 20_000, processes=100)
    uid = os.getuid()
    for pid, user, threads in ((1, uid + 1, 40), (2, uid, 10), (3, uid, 1)):
        status = f"Name:\tone\nUid:\t{user}\t{uid}\t{uid}\t{uid}\nThreads:\t{threads}\n"
        fake.write(f"proc/{pid}/status", status)
    fake.write("proc/4/status", f"Uid:\t{uid}\nThreads:\t2\n")
    (fake.proc / "5").mkdir()
    (fake.proc / "5/status").symlink_to(fake.proc / "gone")
    assert left_to_user(fake.proc) == 100 - 13


def test_an_unlimited_user_has_no_bound(fake: FakeMachine) -> None:
    fake.write("proc/self/limits", "Max processes             unlimited            unlimited            processes \n")
    assert left_to_user(fake.proc) is None


def test_the_tightest_cgroup_bounds_tasks(fake: FakeMachine) -> None:
    assert left_to_cgroup(fake.proc) is None
    fake.cgroup_v2("max", used=0)
    for folder, most in (("box/inner", "max"), ("box", "100")):
        fake.write(f"cgroup/{folder}/pids.max", f"{most}\n")
        fake.write(f"cgroup/{folder}/pids.current", "30\n")
    assert left_to_cgroup(fake.proc) == 70


def test_a_cgroup_of_version_1_bounds_tasks(fake: FakeMachine) -> None:
    mount = fake.proc.parent / "pids"
    fake.write("proc/self/cgroup", "5:memory:/\n4:pids:/docker/abc\n")
    fake.write("proc/self/mountinfo", f"35 31 0:32 / {mount} rw,relatime - cgroup cgroup rw,pids\n")
    fake.write("pids/docker/abc/pids.max", "64\n")
    fake.write("pids/docker/abc/pids.current", "70\n")
    assert left_to_cgroup(fake.proc) == 0


def test_this_machine_is_read() -> None:
    assert (tasks_in_use() or 0) > 1
    assert (left := left_to_user()) is None or left > 0
