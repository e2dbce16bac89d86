"""loadgen.client.streams on streams without HTTP: they are open once connected, and how they end has a name."""

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floodtest.loadgen.client.accounts import State, failure_name
from floodtest.loadgen.client.kept_answers import EACH, read_kept
from floodtest.loadgen.run.remarks import remarks_on_first_words
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.protocols import RAW
from floodtest.wire.raw import looks_like_an_error
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
    kept = (streams.in_flight, streams.outbox, streams._begun_answers, streams._outgoing._connecting)
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


def test_first_words_of_a_few_are_kept_where_they_look_like_an_error_or_the_connection_ends(make: MakeRig) -> None:
    rig = make("head")
    for user in range(1, EACH + 2):
        rig.connect(user)
    rig.feed(1, b"-NOAUTH Authentication required.\r\n", b"-NOAUTH again\r\n")
    rig.feed(2, b"Too many connections\r\n", b"Go away\r\n")
    rig.feed(3, b"+OK\r\n")
    rig.feed(EACH + 1, b"-ERR one too many to be listened to\r\n")
    for user in (1, 2, 4, EACH + 1):
        rig.servers[user].close()
    rig.settle()
    assert (rig.received[0], rig.closed) == (6, {"cut": 4})
    found = [(one.name, one.user, one.answer) for one in read_kept(rig.ledger.rows, failure_name)]
    error, other = r"-NOAUTH Authentication required.\r\n", r"Too many connections\r\n"
    assert found == [("said_error", 1, error), ("cut", 1, error), ("cut", 2, other)]
    (remark,) = remarks_on_first_words(read_kept(rig.ledger.rows, failure_name))
    assert remark.startswith("first words: -NOAUTH Authentication required. A stream without HTTP counts as open")
    assert remarks_on_first_words([]) == []


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("first", b"-NOAUTH Authentication required.\r\n"),
        ("text:user:{user}", b"-ERR unknown command 'SUBSCRBE', with args beginning with: 'user:%d'\r\n"),
    ],
)
def test_an_error_that_meets_the_condition_is_kept_and_remarked_on(condition: str, said: bytes, make: MakeRig) -> None:
    rig = make(condition)
    for user in (1, 2, 3):
        rig.connect(user)
        rig.feed(user, said % user if b"%d" in said else said)
    assert [rig.state(user) for user in (1, 2, 3)] == [State.OPEN] * 3
    kept = read_kept(rig.ledger.rows, failure_name)
    assert {one.name for one in kept} == {"said_error"}
    (remark,) = remarks_on_first_words(kept)
    assert remark.startswith("first words: -")


@pytest.mark.parametrize(
    ("said", "is_error"),
    [
        (b"-DENIED Redis is running in protected mode\r\n", True),
        (b"-ERR unknown command\r\n", True),
        (b"ERROR\r\n", True),
        (b"CLIENT_ERROR bad data\r\n", True),
        (b"554 no\r\n", True),
        (b'{"error": "no token"}\n', True),
        (b"*3\r\n$9\r\nsubscribe\r\n", False),
        (b"-1.5\n", False),
        (b"220 ready\r\n", False),
        (b"errands\n", False),
        (b"4096 bytes\n", False),
        (b'{"errors_total": 0}\n', False),
        (b'{"error": null, "result": 1}\n', False),
        (b'{"error" :false}\n', False),
        (b"-NAN\n", False),
        (b"-INF\n", False),
    ],
)
def test_what_looks_like_an_error(said: bytes, is_error: bool) -> None:
    assert looks_like_an_error(said) == is_error
