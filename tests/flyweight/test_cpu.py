"""flyweight.machine.cpu: the machine's CPU time, from a /proc/stat made by hand and from the real one."""

import os
from pathlib import Path

import pytest

from floodtest.flyweight.machine.cpu import CpuTime, read_cpu_time


def test_time_is_read(tmp_path: Path) -> None:
    second = os.sysconf("SC_CLK_TCK")
    fields = [second * value for value in (10, 1, 5, 1000, 7, 2, 3, 99, 4, 4)]  # guests are in user time already
    (tmp_path / "stat").write_text(f"cpu  {' '.join(map(str, fields))}\ncpu0 1 2 3\n")
    assert read_cpu_time(tmp_path) == CpuTime(total=1127, busy=21, kernel=10, stolen=99)


def test_this_machine_has_used_as_much_as_its_processes() -> None:
    before = read_cpu_time()
    mine = os.times()
    while os.times().user - mine.user < 0.2:
        pass
    after = read_cpu_time()
    assert after.busy - before.busy >= 0.15
    assert after.kernel >= before.kernel


def test_a_file_that_is_missing_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="stat"):
        read_cpu_time(tmp_path)
