"""flyweight.engine.intake: everything that is there is read once, in order, and nobody's data holds up the others."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from floodtest.flyweight.engine import intake
from floodtest.flyweight.engine.intake import END, READ_SIZE, Intake, Reads
from floodtest.flyweight.engine.layer import Sweep
from floodtest.flyweight.engine.readiness import PLAIN, READ

ODD = PLAIN | READ
"""Events that say more than that there is data."""


class Peers:
    """Descriptors, and the sockets at their other ends."""

    def __init__(self) -> None:
        self.sockets: dict[int, socket.socket] = {}
        self._ours: list[socket.socket] = []

    def connect(self, data: bytes = b"", ends: bool = False) -> int:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.sendall(data)
        if ends:
            theirs.shutdown(socket.SHUT_WR)
        self._ours.append(ours)
        self.sockets[ours.fileno()] = theirs
        return ours.fileno()

    def close(self) -> None:
        for sock in (*self._ours, *self.sockets.values()):
            sock.close()


@pytest.fixture
def peers() -> Iterator[Peers]:
    made = Peers()
    yield made
    made.close()


def rows(sweeps: list[Sweep]) -> dict[int, bytes]:
    """What was read of each descriptor, which stands in one row only."""
    found = [row for fds, data, began, ended in sweeps for row in zip(fds, data, strict=True) if began <= ended]
    assert len({fd for fd, _ in found}) == len(found)
    return dict(found)


@pytest.mark.parametrize("events", [PLAIN, ODD])
@pytest.mark.parametrize("size", [0, 1, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 2 * READ_SIZE, 70_000])
def test_all_that_is_there_is_read(size: int, events: int, peers: Peers) -> None:
    first, second = peers.connect(b"x" * size), peers.connect(b"hello")
    one = Intake()
    sweeps, over = one.read([(first, events), (second, events)])
    assert rows(sweeps) == ({first: b"x" * size} if size else {}) | {second: b"hello"}
    assert (over, one.has_unread) == ([], False)


@pytest.mark.parametrize("events", [PLAIN, ODD])
@pytest.mark.parametrize("size", [0, 5, READ_SIZE, 70_000])
def test_an_end_comes_with_what_was_there_before_it(size: int, events: int, peers: Peers) -> None:
    fd = peers.connect(b"x" * size, ends=True)
    one = Intake()
    sweeps, over = one.read([(fd, events)])
    assert rows(sweeps) == ({fd: b"x" * size} if size else {})
    hidden = events == PLAIN and 0 < size != READ_SIZE  # the kernel would not have called it plain
    assert over == ([] if hidden else [(fd, END)])


def test_an_error_is_told_by_its_number(peers: Peers) -> None:
    fd = peers.connect()
    os.write(fd, b"never read")
    peers.sockets[fd].close()
    assert Intake().read([(fd, ODD)]) == ([], [(fd, errno.ECONNRESET)])
    assert Intake().read([(4000, PLAIN), (4001, ODD)]) == ([], [(4000, errno.EBADF), (4001, errno.EBADF)])


def test_new_descriptors_are_read_without_events(peers: Peers) -> None:
    fds = [peers.connect(b"hello"), peers.connect(), peers.connect(ends=True)]
    sweeps, over = Intake().read_ready(fds)
    assert (rows(sweeps), over) == ({fds[0]: b"hello"}, [(fds[2], END)])


def test_one_with_a_lot_to_say_goes_on_in_the_next_turn(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MORE", 1000)
    monkeypatch.setattr(intake, "READS", 2)
    data = os.urandom(10_000)
    fd, other = peers.connect(data), peers.connect(b"hello")
    one = Intake()
    sweeps, _ = one.read([(fd, PLAIN), (other, PLAIN)])
    found = rows(sweeps)
    assert found == {fd: data[: READ_SIZE + 2000], other: b"hello"}
    got = found[fd]
    while one.has_unread:
        peers.sockets[other].sendall(b"again")
        sweeps, over = one.read([(fd, PLAIN), (other, PLAIN)])  # announced anew: it is read once all the same
        found = rows(sweeps)
        assert (found[other], over) == (b"again", [])
        got += found.get(fd, b"")
    assert got == data


@pytest.mark.parametrize("events", [PLAIN, ODD])
def test_a_turn_reads_on_within_a_bound_and_all_get_theirs(
    events: int, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "TURN_BYTES", 3000)
    fds = [peers.connect(bytes([65 + place]) * 2000) for place in range(10)]
    one = Intake()
    got = dict.fromkeys(fds, b"")
    sweeps, _ = one.read([(fd, events) for fd in fds])
    turns = 0
    while sweeps:
        turns += 1
        assert sum(map(len, rows(sweeps).values())) <= 10 * READ_SIZE + 3000 + 2000
        for fd, data in rows(sweeps).items():
            got[fd] += data
        sweeps, _ = one.read([])
    assert turns >= 5
    assert list(got.values()) == [bytes([65 + place]) * 2000 for place in range(10)]


def test_what_is_closed_is_not_read_on(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "READS", 1)
    monkeypatch.setattr(intake, "MORE", 1000)
    fd = peers.connect(b"x" * 10_000)
    one = Intake()
    one.read([(fd, PLAIN)])
    assert one.has_unread
    one.forget([fd])
    assert not one.has_unread


def test_reads_of_a_sweep_are_spread_over_its_time() -> None:
    reads = Reads()
    reads.add([1, 2, 3, 4], [b"x"] * 4, 1000, 2000)
    reads.add([], [], 2000, 3000)
    reads.add([5], [b"yy"], 5000, 6000)
    assert reads.times().tolist() == [1250, 1500, 1750, 2000, 6000]
    assert (reads.first, reads.last, reads.size, len(reads)) == (1000, 6000, 6, 5)
