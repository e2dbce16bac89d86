"""The instrument against known amounts: a server that takes K more bytes a connection, kernel objects, exact ranks."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floodtest.analysis import Estimate, fit_memory, load, memory_of, percentiles
from floodtest.analysis.record import Record, RecordWriter
from floodtest.analysis.record.stages import OPENING
from floodtest.loadgen.client import histogram
from tests.analysis.test_report import EXAMPLE
from tests.rigs.support import flood

MOST = 5000

SERVER = f"""
import mmap, select, socket, sys
extra, held = int(sys.argv[1]), 0
arena = mmap.mmap(-1, max(1, extra * {MOST}), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
print(listener.getsockname()[1], flush=True)
connections = [None] * {MOST}
while True:
    connections[held], _ = listener.accept()
    user = connections[held].recv(4096).split()[1].rpartition(b"/")[2]
    body = b"Welcome, user %b\\n" % user
    connections[held].sendall(
        b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n%x\\r\\n%b\\r\\n" % (len(body), body)
    )
    arena[held * extra : (held + 1) * extra] = b"x" * extra
    held += 1
"""
"""Takes a known number of bytes of private memory for each connection, and holds it."""


@contextmanager
def server(extra: int) -> Iterator[tuple[int, str]]:
    """The server, with its process id and its target."""
    with subprocess.Popen([sys.executable, "-c", SERVER, str(extra)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, f"http://127.0.0.1:{int(process.stdout.readline())}/{{user}}"
        finally:
            process.kill()


def slope(extra: int, out: Path) -> Estimate:
    """Run against the server, and return the slope that a report would give."""
    with server(extra) as (pid, target):
        pace = ["--connections", str(MOST), "--rate", "1500", "--hold", "0.2"]
        code, summary, errors = flood(out, *pace, "--target", target, "--server-pid", str(pid))
    assert code == 0, errors
    fit = memory_of(load(summary["run"]))["server"].fit
    assert fit is not None
    return fit.slope


def test_bytes_that_a_server_takes_more_are_reported_within_two_percent(tmp_path: Path) -> None:
    base = slope(0, tmp_path)
    for extra in (1024, 4096):
        assert slope(extra, tmp_path).value - base.value == pytest.approx(extra, rel=0.02)


SOCKET_OBJECTS = ("slab_tcp", "slab_sock_inode", "slab_filp", "slab_dentry", "slab_epoll")

OTHER_OBJECTS = 128 + 2 * 64
"""Bytes a connection of what a record does not tell apart: tcp_bind2_bucket, and eventpoll_pwq at both ends
(/sys/kernel/slab of Linux 6.18)."""


def test_kernel_bytes_a_connection_agree_with_its_slab_objects() -> None:
    record = load(EXAMPLE)
    found = memory_of(record)["kernel"].fit
    objects = np.sum([record.column(name) for name in SOCKET_OBJECTS], axis=0)
    filling = np.array([sample.stage in OPENING for sample in record.samples])
    by_kind = fit_memory(record.column("open")[filling], objects[filling])
    assert found is not None
    assert by_kind is not None
    assert found.slope.value == pytest.approx(by_kind.slope.value + OTHER_OBJECTS, rel=0.1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 100_000_000), min_size=1, max_size=300))
def test_percentiles_agree_with_exact_ones_within_the_stated_error(
    tmp_path_factory: pytest.TempPathFactory, values: list[int]
) -> None:
    counted = histogram.count(np.array(values))
    writer = RecordWriter(tmp_path_factory.mktemp("runs"), "one")
    writer.write_latency(histogram.rows(counted, counted))
    writer.close()
    shares = np.array([0.0, 0.5, 0.9, 0.99, 1.0])
    found = percentiles(Record(writer.folder, {}, []).read_latency(), shares)
    assert found is not None
    ranks = np.clip(np.ceil(shares * len(values)), 1, len(values)).astype(int) - 1
    exact = np.sort(values)[ranks] / 1000
    assert np.all(found >= exact)
    assert np.all(found <= exact * 1.008 + 0.001)
