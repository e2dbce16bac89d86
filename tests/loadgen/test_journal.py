"""loadgen.run.conductor, local_site, crew: what reads a run's figures may fail; the run goes on, or ends in order."""

import os
import time
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import trio
import trio.testing

from floodtest.analysis import Summary, load
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.command.run import known_error
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.errors import FloodtestError, Refused, WorkerFault
from floodtest.flyweight.machine.files import Memory, read_memory
from floodtest.flyweight.machine.headroom import MemoryGauge, Room
from floodtest.flyweight.processes.workers import Workers
from floodtest.loadgen.client.accounts import LEDGER, State
from floodtest.loadgen.commands.console import PlainConsole
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.server_processes import Process, ServerProcesses
from floodtest.loadgen.run import journal, local_site
from floodtest.loadgen.run.bundled import BundledServer
from floodtest.loadgen.run.conductor import Run
from floodtest.loadgen.run.crew import SETTLE_QUIET, Crew
from floodtest.loadgen.run.guard import Guard
from floodtest.loadgen.run.journal import Journal
from floodtest.loadgen.run.listen_queue import QueueWatch
from floodtest.loadgen.run.sampling import Sampler
from floodtest.loadgen.run.server_side import ServerSide
from floodtest.wire.control import Stats
from tests.loadgen.test_sites import TARGET
from tests.rigs.support import OUR_NETWORK

pytestmark = pytest.mark.usefixtures("forks")


def run(out: Path) -> Summary:
    options = RunOptions(Plan(1, 200, f"{OUR_NETWORK}.9", 2000, 200), hold=0.5, interval=0.1, out=out)
    return trio.run(Run(options, [PlainConsole()]).execute)


def fail_in(stage: str, patch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let samples of a stage fail with an error, where the machine's figures are read."""
    original = Sampler.take
    stages: list[str] = []

    async def take(self: Sampler, *how: Any) -> None:
        stages.append(self._progress.stage)
        await original(self, *how)

    def read() -> Memory:
        if stages[-1] == stage:
            raise error
        return read_memory()

    patch.setattr(Sampler, "take", take)
    patch.setattr(local_site, "read_memory", read)


def test_samples_that_cannot_be_read_are_a_reason_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_in("hold", monkeypatch, OSError(24, "Too many open files", "/proc/meminfo"))
    summary = run(tmp_path)
    assert summary.connections.opened == 200
    assert summary.outcome == "shortfall"
    assert summary.reasons == ["samples: some are missing, since /proc/meminfo: Too many open files"]


FULL_TABLE = OSError(23, "Too many open files in system", "/proc/meminfo")


def test_a_guard_that_can_not_read_memory_for_a_moment_looks_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    class Blinking(MemoryGauge):
        def rooms(self) -> list[Room]:
            looks.append(self)
            if len(looks) <= 2:
                raise FULL_TABLE
            return super().rooms()

    monkeypatch.setattr(local_site, "Guard", lambda gauge, complain: Guard(Blinking(), complain))
    plan = Plan(1, 200, f"{OUR_NETWORK}.9", 2000, 200)
    summary = trio.run(Run(RunOptions(plan, rate=200, hold=0, out=tmp_path)).execute)
    assert summary.connections.opened == 200
    reason = "memory: it was not watched for a time, since /proc/meminfo: Too many open files in system"
    assert (summary.outcome, summary.reasons) == ("shortfall", [reason])
    assert len(looks) > 3


def test_facts_of_the_host_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Memory:
        raise FULL_TABLE

    written = Journal(tmp_path, {}, {})
    monkeypatch.setattr(journal, "read_memory", fail)
    written.stage(Stage.RAMP)
    written.close()
    assert (written.fault, load(written.folder).run["host"]["memory"]) == (None, read_memory().total)
    with pytest.raises(Refused, match="Can't read /proc/meminfo for the record of the run: Too many open files in "):
        Journal(tmp_path / "second", {}, {})
    assert not (tmp_path / "second").exists()


def test_processes_of_a_server_that_can_not_be_looked_for_are_those_of_the_last_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[list[int] | OSError] = [FULL_TABLE, [os.getpid()], FULL_TABLE, FULL_TABLE]

    def pids() -> list[int]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    processes = ServerProcesses((Process(os.getpid(), "server"),))
    monkeypatch.setattr(ServerProcesses, "pids", lambda found: pids())
    server = ServerSide(TARGET, None, processes, QueueWatch(TARGET.addresses, None))
    assert server.measure(everything=True) is None
    for _ in range(3):
        measured = server.measure(everything=True)
        assert measured is not None
        assert measured[0] > 1 << 20
    assert server.reasons == [
        "samples: some are missing processes of the server, since /proc/meminfo: Too many open files in system"
    ]


@pytest.mark.parametrize("stage", ["ramp", "hold", "close"])
def test_a_fault_beside_the_stages_ends_the_run_in_order_and_soon(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_in(stage, monkeypatch, ZeroDivisionError())
    original_close = Crew.close

    async def linger(self: Crew) -> None:
        await trio.sleep(0.5)  # for a sample of this stage
        await original_close(self)

    monkeypatch.setattr(Crew, "close", linger)
    began = time.monotonic()
    with pytest.raises(BaseExceptionGroup) as caught:
        run(tmp_path)
    assert caught.group_contains(ZeroDivisionError)
    assert known_error(caught.value) is None
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("stage", "error"), [("start", Refused), ("hold", WorkerFault)])
def test_memory_that_runs_out_is_no_refusal_once_the_run_is_under_way(
    stage: str, error: type[FloodtestError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_in(stage, monkeypatch, MemoryError())
    with pytest.raises((FloodtestError, MemoryError, BaseExceptionGroup)) as caught:
        run(tmp_path)
    known = known_error(caught.value)
    assert type(known) is error
    if error is WorkerFault:
        assert str(known) == f"The run broke off: Out of memory. Its record is {next(tmp_path.iterdir())}."


def test_connections_that_end_while_the_run_closes_are_in_its_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a front that dies do, one after another; and why that was."""
    original_close, original_stats = Crew.close, BundledServer.stats
    killed: dict[str, Any] = {}

    async def end_some(self: Crew) -> None:
        await original_close(self)
        self._states[:7] = State.CLOSED_EARLY
        killed["fronts"] = [-9]

    async def stats(self: BundledServer) -> Stats | None:
        figures = await original_stats(self)
        return None if figures is None else msgspec.structs.replace(figures, **killed)

    monkeypatch.setattr(Crew, "close", end_some)
    monkeypatch.setattr(BundledServer, "stats", stats)
    summary = run(tmp_path)
    assert (summary.connections.opened, summary.connections.closed_early) == (200, 7)
    assert "1 of 1 fronts of the bundled server ended by themselves, by signal 9" in summary.reasons[0]
    assert load(summary.run).summary == summary


def test_a_run_waits_for_connections_that_go_on_to_end(tmp_path: Path) -> None:
    """But not without end: who is behind by more has its other connections closed."""
    states = np.full(100, State.OPEN, np.uint8)

    async def main() -> None:
        crew = Crew(cast(Workers, None), Ledger(LEDGER, 1), states, complaints.append)
        began = trio.current_time()
        await crew.wait_for_ends()
        assert trio.current_time() == began  # nothing has ended

        async def end_one_by_one(most: int) -> None:
            for user in range(most):
                states[user] = State.CLOSED_EARLY
                await trio.sleep(SETTLE_QUIET * 0.9)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(end_one_by_one, 20)
            await trio.testing.wait_all_tasks_blocked()
            await crew.wait_for_ends()
            assert np.count_nonzero(states == State.CLOSED_EARLY) == 20
        async with trio.open_nursery() as tasks:
            tasks.start_soon(end_one_by_one, 100)
            await trio.testing.wait_all_tasks_blocked()
            await crew.wait_for_ends()
            assert np.count_nonzero(states == State.CLOSED_EARLY) < 100
            tasks.cancel_scope.cancel()

    complaints: list[str] = []
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert complaints == []
