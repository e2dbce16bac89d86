"""flyweight.inherited: signals that whoever starts a command blocks or ignores."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import OURS, command, open_now, run, wait_until

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


def block() -> None:
    """What a thread that handles no signals hands on to what it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)


def ignore_ends_of_children() -> None:
    """What `trap '' CHLD` of a shell does."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def small_run(out: Path, *arguments: str) -> list[str]:
    options = ("--json", "--no-report", "--out", str(out), *OURS, "--connections", "50")
    return command("floodtest", "run", *options, *arguments)


@contextmanager
def started(line: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A command that was started with signals blocked; killed with the block if it has not ended."""
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, preexec_fn=block) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def served() -> Iterator["subprocess.Popen[str]"]:
    """A server that was started so, and serves."""
    with started(command("comet", "serve", "--port", "0", "--control-port", "0")) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("comet serves")
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_is_ended_by_a_signal_that_was_blocked(number: signal.Signals, tmp_path: Path) -> None:
    """Its server is ended by SIGTERM in turn: were it blocked there, that would take a minute."""
    with started(small_run(tmp_path, "--hold", "60")) as process:
        wait_until(lambda: open_now(tmp_path) == 50, "50 connections are open")
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["outcome"]) == (130, "interrupted")


def test_a_server_is_ended_by_a_signal_that_was_blocked() -> None:
    with served() as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_what_a_command_starts_blocks_nothing() -> None:
    with served() as process:
        pids = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        assert len(pids) > 2
        assert {_mask(pid) for pid in pids} == {0}


def _mask(pid: int) -> int:
    """Return the signals that a process's first thread blocks, a bit each (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:")), 16)


@pytest.mark.parametrize("arguments", [["--hold", "0.1"], ["--hold", "0.1", "--network", "host"]])
def test_a_run_whose_parent_ignores_the_ends_of_children(arguments: list[str], tmp_path: Path) -> None:
    done = run_with(ignore_ends_of_children, small_run(tmp_path, *arguments))
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    summary = json.loads(done.stdout)
    assert (summary["outcome"], summary["connections"]["opened"]) == ("ok", 50)


def test_a_server_that_fails_is_noticed_where_the_ends_of_children_were_ignored(tmp_path: Path) -> None:
    """The exit status of the server says whether it refuses to serve, which is no fault."""
    taken = run("comet", "subs", "add", "7", "8", "--db", str(tmp_path / "db"))
    assert taken.returncode == 0
    (tmp_path / "db/data.mdb").write_bytes(b"x" * 10_000)
    line = small_run(tmp_path, "--hold", "0.1", "--messages", "1", "--db", str(tmp_path / "db"))
    done = run_with(ignore_ends_of_children, line)
    assert done.returncode == 3
    assert "The subscription store" in done.stderr.splitlines()[-1]


def run_with(before: Callable[[], None], line: list[str]) -> "subprocess.CompletedProcess[str]":
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
    return subprocess.run(line, preexec_fn=before, **options)
