"""flyweight.command.inherited: signals that whoever starts a command blocks or ignores."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from floodtest.flyweight.command.inherited import LEAST_ADDRESSES
from tests.rigs.forking import forked
from tests.rigs.support import COMMANDS, OURS, command, open_now, run_forked, run_here, wait_until

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


def block() -> None:
    """What a thread that handles no signals hands on to what it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)


def ignore_ends_of_children() -> None:
    """What `trap '' CHLD` of a shell does."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def small_run(out: Path, *arguments: str) -> list[str]:
    options = ("--json", "--no-report", "--out", str(out), *OURS, "--connections", "50")
    return ["floodtest", "run", *options, *arguments]


@contextmanager
def started(line: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A command that was started (forked) with signals blocked; killed with the block if it has not ended."""
    with forked(line, stdout=subprocess.PIPE, text=True, preexec_fn=block) as process:
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
    with started(command(*small_run(tmp_path, "--hold", "60"))) as process:
        wait_until(lambda: open_now(tmp_path) == 50, "50 connections are open")
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["outcome"]) == (130, "interrupted")


def test_a_server_is_ended_by_a_signal_that_was_blocked() -> None:
    with served() as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_what_a_command_starts_blocks_nothing() -> None:
    with served() as process:
        pids = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        assert len(pids) > 2
        assert {_mask(pid) for pid in pids} == {0}


def _mask(pid: int) -> int:
    """Return the signals that a process's first thread blocks, a bit each (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:")), 16)


@pytest.mark.parametrize("arguments", [["--hold", "0.1"], ["--hold", "0.1", "--network", "auto"]])
def test_a_run_whose_parent_ignores_the_ends_of_children(arguments: list[str], tmp_path: Path) -> None:
    done = run_forked(*small_run(tmp_path, *arguments), preexec_fn=ignore_ends_of_children)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    summary = json.loads(done.stdout)
    assert (summary["outcome"], summary["connections"]["opened"]) == ("ok", 50)


def test_a_server_that_fails_is_noticed_where_the_ends_of_children_were_ignored(tmp_path: Path) -> None:
    """The exit status of the server says whether it refuses to serve, which is no fault."""
    taken = run_here("comet", "subs", "add", "7", "8", "--db", str(tmp_path / "db"))
    assert taken.returncode == 0
    (tmp_path / "db/data.mdb").write_bytes(b"x" * 10_000)
    line = small_run(tmp_path, "--hold", "0.1", "--messages", "1", "--db", str(tmp_path / "db"))
    done = run_forked(*line, preexec_fn=ignore_ends_of_children)
    assert done.returncode == 3
    assert "The subscription store" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_addresses_that_are_too_few_to_start_with_are_named(name: str) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (100_000 << 10, 100_000 << 10))

    done = run_with(limit, command(name, "--help"))
    words = f"{name}: This process may have addresses for 100,000 KiB, and takes 393,216 to start: raise ulimit -v.\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", words)


def test_numpy_brings_no_threads() -> None:
    """Each would take addresses for a stack, and there is one for each core."""
    code = (
        "import os\nfrom flyweight.command.inherited import put_right\nput_right('it')\n"
        "import numpy\nprint(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "1\n", done.stderr


def test_a_run_with_few_addresses(tmp_path: Path) -> None:
    """As many as a command takes to start; each of three workers an end then has a process of its own."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (LEAST_ADDRESSES, LEAST_ADDRESSES))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    options = ("--json", "--no-report", "--out", str(tmp_path), *OURS, "--connections", "300", "--hold", "0.1")
    done = run_with(limit, command("floodtest", "run", *options))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["outcome"], summary["workers"]["client"], summary["workers"]["server"]) == ("ok", 3, 3)


def run_with(before: Callable[[], None], line: list[str]) -> "subprocess.CompletedProcess[str]":
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
    return subprocess.run(line, preexec_fn=before, **options)
