"""Ctrl-C at any moment of a command's life: no traceback, not even while it is being imported."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from floodtest.flyweight.command import interrupt
from tests.rigs.support import COMMANDS


@pytest.fixture
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_is_deadly_until_a_command_runs(handler: None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt.die_of_it()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    interrupt.raise_it()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_was_started_to_ignore_it_does(handler: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupt.die_of_it()
    interrupt.raise_it()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("name", COMMANDS)
def test_an_import_that_is_interrupted_says_nothing(name: str) -> None:
    """The command's own modules are imported by a process that interrupts itself in the midst of it."""
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        f"from {COMMANDS[name]}.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
