"""loadgen.preflight.server_files: how many files a server's processes may open together."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import can_unshare_files, unshare_files
from floodtest.loadgen.preflight import server_files
from floodtest.loadgen.preflight.server_files import files_of_listeners, files_of_server, process_tree, tables_of_files

LIMITED = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))\n"
WAIT = "print('up', flush=True); sys.stdin.read()\n"


@pytest.fixture
def limited() -> Iterator[int]:
    """A process that may open 300 files, with a child of its own that may as well."""
    child = f"import subprocess; subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'])\n{WAIT}"
    arguments = [sys.executable, "-c", LIMITED + child]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def test_a_process_and_its_children_add_up(limited: int) -> None:
    assert len(process_tree(limited)) == 2
    assert files_of_server(limited) == 600


def test_those_who_listen_on_a_port_are_found_with_the_files_they_may_open() -> None:
    listen = (
        "import socket\nheard = socket.create_server(('127.0.0.1', 0))\nprint(heard.getsockname()[1], flush=True)\n"
    )
    arguments = [sys.executable, "-c", f"{LIMITED}{listen}sys.stdin.read()\n"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert files_of_listeners(port) == 300
        process.stdin.close() if process.stdin else None
    assert files_of_listeners(port) is None


def test_no_such_process_is_refused() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert not psutil.pid_exists(process.pid)
    with pytest.raises(Refused, match=f"no process {process.pid}"):
        files_of_server(process.pid)


def test_one_whose_memory_is_not_ours_to_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_files, "private_bytes", {}.get)
    with pytest.raises(Refused, match=f"The memory of process {os.getpid()} can't be read .*leave --server-pid out"):
        files_of_server(os.getpid())


def test_a_thread_with_files_of_its_own_counts_and_one_without_does_not() -> None:
    before, done, ready = tables_of_files(os.getpid()), threading.Event(), threading.Barrier(3)

    def shares() -> None:
        ready.wait()
        done.wait()

    def has_its_own() -> None:
        if can_unshare_files():
            unshare_files()
        ready.wait()
        done.wait()

    threads = [threading.Thread(target=target) for target in (shares, has_its_own)]
    for thread in threads:
        thread.start()
    ready.wait()
    try:
        assert tables_of_files(os.getpid()) == before + can_unshare_files()
    finally:
        done.set()
        for thread in threads:
            thread.join()
