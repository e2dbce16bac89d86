"""flyweight.machine.listeners: who listens, how full the queue is, and what was dropped for it."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from floodtest.flyweight.machine.listeners import (
    Counters,
    Listener,
    ask_for_listeners,
    listeners_at,
    read_counters,
    read_listeners,
)
from tests.rigs.support import OUR_NETWORK, wait_until


@contextmanager
def waiting(host: str, backlog: int, count: int) -> Iterator[tuple[str, int]]:
    """A listener that accepts nobody, with so many who want to connect to it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server((host, 0), family=family, backlog=backlog))
        for _ in range(count):
            one = held.enter_context(socket.socket(family))
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[:2]


def only(found: list[Listener] | None, at: tuple[str, int]) -> Listener:
    if found is None:
        pytest.skip("the kernel hands out no list of listeners here (NETLINK_SOCK_DIAG), as in some containers")
    (one,) = listeners_at(found, *at)
    return one


@pytest.mark.parametrize("host", [f"{OUR_NETWORK}.7", "::1"], ids=["IPv4", "IPv6"])
def test_both_ways_find_the_same_listeners(host: str) -> None:
    with waiting(host, backlog=9, count=3) as at:
        wait_until(lambda: only(read_listeners(), at).queued == 3, "three wait in the queue")
        told, read = only(ask_for_listeners(), at), only(read_listeners(), at)
    assert (told.backlog, told.drops, read.backlog, read.drops) == (9, 0, None, None)
    assert (told.address, told.port) == (read.address, read.port) == at
    assert (told.uid, told.inode, told.queued) == (read.uid, read.inode, read.queued)


def test_a_queue_that_overflows_is_counted_at_the_listener_and_in_its_network() -> None:
    before = read_counters()
    with waiting(f"{OUR_NETWORK}.7", backlog=2, count=6) as at:
        listener = only(ask_for_listeners(), at)
        wait_until(lambda: (only(ask_for_listeners(), at).drops or 0) >= 3, "handshakes are dropped")
        after = read_counters()
    assert (listener.backlog, listener.queued) == (2, 3)  # the kernel lets in one more than it was told
    assert before is not None
    assert after is not None
    assert after.overflows - before.overflows >= 3
    assert after.drops - before.drops >= 3


def at_address(address: str, port: int = 80) -> Listener:
    return Listener(address, port, uid=0, inode=1, queued=0)


@pytest.mark.parametrize(
    ("target", "listening", "found"),
    [
        ("127.0.0.1", ["0.0.0.0", "127.0.0.1", "::"], ["127.0.0.1"]),
        ("127.0.0.2", ["127.0.0.1", "0.0.0.0", "::"], ["0.0.0.0"]),
        ("127.0.0.2", ["127.0.0.1", "::"], ["::"]),
        ("127.0.0.1", ["::ffff:127.0.0.1", "::"], ["::ffff:127.0.0.1"]),
        ("127.0.0.2", ["127.0.0.1", "::1"], []),
        ("::1", ["0.0.0.0", "::"], ["::"]),
        ("::1", ["::", "::1", "::1"], ["::1", "::1"]),
        ("::1", ["0.0.0.0"], []),
    ],
)
def test_who_gets_the_connections_to_an_address(target: str, listening: list[str], found: list[str]) -> None:
    listeners = [*map(at_address, listening), at_address(target, port=81)]
    assert [one.address for one in listeners_at(listeners, target, 80)] == found


NETSTAT = (
    "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPSynRetrans TCPDeferAcceptDrop\nTcpExt: 1 20 30 4 5\n"
    "IpExt: InOctets\nIpExt: 9\n"
)


@pytest.mark.parametrize(
    ("text", "counters"),
    [
        (NETSTAT, Counters(20, 30, 4, 5)),
        (NETSTAT.replace("ListenDrops", "Other"), None),
        (NETSTAT.replace(" 30", ""), None),
        (NETSTAT.replace("30", "x"), None),
        ("", None),
        (None, None),
    ],
)
def test_counters_that_are_not_there_are_not_known(text: str | None, counters: Counters | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "netstat").write_text(text)
    assert read_counters(tmp_path) == counters
    assert read_listeners(tmp_path) == []
