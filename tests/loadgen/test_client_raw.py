"""loadgen.client.streams on streams without HTTP: they are open once connected, and how they end has a name."""

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floodtest.loadgen.client.accounts import State
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.protocols import RAW
from tests.rigs.client import DEADLINE, ClientRig

MakeRig = Callable[[str], ClientRig]
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeRig]:
    made: list[ClientRig] = []

    def rig(condition: str) -> ClientRig:
        (folder := tmp_path / condition).mkdir()
        made.append(ClientRig(folder, 200, RAW, OpenWhen(condition)))
        return made[-1]

    yield rig
    for each in made:
        each.end()


def test_a_connection_is_open_once_it_is_connected_and_keeps_nothing(make: MakeRig) -> None:
    rig = make("head")
    for user in range(1, 101):
        rig.connect(user, request=b"SUBSCRIBE %d\r\n" % user)
    assert [rig.state(user) for user in range(1, 101)] == [State.OPEN] * 100
    assert (rig.settled, rig.received, rig.failed) == (100, (0, 0), {})
    assert rig.servers[7].recv(100) == b"SUBSCRIBE 7\r\n"
    streams = rig.streams
    kept = (streams.in_flight, streams.outbox, streams._begun_answers, streams._connecting)
    assert not any(map(bool, kept))
    assert rig.ledger.total("open_us").sum() == 100
    rig.feed(7, b"one\r\n", b"t", b"wo\n\nthree\n")
    assert (rig.received, rig.closed) == ((3, 16), {})


def test_one_whose_first_text_is_not_taken_at_once_is_open_when_it_is(make: MakeRig) -> None:
    rig = make("head")
    first = b"x" * 5_000_000
    server = rig.connect(7, request=first)
    assert rig.state(7) == State.IN_FLIGHT
    taken = 0
    while taken < len(first):
        taken += len(server.recv(1 << 20))
        rig.turn()
    assert (rig.state(7), rig.settled, rig.failed) == (State.OPEN, 1, {})
    rig.feed(7, b"one\n")
    assert rig.received == (1, 4)


def close(server: socket.socket) -> None:
    server.close()


def say_half_a_line(server: socket.socket) -> None:
    server.sendall(b"hello\nwor")
    server.close()


def say_garbage(server: socket.socket) -> None:
    server.sendall(b"\xff\x00\xfe" * 100)
    server.close()


def reset(server: socket.socket) -> None:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    server.close()


def wait(server: socket.socket) -> None:
    """Do not read, and do not say anything."""


@pytest.mark.parametrize(
    ("act", "at_head", "at_first"),
    [
        (close, ({}, {"cut": 1}), ({"no_answer@response": 1}, {})),
        (say_half_a_line, ({}, {"cut_inside": 1}), ({}, {"cut_inside": 1})),
        (say_garbage, ({}, {"cut_inside": 1}), ({"cut@response": 1}, {})),
        (reset, ({}, {"ECONNRESET": 1}), ({"ECONNRESET@response": 1}, {})),
        (wait, ({}, {}), ({"ETIMEDOUT@response": 1}, {})),
    ],
)
def test_what_a_peer_does_has_a_name(
    act: Callable[[socket.socket], None],
    at_head: tuple[dict[str, int], dict[str, int]],
    at_first: tuple[dict[str, int], dict[str, int]],
    make: MakeRig,
) -> None:
    for condition, expected in (("head", at_head), ("first", at_first)):
        rig = make(condition)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        with server:
            rig.begin(7, ours)
            act(server)
            rig.settle()
            rig.streams.expire(DEADLINE)
            assert (rig.failed, rig.closed) == expected


def test_a_peer_that_reads_nothing_is_told_from_one_that_was_never_connected(make: MakeRig) -> None:
    rig = make("head")
    rig.connect(7, request=b"x" * 5_000_000)
    rig.streams.expire(DEADLINE)
    assert rig.failed == {"ETIMEDOUT@request": 1}
