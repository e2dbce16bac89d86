"""Messages that are stamped on another host: its clock is measured, and latencies are corrected by it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from floodtest.flyweight.machine.clock_echo import asking
from floodtest.flyweight.machine.clock_offset import Offset, measure
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.targets import resolve_target
from floodtest.loadgen.run.latencies import latency_of
from floodtest.loadgen.run.local_site import LocalSite
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.site import Detail
from tests.rigs.support import OUR_NETWORK, Comet, comet, command
from tests.rigs.time_namespace import AHEAD_SECONDS, in_a_time_namespace

ROOT = Path(__file__).parents[2]

USERS, MESSAGES = 20, 40


@contextmanager
def clock_elsewhere() -> Iterator[Offset]:
    """The offset of the clock in a time namespace, as measured over a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = in_a_time_namespace(sys.executable, "-m", "tests.rigs.clock_host", str(theirs.fileno()))
        with subprocess.Popen(line, cwd=ROOT, pass_fds=(theirs.fileno(),)) as process:
            theirs.close()
            found = measure(asking(ours, "the namespace")).monotonic
            ours.close()
            assert process.wait(30) == 0
    yield found


async def held_while_messages_come(server: Comet, folder: Path, ahead_ns: int) -> Reading:
    """Connect users, have messages published by a generator in a time namespace, and return what was counted."""
    url = f"http://127.0.0.1:{server.port}/test/{{user}}"
    options = RunOptions(Plan(1, USERS, f"{OUR_NETWORK}.1", 20_000, USERS), target=url, open_when="id")
    site = LocalSite(options, folder, [], workers=1, files_limit=1024, stamps_ahead_ns=ahead_ns)
    line = command("comet", "msggen", "--rate", str(2 * MESSAGES), "--seconds", "0.5", "--users", str(USERS))
    line = in_a_time_namespace(*line, "--control", f"http://127.0.0.1:{server.control}")
    with trio.fail_after(60):
        async with site.attached():
            await site.open(resolve_target(url, options.plan.base_ip), reset_at_end=True)
            await site.ramp(time.monotonic())
            await trio.run_process(line)
            while (said := await site.read(Detail.ACCOUNTS)).counters.messages < MESSAGES:
                await trio.sleep(0.02)
            await site.close()
    return said


@pytest.mark.usefixtures("forks")
def test_latencies_across_hosts_are_corrected_before_they_are_counted(tmp_path: Path) -> None:
    with clock_elsewhere() as offset, comet("--max-users", "100") as server:
        assert abs(offset.ahead_ns - AHEAD_SECONDS * 10**9) <= offset.bound_ns
        said = trio.run(held_while_messages_come, server, tmp_path, offset.ahead_ns)
    assert (sum(said.latency.values()), said.negative.planned) == (MESSAGES, 0)
    found = latency_of(said.latency)
    assert found is not None
    assert 0 < found.p50 < 10_000


@pytest.mark.usefixtures("forks")
def test_without_a_correction_they_are_negative_and_told_apart(tmp_path: Path) -> None:
    with comet("--max-users", "100") as server:
        said = trio.run(held_while_messages_come, server, tmp_path, 0)
    assert (said.latency, said.latency_published) == ({}, {})
    assert (said.negative.planned, said.negative.published) == (MESSAGES, MESSAGES)
    assert 990 < said.negative.most_us / 10**6 < AHEAD_SECONDS
