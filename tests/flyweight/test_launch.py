"""flyweight.processes.launch: programs of ours end with us, whatever they are doing, and say how they ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from floodtest.flyweight.processes.launch import launch, run_to_end
from tests.rigs.support import processes_of, wait_until

LAUNCHES = """
import os, signal, sys, trio
from floodtest.flyweight.processes.launch import launch

async def main():
    reader, writer = os.pipe()
    program = launch("tests.rigs.sleeper", "up", stdout=writer, outlives_us=sys.argv[1] == "outlives")
    os.read(reader, 2)
    os.kill(program.pid, signal.SIGSTOP)
    print(program.pid, flush=True)
    await trio.sleep_forever()

trio.run(main)
"""
"""Launches a program, stops it when it is up, and says its process id."""


@pytest.fixture(autouse=True)
def _tests_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.mark.parametrize("outlives", [False, True])
def test_a_stopped_program_is_killed_with_its_parent_unless_it_is_to_outlive_it(outlives: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", LAUNCHES, "outlives" if outlives else ""], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    if not outlives:
        wait_until(lambda: not processes_of([pid]), "the program has ended")
    else:
        assert processes_of([pid]) == [pid]
        os.kill(pid, signal.SIGKILL)


def test_it_is_in_a_session_of_its_own_and_tells_how_it_ended() -> None:
    async def main() -> None:
        program = launch("tests.rigs.sleeper")
        assert program.exit_status is None
        assert os.getsid(program.pid) == program.pid
        program.terminate()
        with trio.fail_after(60):
            assert await program.wait() == -signal.SIGTERM
        assert program.exit_status == -signal.SIGTERM
        program.kill()  # of one that has ended is nothing

    trio.run(main)


def test_two_may_wait_for_the_same_program() -> None:
    async def main() -> None:
        program = launch("tests.rigs.sleeper")
        with trio.fail_after(60):
            async with trio.open_nursery() as tasks:
                tasks.start_soon(program.wait)
                tasks.start_soon(program.wait)
                await trio.testing.wait_all_tasks_blocked()
                program.kill()

    trio.run(main)


def test_what_a_program_says_is_kept() -> None:
    done = trio.run(run_to_end, "tests.rigs.sleeper", "say")
    assert (done.exit_status, done.output, done.errors) == (3, b"out" * 100_000, b"err" * 100_000)


def test_a_program_that_is_run_to_its_end_is_killed_when_nobody_waits_any_more() -> None:
    found: list[int] = []

    async def main() -> None:
        before = set(children())
        with trio.move_on_after(60) as scope:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(run_to_end, "tests.rigs.sleeper")
                await trio.testing.wait_all_tasks_blocked()
                found.extend(set(children()) - before)
                tasks.cancel_scope.cancel()
        assert not scope.cancelled_caught

    trio.run(main)
    assert len(found) == 1
    assert processes_of(found) == []


def children() -> list[int]:
    """Return the processes that this one has started."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
