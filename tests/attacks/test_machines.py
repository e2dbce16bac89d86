"""tests.rigs.machines: machines reach each other while their links are up, and no process, device or namespace is left
when the program that made them has ended.
"""

import os
import signal
import socket
import subprocess
import sys

import psutil

from tests.rigs.machines import Switch, apart
from tests.rigs.namespaces import in_a_namespace
from tests.rigs.support import processes_of, wait_until

PORT = 8000

SERVE = f"import socket; s = socket.create_server(('', {PORT})); held = [s.accept() for _ in range(9)]"


@in_a_namespace
def test_machines_reach_each_other_until_a_cable_is_pulled() -> None:
    switch = Switch()
    one, other = switch.add("one"), switch.add("other")

    def connect() -> socket.socket | None:
        try:
            return socket.create_connection((one.address, PORT), timeout=1)
        except OSError:
            return None

    with one.start(sys.executable, "-c", SERVE) as server:
        first = wait_until(connect, "it serves")
        with first:
            assert one.established(PORT, is_server=True) == 1
            assert one.established(PORT, is_server=False) == other.established(PORT, is_server=True) == 0
            assert (len(one.processes()), other.processes()) == (1, [])
            one.cut()
            assert connect() is None
            assert one.established(PORT, is_server=True) == 1  # nobody has told it anything
            one.mend()
            with wait_until(connect, "it is there again"):
                wait_until(lambda: one.established(PORT, is_server=True) == 2, "both are there")
            one.kill()
            assert server.wait(60) == -signal.SIGKILL
            assert one.processes() == []


def test_what_is_apart_ends_with_who_has_started_it() -> None:
    """Whether it is killed itself, or its parent is."""
    line = apart("tests.rigs.sleeper", "up")
    starts = f"import subprocess, sys; subprocess.run({line!r})"
    with subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        begun = [process.pid for process in psutil.Process(parent.pid).children(recursive=True)]
        assert len(begun) == 2  # who waits for the namespace, and the first process in it
        os.kill(parent.pid, signal.SIGKILL)
        wait_until(lambda: not processes_of(begun), "all have ended")
