"""loadgen.preflight.server_processes: whose memory and CPU are the server's, and why nobody's are."""

import os
import socket
import subprocess

import psutil
import pytest

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import can_unshare_files
from floodtest.flyweight.machine.listeners import Listener, read_listeners
from floodtest.loadgen.preflight import server_processes
from floodtest.loadgen.preflight.server_files import files_of
from floodtest.loadgen.preflight.server_processes import (
    LOOK_SECONDS,
    ServerProcesses,
    find_server,
    named_server,
    process_tree,
)
from tests.rigs.listening import LIMITED, Server, listening


def find(server: Server) -> ServerProcesses:
    return find_server(server.addresses, read_listeners())


def roots(found: ServerProcesses) -> list[int]:
    return [process.pid for process in found.roots]


def test_a_process_that_listens_is_the_server() -> None:
    with listening() as server:
        found = find(server)
        assert roots(found) == found.pids() == list(found.holders) == [server.pid]
        name = psutil.Process(server.pid).name()
        assert found.note() == (
            f"The server's memory and CPU are those of {name} (process {server.pid}) and its children: "
            "found by who listens at the target."
        )
    assert find(server).roots == ()
    assert found.pids() == []


def test_processes_that_share_a_listener_are_those_of_the_one_at_the_top() -> None:
    with listening("share(2)") as server:
        found = find(server)
        assert roots(found) == [server.pid]
        assert set(found.holders) == set(found.pids()) == {server.pid, *server.children}


@pytest.mark.skipif(not can_unshare_files(), reason="unshare(2) is forbidden here")
def test_a_process_whose_threads_have_the_listener_among_files_of_their_own_has_it() -> None:
    """As `comet serve` has its fronts: each thread may open as many files as a process."""
    in_threads = """
import threading
from floodtest.flyweight.machine.files import unshare_files
def have_threads():
    ready = threading.Barrier(3)
    def front():
        unshare_files()
        ready.wait()
        ready.wait()
        wait()
    for _ in range(2):
        threading.Thread(target=front).start()
    ready.wait()
    heard.close()
    ready.wait()
    os.write(writer, b".")
reader, writer = os.pipe()
child(have_threads)
os.read(reader, 1)
"""
    with listening(LIMITED + in_threads) as server:
        found = find(server)
        assert roots(found) == [server.pid]
        assert set(found.holders) == {server.pid, *server.children}
        assert files_of(found.holders) == 300 + 3 * 300


def test_processes_that_share_a_port_are_all_of_them() -> None:
    with listening("each_their_own(3)") as server:
        assert len(server.children) == 3
        assert sorted(roots(find(server))) == sorted(find(server).pids()) == sorted(server.children)


def test_who_listens_at_another_address_is_somebody_else() -> None:
    with listening() as server, listening(f"another = listen({server.port}, '127.0.0.2')") as other:
        assert roots(find(server)) == [server.pid]
        both = find_server([("127.0.0.1", server.port), ("127.0.0.2", server.port)], read_listeners())
        assert set(roots(both)) == {server.pid, other.pid}


def test_a_server_in_this_process_is_not_measured() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = find_server([listener.getsockname()], read_listeners())
    assert found.roots == ()
    assert found.holders == (os.getpid(),)
    assert found.note() == "The server's memory and CPU are not measured: it is in the process that runs floodtest."


def test_where_nothing_listens_the_server_is_elsewhere() -> None:
    found = find_server([("127.0.0.1", 80)], [])
    assert (found.roots, found.holders) == ((), ())
    assert found.reason.startswith("nothing listens at 127.0.0.1 port 80 in this network namespace, ")


@pytest.mark.parametrize(
    ("us", "words"),
    [
        (1000, "what listens at 0.0.0.0 port 80 belongs to the user 4242, and only that user and root can look at it"),
        (0, "what listens at 0.0.0.0 port 80 is a process that is not in our /proc, as in a container"),
        (4242, "what listens at 0.0.0.0 port 80 is a process that is not in our /proc, as in a container"),
    ],
)
def test_of_a_listener_whose_process_cannot_be_seen_nothing_is_guessed(
    us: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: us)
    with listening() as server:
        (seen,) = [one for one in read_listeners() if one.port == server.port]
        unseen = Listener("0.0.0.0", 80, uid=4242, inode=2**62, queued=0)
        found = find_server([*server.addresses, ("127.0.0.1", 80)], [seen, unseen])
    assert (found.roots, found.holders, found.reason) == ((), (), words)


def test_a_program_that_passes_connections_on_is_not_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_processes, "_name", lambda pid: "docker-proxy")
    with listening() as server:
        found = find(server)
    words = f"docker-proxy (process {server.pid}) listens there for a server elsewhere, which --server-pid may name"
    assert (found.roots, found.holders, found.reason) == ((), (server.pid,), words)


def test_a_proxy_is_measured_and_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_processes, "_name", lambda pid: "haproxy")
    with listening() as server:
        found = find(server)
    assert roots(found) == [server.pid]
    assert found.note().endswith("; if haproxy passes connections on, --server-pid may name the server behind it.")


def test_who_listens_for_a_service_that_it_starts_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening("share(1)") as server:
        monkeypatch.setattr(server_processes, "_name", {server.pid: "systemd"}.get)
        assert roots(find(server)) == server.children


def test_memory_that_is_not_ours_to_read_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_processes, "private_bytes", lambda pid, proc: None)
    with listening() as server:
        found = find(server)
    assert found.roots == ()
    assert found.reason.endswith(f" (process {server.pid}) is not ours to read")


def test_a_process_that_is_named_stands_for_its_children() -> None:
    with listening("share(2)") as server:
        found = named_server(server.pid)
        assert roots(found) == [server.pid]
        assert set(found.pids()) == set(found.holders) == {server.pid, *server.children}


def test_no_such_process_is_refused() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert not psutil.pid_exists(process.pid)
    with pytest.raises(Refused, match=f"no process {process.pid}"):
        named_server(process.pid)


def test_one_whose_memory_is_not_ours_to_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_processes, "private_bytes", {}.get)
    with pytest.raises(Refused, match=f"The memory of process {os.getpid()} can't be read .*leave --server-pid out"):
        named_server(os.getpid())


def test_a_server_that_floodtest_descends_from_is_measured_without_it() -> None:
    with listening() as child:
        tree = process_tree([os.getppid()])
        assert os.getppid() in tree
        assert not {os.getpid(), child.pid} & set(tree)
        assert process_tree([os.getpid(), child.pid]) != []


def test_a_search_that_takes_too_long_is_given_up_and_says_so() -> None:
    with listening() as server:
        ticks = iter([0.0, *[LOOK_SECONDS / 2] * 5])
        found = find_server(server.addresses, read_listeners(), clock=lambda: next(ticks, LOOK_SECONDS + 1))
    assert (found.roots, found.holders) == ((), ())
    assert found.reason.startswith("who listens there was not found in 2 s among all open files of this machine")
    assert next(ticks, None) is None
