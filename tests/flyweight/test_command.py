"""flyweight.command.run: standard output that can't be written, or that nobody reads any more."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_group

from floodtest.flyweight.command.run import only_asked_for
from floodtest.loadgen.commands import floodtest
from floodtest.server_under_test.commands import comet
from floodtest.server_under_test.routing.subscriptions import Store
from tests.rigs.forking import forked
from tests.rigs.support import OUR_NETWORK, command, run_here

PRINTING = """
import sys
from floodtest.flyweight.command.run import run_command
from floodtest.flyweight.errors import Refused

def app():
    for _ in range({lines}):
        print("x" * {width})
    {end}

run_command("it", app)
"""

AMOUNTS = [(0, 0), (1, 1), (1, 8191), (3, 8192), (1, 100_000), (10_000, 10)]
"""Lines and their width: such that are kept till the end, and such that are written at once."""


@contextmanager
def unread() -> Iterator[int]:
    """The end to write to of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def printed(amount: tuple[int, int], end: str, stdout: int | None) -> tuple[int, str]:
    """Return the exit code and stderr of a command that prints so much and then does something."""
    code = PRINTING.format(lines=amount[0], width=amount[1], end=end)
    kept = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, text=True, env=kept)
    return done.returncode, done.stderr


@pytest.mark.parametrize("amount", AMOUNTS)
def test_output_that_cannot_be_written_is_one_line(amount: tuple[int, int]) -> None:
    with open("/dev/full", "wb") as full:
        code, said = printed(amount, "return", full.fileno())
    words = "it: Can't write to standard output: No space left on device. Send it elsewhere, or make room.\n"
    assert (code, said) == ((3, words) if amount[0] else (0, ""))


@pytest.mark.parametrize("amount", AMOUNTS)
def test_output_that_nobody_reads_any_more_ends_a_command_quietly(amount: tuple[int, int]) -> None:
    with unread() as writer:
        assert printed(amount, "return", writer) == ((141, "") if amount[0] else (0, ""))


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("sys.exit(4)", 4, ""),
        ("sys.exit(0)", 141, ""),
        ("raise Refused('It fails.')", 3, "it: It fails.\n"),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_a_command_that_had_failed_anyhow_keeps_its_exit_code(end: str, code: int, words: str) -> None:
    with unread() as writer:
        assert printed((1, 1), end, writer) == (code, words)


@pytest.mark.parametrize("raised", ["MemoryError('Too much.')", "BaseExceptionGroup('', [MemoryError('Too much.')])"])
def test_memory_that_cannot_be_had_is_a_line(raised: str) -> None:
    """Here by a limit of addresses, which is named."""
    limited = f"__import__('resource').setrlimit(__import__('resource').RLIMIT_AS, (1 << 30, 1 << 30)); raise {raised}"
    words = "it: Out of memory (this process may have addresses for 1,048,576 KiB: raise ulimit -v). Too much.\n"
    assert printed((0, 0), limited, subprocess.DEVNULL) == (3, words)
    assert printed((0, 0), f"raise {raised}", subprocess.DEVNULL) == (3, "it: Out of memory. Too much.\n")


def test_a_command_whose_output_was_closed_before_it_began_says_nothing() -> None:
    code = PRINTING.format(lines=3, width=8192, end="return")
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, code], stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_another_error_of_the_system_is_still_a_fault_of_ours() -> None:
    code, said = printed((1, 1), "raise OSError(28, 'No space left on device')", subprocess.DEVNULL)
    assert (code, said.startswith("Traceback")) == (1, True)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fakefriends", ["stats", "f.txt"]),
        ("comet", ["subs", "get", "7", "--db", "db"]),
        ("floodtest", ["plan", "--connections", "100", "--network", "host", "--base-ip", f"{OUR_NETWORK}.9"]),
        ("fakefriends", ["gen", "--help"]),
    ],
)
def test_all_commands_do_so(name: str, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("1 2\n")
    with Store(tmp_path / "db", create=True) as store:
        store.add_subscriptions([(1, 7)])
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(name, *arguments), cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(f"{name}: Can't write to standard output: ")
    with unread() as writer:
        options: dict[str, Any] = {"stdout": writer, "stderr": subprocess.PIPE, "text": True}
        with forked(command(name, *arguments), cwd=tmp_path, **options) as gone:
            _, errors = gone.communicate(timeout=60)
    assert gone.returncode == 141
    assert not [line for line in errors.splitlines() if line.startswith((f"{name}: ", "Traceback", "Exception"))]
    assert run_here(name, *arguments, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("app", [comet.app, floodtest.app], ids=["comet", "floodtest"])
def test_options_are_made_of_the_command_that_is_asked_for_and_help_is_as_if_all_were(app: typer.Typer) -> None:
    group = get_group(app)
    for name, whole in group.commands.items():
        lean = get_group(only_asked_for(app, ["--version", name, "--rate", "9"]))
        assert _help(lean) == _help(group)
        assert _help(lean.commands[name]) == _help(whole)
        commands = {each: one for each, one in lean.commands.items() if not isinstance(one, TyperGroup)}
        assert {each for each, one in commands.items() if one.params} == {name} & commands.keys()


def _help(command: Any) -> str:
    return str(command.get_help(command.make_context("it", [], resilient_parsing=True)))
