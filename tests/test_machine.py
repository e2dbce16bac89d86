"""flyweight.machine: the machine's CPU time and swap, from files of /proc made by hand and from the real ones."""

import os
from pathlib import Path

import pytest

from flyweight.machine import read_machine


def test_time_and_swap_are_read(tmp_path: Path) -> None:
    second = os.sysconf("SC_CLK_TCK")
    fields = [second * value for value in (10, 1, 5, 1000, 7, 2, 3, 99, 4, 4)]  # guests are in user time already
    (tmp_path / "stat").write_text(f"cpu  {' '.join(map(str, fields))}\ncpu0 1 2 3\n")
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nSwapTotal:   1000 kB\nSwapFree:   400 kB\n")
    machine = read_machine(tmp_path)
    assert (machine.cpu, machine.kernel_cpu, machine.swapped) == (21, 10, 600 * 1024)


def test_this_machine_has_used_as_much_as_its_processes() -> None:
    before = read_machine()
    mine = os.times()
    while os.times().user - mine.user < 0.2:
        pass
    after = read_machine()
    assert after.cpu - before.cpu >= 0.15
    assert after.kernel_cpu >= before.kernel_cpu


@pytest.mark.parametrize("name", ["stat", "meminfo"])
def test_a_file_that_is_missing_is_an_error_of_the_system(name: str, tmp_path: Path) -> None:
    other = {"stat": "meminfo", "meminfo": "stat"}[name]
    (tmp_path / other).write_text("cpu 1 1 1 1 1 1 1 1\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    with pytest.raises(OSError, match=name):
        read_machine(tmp_path)
