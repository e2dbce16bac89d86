"""flyweight.machine.files, sockets and memory: what a machine allows and things cost, read from trees that look like
/proc.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine import files as limits
from floodtest.flyweight.machine import processes as memory
from floodtest.flyweight.machine.files import (
    Memory,
    need_proc,
    open_files,
    read_memory,
    reserved_ports,
)
from floodtest.flyweight.machine.processes import ProcessMeter, cpu_seconds, private_bytes
from floodtest.flyweight.machine.sockets import PAGE, Sockets, read_slabs, read_sockets
from tests.analysis.test_report import written
from tests.rigs.confinement import hide_proc
from tests.rigs.figures import start
from tests.rigs.support import run_in_child

MEMINFO = """\
MemTotal:       24603484 kB
MemFree:        20000000 kB
MemAvailable:   22000000 kB
SwapTotal:         1000 kB
SwapFree:           400 kB
Slab:            1000000 kB
KernelStack:        3000 kB
PageTables:         4000 kB
Percpu:             5000 kB
HugePages_Total:       0
Hugepagesize:       2048 kB
"""
SOCKSTAT = """\
sockets: used 2108290
TCP: inuse 2108005 orphan 0 tw 17 alloc 2108007 mem 12
UDP: inuse 3 mem 2
UDPLITE: inuse 0
RAW: inuse 0
FRAG: inuse 0 memory 0
"""
SLABINFO = """\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
TCPv6                 12     12   2624   12    8 : tunables    0    0    0 : slabdata      1      1      0
TCP              2108000 2108002   2368   13    8 : tunables    0    0    0 : slabdata 162154 162160      0
sock_inode_cache 2108000 2108002    832   39    8 : tunables    0    0    0 : slabdata  54051  54060      0
dentry               500    504    192   21    1 : tunables    0    0    0 : slabdata     24     24      0
"""  # noqa: E501
SMAPS_ROLLUP = """\
55d0c0000000-7ffd5a3f9000 ---p 00000000 00:00 0                          [rollup]
Rss:               41234 kB
Pss:               12345 kB
Shared_Clean:      10000 kB
Shared_Dirty:      20000 kB
Private_Clean:       100 kB
Private_Dirty:      4000 kB
Private_Hugetlb:    2048 kB
Swap:                  0 kB
"""


@pytest.fixture
def proc(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a file of a tree like /proc; give the tree."""

    def write(name: str, text: str) -> Path:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        return tmp_path

    return write


Proc = Callable[[str, str], Path]


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    code = (
        "import resource\nfrom flyweight.machine.files import raise_files_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))\n"
        "print(raise_files_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["200", "200", "200"]


@pytest.mark.parametrize("hard", [limits.MAX_FILES, 1_073_741_816, resource.RLIM_INFINITY])
def test_a_limit_beyond_all_use_is_not_used_up(hard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (hard, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: taken.append(limit))
    assert limits.raise_files_limit() == limits.MAX_FILES
    assert taken == [(limits.MAX_FILES, hard)]


def test_memory(proc: Proc) -> None:
    read = read_memory(proc("meminfo", MEMINFO))
    kib = 1024
    assert read == Memory(24603484 * kib, 22000000 * kib, 1000000 * kib, 3000 * kib, 4000 * kib, 5000 * kib, 600 * kib)
    assert read.kernel == (1000000 + 3000 + 4000 + 5000) * kib
    assert read_memory(proc("meminfo", MEMINFO + "SReclaimable: 70 kB\n")).reclaimable == 70 * kib


def test_open_files_of_the_machine(proc: Proc) -> None:
    assert open_files(proc("sys/fs/file-nr", "2108290\t0\t9223372036854775807\n")) == 2_108_290


def test_memory_fields_that_an_old_kernel_lacks_are_nothing(proc: Proc) -> None:
    text = "".join(line for line in MEMINFO.splitlines(keepends=True) if not line.startswith("Percpu"))
    read = read_memory(proc("meminfo", text))
    assert read.percpu == 0
    assert read.kernel == (1000000 + 3000 + 4000) * 1024


@pytest.mark.parametrize(
    ("text", "ports"),
    [("\n", []), ("8000\n", [8000]), ("8000,9000-9003\n", [8000, 9000, 9001, 9002, 9003]), ("1-1,3", [1, 3])],
)
def test_reserved_ports(text: str, ports: list[int], proc: Proc) -> None:
    assert reserved_ports(proc("sys/net/ipv4/ip_local_reserved_ports", text)) == frozenset(ports)


def test_sockets(proc: Proc) -> None:
    read = read_sockets(proc("net/sockstat", SOCKSTAT))
    assert read == Sockets(used=2108290, tcp_inuse=2108005, tcp_time_wait=17, queued=12 * PAGE)


def test_sockets_of_ipv6_are_in_use_as_well(proc: Proc) -> None:
    proc("net/sockstat6", "TCP6: inuse 5\nUDP6: inuse 1\nFRAG6: inuse 0 memory 0\n")
    assert read_sockets(proc("net/sockstat", SOCKSTAT)).tcp_inuse == 2108010


def test_slabs_count_whole_pages_of_known_caches(proc: Proc) -> None:
    assert read_slabs(proc("slabinfo", SLABINFO)) == {
        "slab_tcp": 8 * 162160 * PAGE,
        "slab_sock_inode": 8 * 54060 * PAGE,
        "slab_dentry": 24 * PAGE,
    }


def test_slabs_that_are_not_ours_to_read_are_unknown(tmp_path: Path) -> None:
    assert read_slabs(tmp_path) is None


def test_the_real_files_read() -> None:
    assert 0 < read_memory().available <= read_memory().total
    assert read_sockets().used > 0
    assert all(0 < port < 65_536 for port in reserved_ports())
    assert limits.cores() >= 1


def test_a_proc_that_is_not_mounted_is_told_with_a_remedy(proc: Proc, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="mount -t proc"):
        need_proc(tmp_path)
    need_proc(proc("self/stat", ""))


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("floodtest", ["run", "--network", "host"], 3),
        ("floodtest", ["plan", "--network", "host"], 3),
        ("floodtest", ["doctor", "--network", "host"], 3),
        ("floodtest", ["report", "run"], 0),
        ("comet", ["serve"], 3),
        ("comet", ["load", "f.txt", "--db", "db"], 0),
        ("fakefriends", ["gen"], 3),
        ("fakefriends", ["stats", "f.txt"], 0),
    ],
)
def test_a_command_without_proc(name: str, arguments: list[str], code: int, tmp_path: Path) -> None:
    """What reads it says so in a line, and the others go on without it."""
    written(tmp_path, [start()]).rename(tmp_path / "run")
    (tmp_path / "f.txt").write_text("1 2\n")
    done = run_in_child(hide_proc, name, *arguments, cwd=tmp_path)
    words = f"{name}: Nothing is mounted on /proc, which this command reads. Mount it: mount -t proc proc /proc\n"
    assert done.returncode == code
    assert done.stderr.endswith(words) == (code == 3)
    assert "Traceback" not in done.stderr


def test_private_memory_is_what_no_other_process_shares(proc: Proc) -> None:
    assert private_bytes(77, proc("77/smaps_rollup", SMAPS_ROLLUP)) == (100 + 4000 + 2048) * 1024


def test_private_memory_of_a_process_that_is_gone_is_unknown(tmp_path: Path) -> None:
    assert private_bytes(77, tmp_path) is None


@pytest.mark.parametrize("name", ["python", "a) S 1 (b", "(", ")"])
def test_cpu_time_is_user_and_system_whatever_the_process_is_called(name: str, proc: Proc) -> None:
    fields = "S 1 77 77 0 -1 4194560 100 0 0 0 250 150 9 9 20 0 1 0 100 0 0"
    seconds = cpu_seconds(77, proc("77/stat", f"77 ({name}) {fields}\n"))
    assert seconds == 400 / os.sysconf("SC_CLK_TCK")


def test_cpu_time_of_a_process_that_is_gone_is_unknown(tmp_path: Path) -> None:
    assert cpu_seconds(77, tmp_path) is None


def test_this_process_has_memory_of_its_own_and_has_worked() -> None:
    private, seconds = private_bytes(os.getpid()), cpu_seconds(os.getpid())
    assert private is not None
    assert private > 1 << 20
    assert seconds is not None
    assert seconds > 0


class Figures:
    """Processes as a meter reads them, and the order in which it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.private = {1: 100, 2: 200, 3: 300}
        self.cpu = {1: 1.0, 2: 2.0, 3: 3.0}
        self.order: list[int] = []
        self.now = 1000.0
        monkeypatch.setattr(memory, "private_bytes", self._private_of)
        monkeypatch.setattr(memory, "cpu_seconds", self.cpu.get)
        monkeypatch.setattr(memory.time, "monotonic", lambda: self.now)  # type: ignore[attr-defined]

    def _private_of(self, pid: int) -> int | None:
        self.order.append(pid)
        self.now += 0.003
        return self.private.get(pid)

    def read(self, meter: ProcessMeter, pids: Iterable[int], everything: bool = False) -> list[int]:
        """Let the meter read; return whom it read."""
        self.order.clear()
        meter.read(pids, everything)
        return list(self.order)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Figures:
    return Figures(monkeypatch)


def test_a_meter_reads_everybody_the_first_time(figures: Figures) -> None:
    meter = ProcessMeter(budget=0.004)
    assert figures.read(meter, [1, 2, 3]) == [1, 2, 3]
    assert (meter.private, meter.cpu) == (600, 6.0)


def test_a_meter_keeps_to_its_budget_and_reads_the_longest_unread_first(figures: Figures) -> None:
    meter = ProcessMeter(budget=0.004)
    figures.read(meter, [1, 2, 3])
    figures.private[3] = 350
    assert figures.read(meter, [1, 2, 3]) == [1, 2]
    assert meter.private == 600
    assert figures.read(meter, [1, 2, 3]) == [3, 1]
    assert meter.private == 650
    assert figures.read(meter, [1, 2, 3], everything=True) == [2, 3, 1]


def test_cpu_time_is_read_of_all_whatever_the_budget(figures: Figures) -> None:
    meter = ProcessMeter(budget=0.004)
    figures.read(meter, [1, 2, 3])
    figures.cpu[3] = 33.0
    assert figures.read(meter, [1, 2, 3]) == [1, 2]
    assert meter.cpu == 36.0


@pytest.mark.parametrize("listed", [[1, 3], [1, 2, 3]])
def test_a_process_that_ended_costs_no_memory_but_has_used_its_time(listed: list[int], figures: Figures) -> None:
    meter = ProcessMeter()
    figures.read(meter, [1, 2, 3])
    del figures.private[2]
    figures.read(meter, listed, everything=True)
    assert (meter.private, meter.cpu) == (400, 6.0)


def test_a_process_that_cannot_be_read_is_left_out(figures: Figures) -> None:
    meter = ProcessMeter()
    figures.read(meter, [1, 99])
    assert (meter.private, meter.cpu) == (100, 1.0)
