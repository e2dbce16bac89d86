"""The guards: before memory runs out the ramp stops, and the run; what must not be loaded or shared is refused before a
start.
"""

import resource
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from floodtest.analysis import Sample, load
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine import headroom as room
from floodtest.flyweight.machine.files import Memory, read_memory
from floodtest.flyweight.machine.headroom import MemoryGauge, Reserve, Room
from floodtest.loadgen.commands.console import PlainConsole
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight import outlook
from floodtest.loadgen.run.conductor import Run
from floodtest.loadgen.run.guard import LOOK_SECONDS, Guard
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.watch import Watcher
from tests.rigs.host import FakeMachine
from tests.rigs.support import OUR_NETWORK, OURS, flood, open_now, run_in_child, scripted_server, started, wait_until

MIB = 1 << 20
GIB_TO_LEAVE = Reserve(0.0, 1024 * MIB)


# -- before memory runs out ------------------------------------------------------------------------------------------


class Falling:
    """A gauge in whose readings this machine has ever less, and fails to be read in between; in MiB, None: it fails."""

    def __init__(self, *readings: int | None) -> None:
        self._readings = iter(readings)

    def rooms(self) -> list[Room]:
        left = next(self._readings)
        if left is None:
            raise OSError(23, "Too many open files in system", "/proc/meminfo")
        plenty = Room("another", 1 << 40, 1 << 39, 0)
        return [plenty, Room("this machine", 8192 * MIB, left * MIB, 600 * MIB)]


def test_a_ramp_ends_at_the_reserve_and_a_run_at_half_of_it() -> None:
    told: list[str] = []
    guard = Guard(cast(MemoryGauge, Falling(900, 601, 600, 301, None, None, 300)), told.append)

    async def watch() -> None:
        await guard.wait_until_ramp_must_end()
        assert trio.current_time() == pytest.approx(2 * LOOK_SECONDS)
        await guard.wait_until_run_must_end()
        assert trio.current_time() == pytest.approx(5 * LOOK_SECONDS)

    trio.run(watch, clock=trio.testing.MockClock(autojump_threshold=0))
    assert told == [
        "memory: the ramp was ended with 600 MiB of this machine available, to leave 600 MiB free",
        "memory: it was not watched for a time, since /proc/meminfo: Too many open files in system",
        (
            "memory: the run was ended early with 300 MiB of this machine available, which is no more than half of the "
            "600 MiB to leave free"
        ),
    ]


class Eater(Watcher):
    """Another process, which eats the memory in a stage as soon as messages of it have come."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.has_eaten = False

    def sample(self, sample: Sample, reading: Reading) -> None:
        counted = len(reading.ticks) if self._stage == Stage.HOLD else reading.counters.messages
        self.has_eaten = self.has_eaten or (sample.stage == self._stage and counted > 2)

    def memory(self) -> Memory:
        memory = read_memory()
        return replace(memory, available=100 * MIB, reclaimable=0) if self.has_eaten else memory


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("stage", [Stage.HOLD, Stage.MESSAGES])
def test_a_stage_in_which_memory_runs_out_ends_the_run_in_order(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is accounted for as in a run that was not cut short."""
    eater = Eater(stage)
    monkeypatch.setattr(room, "read_memory", lambda proc: eater.memory())
    is_hold = stage == Stage.HOLD
    messages = None if is_hold else MessageOptions(100, seconds=60)
    plan = Plan(1, 100, f"{OUR_NETWORK}.3", 2000, 100)
    hold, tick = (60, 0.1) if is_hold else (0, None)
    options = RunOptions(plan, hold=hold, tick=tick, messages=messages, interval=0.2, out=tmp_path)
    summary = trio.run(Run(options, [eater]).execute)
    assert eater.has_eaten
    reason, *others = summary.reasons
    assert reason.startswith("memory: the run was ended early with 100 MiB of this machine available")
    assert (summary.outcome, summary.connections.opened, summary.connections.closed_early) == ("shortfall", 100, 0)
    assert {(tick.sent, tick.received) for tick in summary.ticks} == ({(100, 100)} if is_hold else set())
    if is_hold:
        assert others == []
    else:
        assert summary.messages is not None
        assert 0 < summary.messages.published < summary.messages.planned
        assert (summary.messages.lost, summary.messages.duplicated) == (0, 0)
        assert [other.split(" of ")[0] for other in others] == [f"messages: {summary.messages.published:,}"]
    assert load(summary.run).summary == summary


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("rate", [1000, 50])
def test_the_ramp_stops_when_another_process_eats_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    def shrinking() -> Memory:
        """Plenty at first, then less than the reserve, and more than half of it."""
        memory = read_memory()
        return memory if open_now(tmp_path) < rate / 10 else replace(memory, available=600 * MIB, reclaimable=0)

    monkeypatch.setattr(room, "read_memory", lambda proc: shrinking())
    plan = Plan(1, 3000, f"{OUR_NETWORK}.1", 2000, 3000)
    options = RunOptions(plan, rate=rate, hold=0.5, reserve=GIB_TO_LEAVE, out=tmp_path)
    summary = trio.run(Run(options, [PlainConsole()]).execute)
    assert summary.outcome == "shortfall"
    assert summary.reasons[0].startswith("memory: the ramp was ended with 600 MiB of this machine available")
    connections = summary.connections
    assert 0 < connections.opened < 3000
    assert connections.opened + connections.not_reached == 3000
    assert connections.closed_early == 0
    assert load(summary.run).samples[-2].open == connections.opened  # the last of the hold


# -- before a start --------------------------------------------------------------------------------------------------


def test_a_second_run_on_the_same_pairs_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    where = ("--network", "host", "--base-ip", "127.78.1.1", "--connections", "100")
    with started(tmp_path / "first", *where, "--hold", "60") as first:
        wait_until(lambda: open_now(tmp_path / "first") == 100, "100 connections")
        code, summary, errors = flood(tmp_path / "second", *where, "--hold", "0")
        assert (code, summary["outcome"]) == (3, "refused")
        assert f"Another floodtest (process {first.pid}) has 127.78.1.1" in errors
        assert not (tmp_path / "second").exists()
        apart = (*where, "--each", "100", "--first-port", "30000", "--hold", "0", "--ips", "1")
        assert flood(tmp_path / "third", *apart)[0] == 0
        assert open_now(tmp_path / "first") == 100
        first.terminate()
        first.wait(60)
    assert flood(tmp_path / "fourth", *where, "--hold", "0")[0] == 0


def test_a_public_target_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    target = "http://203.0.113.5/{user}"
    code, _, errors = flood(tmp_path / "runs", "--target", target, "--connections", "1")
    assert code == 3
    assert "--base-ip" in errors or "public" in errors
    assert not (tmp_path / "runs").exists()


def test_a_server_that_may_open_few_files_is_refused_with_the_number_that_it_holds(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with scripted_server(lambda connection: None) as target, subprocess.Popen(["sleep", "60"], preexec_fn=limit) as pid:
        arguments = ("--target", target, "--connections", "100", "--server-pid", str(pid.pid))
        code, _, errors = flood(tmp_path, *arguments)
        pid.kill()
    assert code == 3
    assert "64 would fit" in errors
    assert "open files of the server: 64, and at least 100 needed" in errors


def test_no_room_beyond_the_reserve_is_refused(tmp_path: Path) -> None:
    code, summary, errors = flood(tmp_path / "runs", "--connections", "10", "--reserve", "1000000GiB")
    assert (code, summary["outcome"]) == (3, "refused")
    assert "Not even one connection fits" in errors
    assert not (tmp_path / "runs").exists()


def test_fit_cuts_the_plan_to_what_the_machine_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMachine(tmp_path)
    fake.memory(total=8, available=2)
    monkeypatch.setattr(outlook, "Machine", lambda reserve: fake.machine(reserve))
    options = RunOptions(Plan(17, 62_000, "127.0.1.1", 1024, 1_054_000))
    cut, found = outlook.fitted(options)
    assert 100_000 < cut.plan.connections == found.connections < 200_000
    assert found.reason.startswith("memory available")
    outlook.look(cut).refuse()
    fake.memory(total=8, available=0.5)
    with pytest.raises(Refused, match="Not one connection fits"):
        outlook.fitted(options)


def limited_to_256() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def test_a_hard_limit_of_256_files_is_refused_past_the_most_workers(tmp_path: Path) -> None:
    many = run_in_child(limited_to_256, "floodtest", "run", *OURS, "--connections", "60000", cwd=tmp_path)
    assert many.returncode == 3
    assert "51,200 would fit: --connections 51200, or --fit." in many.stderr
    assert "open files, hard limit: 256, and at least 278 needed" in many.stderr
