"""flyweight.engine.intake: of watched descriptors the kernel says when their data arrived, and they are read like any
other.
"""

import errno
import os
import socket
import time
from collections.abc import Iterator

import pytest

from floodtest.flyweight.engine import intake
from floodtest.flyweight.engine.intake import END, READ_SIZE, Intake, Reads
from floodtest.flyweight.engine.readiness import PLAIN, READ
from tests.rigs.support import wait_until

ODD = PLAIN | READ


class Pairs:
    """Pairs of TCP sockets over loopback, by the descriptor of our end."""

    def __init__(self) -> None:
        self.theirs: dict[int, socket.socket] = {}
        self._ours: dict[int, socket.socket] = {}
        self._intakes: list[Intake] = []

    def intake(self) -> Intake:
        """An intake that watches nothing any more when the descriptors are closed."""
        self._intakes.append(Intake())
        return self._intakes[-1]

    def connect(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        ours.setblocking(False)
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ours[ours.fileno()], self.theirs[ours.fileno()] = ours, theirs
        return ours.fileno()

    def end(self) -> None:
        for each in self._intakes:
            each.forget(range(4096))
        for sock in (*self._ours.values(), *self.theirs.values()):
            sock.close()


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    made = Pairs()
    yield made
    made.end()


def watching(pairs: Pairs, *fds: int) -> Intake:
    """An intake that watches these descriptors. The kernel begins to take times a moment after it is first asked."""
    made, tried = pairs.intake(), pairs.connect()
    assert all(made.watch(fd) for fd in (tried, *fds))

    def is_told() -> bool:
        pairs.theirs[tried].sendall(b"x")
        made.read([(tried, PLAIN)])
        return tried in made.arrived

    wait_until(is_told, "the kernel to tell an arrival")
    made.forget([tried])
    assert not made.arrived
    return made


def everything(one: Intake, fd: int, event: int) -> tuple[list[bytes], list[tuple[int, int]]]:
    """What an intake reads of a descriptor in one turn after another until it has nothing left, and its end."""
    got, over = [], []
    events = [(fd, event)]
    while True:
        sweeps, ended = one.read(events)
        got += [data for fds, rows, _, _ in sweeps for row, data in zip(fds, rows, strict=True) if row == fd]
        over += [(0, code) for _, code in ended]
        events = []
        if not one.has_unread:
            return got, over


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("event", [PLAIN, ODD])
@pytest.mark.parametrize("size", [0, 1, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 2000, 9000])
def test_a_watched_descriptor_is_read_like_any_other(
    size: int, event: int, ends: bool, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MORE", 1000)
    monkeypatch.setattr(intake, "READS", 2)
    plain, watched = pairs.connect(), pairs.connect()
    data = os.urandom(size)
    for fd in (plain, watched):
        pairs.theirs[fd].sendall(data)
        if ends:
            pairs.theirs[fd].shutdown(socket.SHUT_WR)
    one, other = pairs.intake(), pairs.intake()
    assert other.watch(watched)
    (seen, ended), (same, same_end) = everything(one, plain, event), everything(other, watched, event)
    assert b"".join(seen) == b"".join(same) == data
    if event == ODD:  # otherwise an end is announced by an event of its own, where it hides behind data
        assert ended == same_end == ([(0, END)] if ends else [])


def test_a_watched_descriptor_that_is_left_unread_and_announced_is_read_once(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MORE", 1000)
    monkeypatch.setattr(intake, "READS", 2)
    fd, plain = pairs.connect(), pairs.connect()
    one = watching(pairs, fd)
    data, got = os.urandom(9000), b""
    pairs.theirs[fd].sendall(data)
    for turn in range(5):
        pairs.theirs[plain].sendall(b"hello")
        sweeps, over = one.read([(fd, PLAIN), (plain, PLAIN)])
        found = [row for fds, rows, _, _ in sweeps for row in zip(fds, rows, strict=True)]
        assert (sorted(row[0] for row in found), over) == (sorted([fd, plain]), [])
        got += dict(found)[fd]
        assert (len(got), one.has_unread) == (min(9000, READ_SIZE + 2000 * (turn + 1)), turn < 4)
    assert got == data


def test_an_arrival_is_that_of_the_data_however_late_it_is_read(pairs: Pairs) -> None:
    fds = [pairs.connect() for _ in range(3)]
    one = watching(pairs, *fds[:2])
    told = []
    for fd in fds:
        before = time.time_ns()
        pairs.theirs[fd].sendall(b"hello")
        told.append((before, time.time_ns()))
    time.sleep(0.02)
    sweeps, _ = one.read([(fd, PLAIN) for fd in fds])
    assert sorted(row for rows, _, _, _ in sweeps for row in rows) == sorted(fds)
    assert one.arrived.keys() == set(fds[:2])
    assert all(first <= one.arrived[fd] <= last for fd, (first, last) in zip(fds[:2], told[:2], strict=True))
    pairs.theirs[fds[0]].sendall(b"again")
    one.read([(fds[0], PLAIN)])
    assert one.arrived.keys() == {fds[0]}  # what was told in the turn before is not told of this one


def test_watched_descriptors_are_read_in_their_turn(pairs: Pairs) -> None:
    fds = [pairs.connect() for _ in range(5)]
    one = watching(pairs, fds[1], fds[3])
    for fd in fds:
        pairs.theirs[fd].sendall(b"hello")
    events = [(fd, PLAIN) for fd in fds]
    ((read, data, _, _),), over = one.read([*events, (4000, PLAIN)])
    assert (read, data, over) == (fds, [b"hello"] * 5, [(4000, errno.EBADF)])
    assert one.arrived.keys() == {fds[1], fds[3]}
    assert one.read(events) == ([], [])  # nothing is there: no error, and no arrival
    assert not one.arrived


def test_a_watched_descriptor_waits_for_no_turn_that_others_read_on_in(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "TURN_BYTES", 1000)
    fds = [pairs.connect() for _ in range(3)]
    one = watching(pairs, fds[2])
    for turn in range(3):
        for fd in fds[:2]:
            pairs.theirs[fd].sendall(b"x" * 9000)
        pairs.theirs[fds[2]].sendall(b"%d" % turn)
        sweeps, _ = one.read([(fd, PLAIN) for fd in fds])
        assert one.has_unread
        assert [data for read, rows, _, _ in sweeps for fd, data in zip(read, rows, strict=True) if fd == fds[2]] == [
            b"%d" % turn
        ]


class Forgetful(intake._Watched):
    """A socket of which the kernel tells the first arrival only."""

    told = 0

    def recvmsg(self, *sizes: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        data, ancillary, flags, address = super().recvmsg(*sizes)
        self.told += bool(ancillary)
        return data, ancillary if self.told < 2 else [], flags, address


def test_of_a_descriptor_that_is_read_on_the_last_read_tells(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, forgotten = pairs.connect(), pairs.connect()
    one = watching(pairs, whole)
    monkeypatch.setattr(intake, "_Watched", Forgetful)
    assert one.watch(forgotten)
    for fd in (whole, forgotten):
        pairs.theirs[fd].sendall(b"x" * 2000)
    sweeps, _ = one.read([(whole, PLAIN), (forgotten, PLAIN)])
    assert [len(data) for _, rows, _, _ in sweeps for data in rows] == [2000, 2000]
    assert one.arrived.keys() == {whole}  # what was read last of the other may have come later than what was told


def test_of_several_segments_in_a_read_the_last_one_tells(pairs: Pairs) -> None:
    fd = pairs.connect()
    one = watching(pairs, fd)
    pairs.theirs[fd].sendall(b"first")
    time.sleep(0.01)
    before = time.time_ns()
    pairs.theirs[fd].sendall(b"second")
    after = time.time_ns()
    sweeps, _ = one.read([(fd, PLAIN)])
    assert [data for _, rows, _, _ in sweeps for data in rows] == [b"firstsecond"]
    assert before <= one.arrived[fd] <= after


def test_a_unix_socket_is_not_watched_and_read_all_the_same() -> None:
    ours, theirs = socket.socketpair()
    one = Intake()
    assert not one.watch(ours.fileno())
    theirs.sendall(b"hello")
    sweeps, _ = one.read([(ours.fileno(), PLAIN)])
    assert ([row[:2] for row in sweeps], one.arrived) == ([([ours.fileno()], [b"hello"])], {})
    for each in (ours, theirs):
        each.close()


def test_a_descriptor_that_is_closed_is_watched_no_more_and_its_number_may_come_again(pairs: Pairs) -> None:
    fds = [pairs.connect(), pairs.connect()]
    one = watching(pairs, *fds)
    for fd in fds:
        pairs.theirs[fd].sendall(b"hello")
    one.read([(fd, PLAIN) for fd in fds])
    one.forget([fds[0]])
    assert one.arrived.keys() == {fds[1]}
    one.forget([*fds, 4000])
    assert not one.arrived
    for fd in fds:
        os.fstat(fd)  # it is still open: who watches does not close
        pairs.theirs[fd].sendall(b"hello")
    assert one.read([(fd, PLAIN) for fd in fds])[1] == []
    assert not one.arrived


def test_an_error_of_a_watched_descriptor_is_told_by_its_number(pairs: Pairs) -> None:
    fd = pairs.connect()
    one = watching(pairs, fd)
    os.write(fd, b"never read")
    pairs.theirs[fd].close()
    assert one.read([(fd, ODD)]) == ([], [(fd, errno.ECONNRESET)])


def test_rows_of_reads_keep_their_arrivals() -> None:
    reads, told = Reads(), {5: 111, 7: 222}
    reads.add([1, 2], [b"x"] * 2, 0, 1, told)
    reads.add([7, 3, 5], [b"x"] * 3, 1, 2, told)
    reads.add([5], [b"x"], 2, 3)
    assert reads.arrived == {2: 222, 4: 111}
