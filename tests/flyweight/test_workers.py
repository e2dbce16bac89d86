"""flyweight.processes.workers and nursery: workers come up where they should, end alone, and leave nobody behind."""

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from itertools import count
from pathlib import Path

import pytest
import trio

from floodtest.flyweight.errors import Refused, WorkerFault
from floodtest.flyweight.machine.files import cores
from floodtest.flyweight.processes import nursery
from floodtest.flyweight.processes import workers as workers_module
from floodtest.flyweight.processes.workers import Worker, Workers, open_workers
from tests.rigs.support import processes_of
from tests.rigs.workers import Do, Hello

RIG = "tests.rigs.workers"


@pytest.fixture(autouse=True)
def _rig_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


async def start(workers: Workers, count: int, size: int = 1) -> list[Hello]:
    """Start workers with specifications of `size` bytes and return what they say of themselves."""
    with tempfile.TemporaryFile() as shared:
        specifications = [(b"%d" % number).ljust(size) for number in range(count)]
        await workers.start(specifications, Hello, [shared.fileno()])
        return [await hello(worker) for worker in workers.all]


async def hello(worker: Worker) -> Hello:
    with trio.fail_after(60):
        said = await worker.channel.receive()
    assert isinstance(said, Hello)
    return said


async def come_and_go(count: int, size: int = 1) -> list[Hello]:
    """Start workers in a block of their own; return what they said."""
    async with open_workers(RIG) as workers:
        said = await start(workers, count, size)
        pids = workers.pids
        assert [worker.pid for worker in workers.all] == [one.pid for one in said]
    assert processes_of(pids) == []
    return said


def test_threads_with_files_of_their_own_in_as_many_processes_as_cores() -> None:
    said = trio.run(come_and_go, 6)
    assert [int(one.specification) for one in said] == list(range(6))
    assert all(one.inherited for one in said)
    assert len({one.pid for one in said}) == min(6, cores())
    assert len({one.open_files for one in said}) == 1  # each has its own channel, and nobody else's


def test_a_process_for_each_where_threads_cannot_have_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "can_unshare_files", lambda: False)
    said = trio.run(come_and_go, 6)
    assert all(one.inherited for one in said)
    assert len({one.pid for one in said}) == 6


@pytest.mark.parametrize(("count", "size"), [(300, 1), (40, 60_000)])
def test_more_workers_than_one_packet_can_carry(count: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """253 descriptors, or 128 KiB of specifications, are the most."""
    monkeypatch.setattr(workers_module, "cores", lambda: 1)
    said = trio.run(come_and_go, count, size)
    assert [int(one.specification) for one in said] == list(range(count))
    assert 1 < len({one.pid for one in said}) <= count // 2


@pytest.mark.parametrize(
    ("addresses", "stack", "processes"),
    [
        (resource.RLIM_INFINITY, 8 << 20, 2),
        (1 << 30, 8 << 20, 3),
        (1 << 30, 64 << 20, 5),
        (1 << 30, resource.RLIM_INFINITY, 3),
        (100 << 20, 8 << 20, 30),
        (8 << 30, 8 << 20, 2),
    ],
)
def test_more_processes_where_one_has_no_addresses_for_all_stacks(
    addresses: int, stack: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {resource.RLIMIT_AS: addresses, resource.RLIMIT_STACK: stack}
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (limits[limit], limits[limit]))
    monkeypatch.setattr(workers_module, "cores", lambda: 2)
    assert workers_module._processes_for([b"specification"] * 30, 1) == processes


MANY_DECODERS = """
import sys
import threading
import msgspec
from floodtest.flyweight.processes.channel import decoder

sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)

def build(kinds):
    for kind in kinds:
        barrier.wait()
        decoder(kind).decode(data)

def nested(number):
    inner = msgspec.defstruct(f"Inner{number}", [("a", int), ("b", float)])
    return msgspec.defstruct(f"Outer{number}", [("inner", inner), ("c", int)])

data = msgspec.msgpack.encode({"inner": {"a": 1, "b": 2.0}, "c": 3})
kinds = [nested(number) for number in range(300)]
threads = [threading.Thread(target=build, args=(kinds,)) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
"""Threads that meet structs for the first time all at once, as workers of one process do when they start."""


def test_threads_that_make_decoders_at_once_do_not_crash() -> None:
    done = subprocess.run([sys.executable, "-c", MANY_DECODERS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def crash_one_of_four() -> None:
    """Let a worker crash; the others go on, and its process then ends with status 1."""

    async def main() -> None:
        async with open_workers(RIG) as workers:
            await start(workers, 4)
            victim, *others = workers.all
            await victim.channel.send(Do("crash"))
            with trio.fail_after(60):
                assert await victim.channel.receive() is None
            for worker in others:
                await worker.channel.send(Do("hello"))
                await hello(worker)
            for worker in others:
                worker.channel.close()
            with trio.fail_after(60):
                await victim.ended.wait()
            assert victim.exit_status == 1

    trio.run(main)


def test_a_worker_that_crashes_ends_alone(capfd: pytest.CaptureFixture[str]) -> None:
    crash_one_of_four()
    assert "told to" in capfd.readouterr().err


@pytest.mark.parametrize("threads", [True, False])
def test_a_worker_whose_last_words_cannot_be_written_ends_alone(threads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "can_unshare_files", lambda: threads)
    with open("/dev/full", "wb") as full:
        stderr = os.dup(2)
        os.dup2(full.fileno(), 2)
        try:
            crash_one_of_four()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def test_a_worker_that_fails_at_once_leaves_the_others_time_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes last to where all wait until each has its files, and fails before any of the others is awake."""
    barriers: list[threading.Barrier] = []

    class Barrier(threading.Barrier):
        def __init__(self, parties: int) -> None:
            super().__init__(parties)
            barriers.append(self)

    began: list[bytes] = []
    comers, last = count(), threading.local()

    def unshare_files() -> None:
        if next(comers) == 0:
            last.is_this = True
            while barriers[0].n_waiting < barriers[0].parties - 1:
                time.sleep(0.001)

    def main(specification: bytes, sock: socket.socket, shared: list[int]) -> None:
        if getattr(last, "is_this", False):
            raise LookupError
        began.append(specification)

    monkeypatch.setattr(threading, "Barrier", Barrier)
    monkeypatch.setattr(nursery, "unshare_files", unshare_files)
    monkeypatch.setattr(traceback, "print_exc", lambda: None)
    monkeypatch.setattr(os, "close", lambda descriptor: None)  # all threads have one table here
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1)
    pairs = [socket.socketpair() for _ in range(3)]
    try:
        status = nursery._run_workers(main, [b"1", b"2", b"3"], [ours.detach() for ours, _ in pairs], [])
    finally:
        sys.setswitchinterval(interval)
        for _, theirs in pairs:
            theirs.close()
    assert (status, sorted(began)) == (1, [b"2", b"3"])


def test_a_process_that_is_killed_is_told_of() -> None:
    async def main() -> None:
        async with open_workers(RIG) as workers:
            await start(workers, 4)
            victim = workers.all[0]
            os.kill(victim.pid, signal.SIGKILL)
            with trio.fail_after(60):
                assert await victim.channel.receive() is None
                await victim.ended.wait()
            assert victim.exit_status == -signal.SIGKILL
            assert victim.pid not in workers.pids

    trio.run(main)


def test_a_nursery_that_is_killed_takes_its_workers_along_and_nobody_by_surprise() -> None:
    """Workers that lived on would be in no figures: nobody would say when they end."""

    async def main() -> None:
        async with open_workers(RIG) as workers:
            await start(workers, 4)
            nursery_pid, *pids = workers.pids
            assert len(pids) == min(4, cores())
            os.kill(nursery_pid, signal.SIGKILL)
            assert await workers._nursery.wait() == workers.nursery_status == -signal.SIGKILL
            with trio.fail_after(60):
                for worker in workers.all:
                    assert await worker.channel.receive() is None
                    await worker.ended.wait()
            assert processes_of(pids) == []
            assert workers.pids == [nursery_pid]
            with pytest.raises(WorkerFault, match="is gone"):
                await workers.start([b"1"], Hello, [])

    trio.run(main)


def test_an_error_in_the_block_ends_the_workers_too() -> None:
    pids: list[int] = []

    async def main() -> None:
        async with open_workers(RIG) as workers:
            await start(workers, 3)
            pids.extend(workers.pids)
            raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(main)
    assert caught.group_contains(LookupError)
    assert processes_of(pids) == []


def test_what_no_packet_can_carry_is_refused() -> None:
    assert workers_module._processes_for([b"x" * (nursery.MAX_PACKET - 10)] * 3, 1) == 3
    with pytest.raises(Refused, match=r"takes 127 KiB, and 128 KiB can be told: ask for fewer source addresses"):
        workers_module._processes_for([b"x" * (nursery.MAX_PACKET - 9)] * 3, 1)
