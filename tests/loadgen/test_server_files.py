"""loadgen.preflight.server_files: how many files a server's processes may open together."""

import os
import threading

from floodtest.flyweight.machine.files import can_unshare_files, unshare_files
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
