"""loadgen.run.listen_queue: what becomes of the queue of connections that a server has not accepted."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from floodtest.flyweight.machine.listeners import NET, ask_for_listeners
from floodtest.loadgen.run.listen_queue import QueueWatch
from floodtest.server_under_test.fronts.listener import wait_for_requests
from tests.rigs.host import FakeMachine
from tests.rigs.support import OUR_NETWORK, wait_until

NETSTAT = "TcpExt: ListenOverflows ListenDrops TCPSynRetrans TCPDeferAcceptDrop\nTcpExt: {} {} 0 {}\n"


def test_a_queue_that_fills_in_a_ramp_is_told_with_its_backlog_and_what_was_dropped() -> None:
    if ask_for_listeners() is None:
        pytest.skip("the kernel hands out no list of listeners here (NETLINK_SOCK_DIAG), as in some containers")
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server((f"{OUR_NETWORK}.8", 0), backlog=3))
        watch = QueueWatch([listener.getsockname()], NET)
        assert watch.found is None
        watch.look()
        before = watch.found
        for _ in range(8):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())

        def dropped() -> int:
            watch.look()
            return (watch.found and watch.found.dropped) or 0

        wait_until(lambda: dropped() >= 4, "handshakes are dropped")
        for _ in range(4):
            held.enter_context(listener.accept()[0])
        watch.look()
    found = watch.found
    assert before is not None
    assert (before.backlog, before.most_queued, before.dropped, before.overflows) == (3, 0, 0, 0)
    assert found is not None
    assert (found.backlog, found.most_queued) == (3, 4)
    assert found.overflows is not None
    assert found.overflows >= 4


def test_what_a_listener_drops_while_it_waits_for_requests_is_told_apart() -> None:
    """The kernel counts it with what found the queue full: it would be laid to that when another queue overflows."""
    if ask_for_listeners() is None:
        pytest.skip("the kernel hands out no list of listeners here (NETLINK_SOCK_DIAG), as in some containers")
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server((f"{OUR_NETWORK}.8", 0), backlog=100))
        wait_for_requests(listener)
        watch = QueueWatch([listener.getsockname()], NET)
        watch.look()
        for _ in range(10):
            held.enter_context(socket.create_connection(listener.getsockname()))  # and says nothing
        watch.look()
    found = watch.found
    assert found is not None
    assert found.dropped is not None
    assert found.deferred is not None
    assert 10 <= found.dropped <= found.deferred


def test_of_another_machine_only_our_own_retransmissions_are_known() -> None:
    watch = QueueWatch([("198.51.100.1", 80)], None)
    watch.look()
    found = watch.found
    assert found is not None
    assert (found.backlog, found.most_queued, found.dropped, found.overflows, found.drops) == (None,) * 5
    assert found.deferred is None
    assert found.syn_retransmits is not None


def test_of_another_network_namespace_files_tell_less(tmp_path: Path) -> None:
    fake = FakeMachine(tmp_path)
    net = fake.proc / "net"
    fake.listeners(("198.18.0.1", 80))
    (net / "netstat").write_text(NETSTAT.format(5, 7, 3))
    watch = QueueWatch([("198.18.0.1", 80)], net)
    watch.look()
    (net / "tcp").write_text((net / "tcp").read_text().replace("00000000:00000000", "00000000:0000000C", 1))
    (net / "netstat").write_text(NETSTAT.format(6, 9, 7))
    watch.look()
    found = watch.found
    assert found is not None
    assert (found.backlog, found.most_queued, found.dropped) == (None, 12, None)
    assert (found.overflows, found.drops, found.deferred) == (1, 2, 4)
    (net / "netstat").unlink()
    watch.look()
    assert watch.found is not None
    assert watch.found.overflows is None
