"""The guards: before memory runs out the ramp stops; what must not be loaded or shared is refused before a start."""

import resource
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from floodtest.analysis import load
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine import headroom as room
from floodtest.flyweight.machine.files import Memory, read_memory
from floodtest.loadgen.commands.console import PlainConsole
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight import outlook
from floodtest.loadgen.run.conductor import Run
from tests.rigs.host import FakeMachine
from tests.rigs.support import OUR_NETWORK, OURS, flood, open_now, run_in_child, scripted_server, started, wait_until


@pytest.mark.parametrize("rate", [1000, 50])
def test_the_ramp_stops_when_another_process_eats_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    def shrinking() -> Memory:
        """Plenty at first, then less than the reserve."""
        memory = read_memory()
        return memory if open_now(tmp_path) < rate / 10 else replace(memory, available=1 << 20)

    monkeypatch.setattr(room, "read_memory", lambda proc: shrinking())
    options = RunOptions(Plan(1, 3000, f"{OUR_NETWORK}.1", 2000, 3000), rate=rate, hold=0.5, out=tmp_path)
    summary = trio.run(Run(options, [PlainConsole()]).execute)
    assert summary.outcome == "shortfall"
    assert summary.reasons[0].startswith("memory: the ramp was ended with 1 MiB of this machine available")
    connections = summary.connections
    assert 0 < connections.opened < 3000
    assert connections.opened + connections.not_reached == 3000
    assert connections.closed_early == 0
    assert load(summary.run).samples[-2].open == connections.opened  # the last of the hold


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
