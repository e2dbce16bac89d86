"""loadgen.preflight.server_files: how many files a server's processes may open together."""

import errno
import os
import threading
from pathlib import Path

import pytest

from floodtest.flyweight.machine.files import can_unshare_files, unshare_files
from floodtest.loadgen.preflight import server_files
from floodtest.loadgen.preflight.server_files import files_of, tables_of_files
from tests.rigs.listening import LIMITED, listening


def test_files_of_processes_add_up() -> None:
    with listening(f"{LIMITED}share(2)") as server:
        assert files_of([server.pid, *server.children]) == 900
    assert files_of([server.pid]) == 0


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


ENDED = 4_194_305
"""More than the id of a thread can be (PID_MAX_LIMIT)."""


def of_threads(folder: Path, *threads: int) -> int:
    """Return the tables of a process with these threads."""
    for thread in threads:
        (folder / "7/task" / str(thread)).mkdir(parents=True)
    return tables_of_files(7, folder)


def test_threads_that_have_ended_have_no_table(tmp_path: Path) -> None:
    """As those of a server that has a thread for each connection, when all of these have just been closed."""
    try:
        server_files._share_files(os.getpid(), os.getpid())
    except OSError as error:
        pytest.skip(f"kcmp(2) is not to be had here: {error}")
    assert of_threads(tmp_path, os.getpid(), *range(ENDED, ENDED + 50)) == 1


def test_where_it_can_not_be_told_each_thread_counts_and_nothing_is_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(thread: int, other: int) -> bool:
        asked.append((thread, other))
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(server_files, "_share_files", refuse)
    assert of_threads(tmp_path, *range(1000, 1400)) == 400
    assert len(asked) == 1
