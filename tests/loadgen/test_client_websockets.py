"""loadgen.client.streams on WebSockets: what a server asks for is answered, within bounds, and how connections end."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from floodtest.loadgen.client.accounts import State
from floodtest.wire.framing import websocket
from floodtest.wire.framing.websocket import BINARY, FROM_CLIENT, PING, TEXT, Heard, accept_of, close, frame
from floodtest.wire.handshake import key_of
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.protocols import WEBSOCKET
from floodtest.wire.template import Column, RequestTemplate
from tests.rigs.client import FILES, USERS, ClientRig

HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)


def head(user: int) -> bytes:
    return HEAD % accept_of(key_of(user))


def message(number: int, text: bytes = b"hello") -> bytes:
    return frame(TEXT, b"Recvd msg #%d: %b\n" % (number, text))


@pytest.fixture(params=["head", "id"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ClientRig]:
    made = ClientRig(tmp_path, USERS, WEBSOCKET, OpenWhen(request.param))
    yield made
    made.end()


def open_all(rig: ClientRig, *users: int) -> None:
    for user in users:
        rig.connect(user).sendall(head(user) + frame(TEXT, b"Welcome, user %d\n" % user))
    rig.settle()
    assert [rig.state(user) for user in users] == [State.OPEN] * len(users)


def heard(rig: ClientRig, user: int) -> Heard:
    """Return what the client has sent to a user's server since this was last asked."""
    server = rig.servers[user]
    server.setblocking(False)
    try:
        data = server.recv(1 << 20)
    except BlockingIOError:
        data = b""
    found = FROM_CLIENT.decode(data)
    assert not found.rest
    return found


def test_messages_are_counted_like_those_of_any_protocol(rig: ClientRig) -> None:
    users = range(1, 301)
    open_all(rig, *users)
    assert rig.received == (300, sum(len(head(user) + b"\x81\x10Welcome, user %d\n" % user) for user in users))
    for number in (1, 2):
        for server in rig.servers.values():
            server.sendall(message(number, b"tick %d" % number))
        rig.settle()
    assert (rig.received[0], rig.ticks, rig.out_of_sequence) == (900, {1: 300, 2: 300}, (0, 0))
    whole = message(3)
    rig.feed(1, b"\x01" + whole[1:2] + whole[2:], frame(PING), b"\x80\x01!")
    assert (rig.received[0], rig.out_of_sequence) == (901, (0, 0))
    assert heard(rig, 1).pongs == 1
    rig.feed(2, *(whole[at : at + 1] for at in range(len(whole))))
    rig.feed(3, frame(BINARY, b"\xff"))
    assert (rig.received[0], rig.out_of_sequence) == (903, (0, 0))


def test_a_ping_of_all_is_answered_by_each_and_costs_no_message(rig: ClientRig) -> None:
    users = range(1, 101)
    open_all(rig, *users)
    count = rig.received[0]
    for server in rig.servers.values():
        server.sendall(frame(PING, b"alive?"))
    rig.settle()
    assert rig.received[0] == count
    for user in users:
        data = rig.servers[user].recv(1000)
        assert FROM_CLIENT.decode(data).pongs == 1
        head_of = websocket.head_at(data, 0, is_masked=True)
        assert head_of is not None
        assert websocket.with_mask(data[head_of.start :], head_of.key) == b"alive?"


def test_of_many_pings_the_last_is_answered(rig: ClientRig) -> None:
    open_all(rig, 1)
    for number in range(50):
        rig.servers[1].sendall(frame(PING, b"%02d" % number))
        rig.turn()
    rig.servers[1].sendall(message(1) + frame(PING, b"last"))
    rig.settle()
    assert int(rig.ledger.total("pings")) == 51
    data = rig.servers[1].recv(1 << 16)
    assert FROM_CLIENT.decode(data).pongs == 1
    assert websocket.with_mask(data[6:], data[2:6]) == b"last"


@pytest.mark.parametrize(("payload", "status"), [(b"", None), (b"\x03\xe8bye", 1000), (b"\x0f\xa0", 4000)])
@pytest.mark.parametrize("then_ends", [False, True])
def test_a_close_is_answered_with_its_status_and_ends_the_connection(
    payload: bytes, status: int | None, then_ends: bool, rig: ClientRig
) -> None:
    open_all(rig, 1)
    rig.servers[1].sendall(message(1) + frame(websocket.CLOSE, payload) + b"whatever")
    if then_ends:
        rig.servers[1].shutdown(socket.SHUT_WR)
    rig.settle()
    assert (rig.closed, rig.state(1)) == ({"finished": 1}, State.CLOSED_EARLY)
    found = heard(rig, 1)
    assert (found.ended, found.status) == (True, status)


@pytest.mark.parametrize(
    ("broken", "status"),
    [(b"\xc1\x01x", 1002), (b"\x81\x81aaaax", 1002), (b"\x81\x01\xff", 1007), (b"\x82\x7f" + b"\x00\xff" * 4, 1009)],
)
@pytest.mark.parametrize("size", [1, 100])
def test_what_breaks_the_rules_is_told_so_and_ends_the_connection(
    broken: bytes, status: int, size: int, rig: ClientRig
) -> None:
    open_all(rig, 1, 2)
    with suppress(BrokenPipeError):  # some are seen to be wrong at their first byte
        for at in range(0, len(broken), size):
            rig.servers[1].sendall(broken[at : at + size])
            rig.settle()
    assert rig.closed == {"frame_too_large" if status == 1009 else "bad_framing": 1}
    assert heard(rig, 1).status == status
    rig.feed(2, message(1))
    assert rig.state(2) == State.OPEN


def test_who_asks_and_does_not_read_is_ended_by_name(rig: ClientRig) -> None:
    open_all(rig, 1, 2)
    rig.servers[1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for _ in range(100_000):
        if rig.state(1) != State.OPEN:
            break
        rig.servers[1].sendall(frame(PING, b"x" * 125))
        rig.settle()
    assert rig.closed == {"ENOBUFS": 1}
    assert not rig.streams.outbox
    rig.feed(2, message(1), frame(PING))
    assert (rig.state(2), heard(rig, 2).pongs) == (State.OPEN, 1)


def test_a_server_that_is_gone_before_its_ping_is_answered_ends_by_name(rig: ClientRig) -> None:
    open_all(rig, 1)
    rig.servers[1].sendall(frame(PING))
    rig.servers[1].close()
    rig.settle()
    assert sum(rig.closed.values()) == 1
    assert set(rig.closed) <= {"finished", "cut", "EPIPE", "ECONNRESET"}


def test_a_pong_that_waits_is_written_when_there_is_room_and_what_came_before_an_end_counts(rig: ClientRig) -> None:
    open_all(rig, 1)
    fd = rig.descriptors[1]
    with suppress(BlockingIOError):
        while os.write(fd, bytes(1000)):
            pass
    rig.feed(1, frame(PING, b"x"))
    assert fd in rig.streams.outbox
    rig.servers[1].sendall(message(1))
    rig.turn()
    rig.servers[1].close()
    rig.settle()
    assert (rig.state(1), rig.ticks) == (State.CLOSED_EARLY, {})
    assert not rig.streams.outbox


@pytest.mark.parametrize("reset", [False, True])
def test_at_the_end_open_ones_are_told_unless_they_are_reset(reset: bool, rig: ClientRig) -> None:
    open_all(rig, 1, 2)
    rig.connect(3)
    assert rig.streams.close(FILES, reset) == 3
    for user in (1, 2):
        assert heard(rig, user).status == (None if reset else 1000)
    assert rig.servers[3].recv(100) == b""


def test_pings_before_the_first_message_are_answered(rig: ClientRig) -> None:
    rig.connect(1).sendall(head(1))
    rig.settle()
    rig.feed(1, frame(PING, b"1"), frame(PING, b"2"))
    assert heard(rig, 1).pongs == 2
    rig.feed(1, close(1001))
    assert heard(rig, 1).status == 1001
    assert sum((rig.failed | rig.closed).values()) == 1


@pytest.mark.parametrize("condition", ["head", "id", "text:subscribed {user}"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_users_send_first_goes_out_once_when_the_head_has_come(condition: str, size: int, tmp_path: Path) -> None:
    asked = RequestTemplate(b"/", sent=b'{{"subscribe": {user}}}')
    sends = WEBSOCKET.sends(asked, dict[str, Column]().__getitem__)
    rig = ClientRig(tmp_path, USERS, WEBSOCKET, OpenWhen(condition), sends)
    for user in (12, 13):  # the second one's answer is like the first one's
        rig.connect(user)
        rig.feed(user, *(head(user)[at : at + size] for at in range(0, len(head(user)), size)))
        found = heard(rig, user)
        assert (found.payloads, found.ended) == ([b'{"subscribe": %d}' % user], False)
        rig.feed(user, frame(TEXT, b"subscribed %d" % user))
        assert rig.state(user) == State.OPEN
        assert heard(rig, user).payloads == []
    rig.end()


def test_what_is_no_text_is_sent_as_binary(tmp_path: Path) -> None:
    sends = WEBSOCKET.sends(RequestTemplate(b"/", sent=b"\xff\x00{user}"), dict[str, Column]().__getitem__)
    assert sends is not None
    (sent,) = sends([5])
    assert sent[0] & 0x0F == BINARY
    assert FROM_CLIENT.decode(sent).payloads == [b"\xff\x005"]
    assert WEBSOCKET.sends(RequestTemplate(b"/"), dict[str, Column]().__getitem__) is None


@pytest.mark.parametrize(
    ("said", "closed"),
    [
        (b"", {"EPIPE": 1}),
        (frame(TEXT, b"hello"), {"EPIPE": 1}),
        (frame(TEXT, b"hello")[:3], {"EPIPE": 1}),
        (frame(PING, b"x"), {"EPIPE": 1}),
        (close(1013), {"finished": 1}),
    ],
)
def test_who_is_gone_when_it_is_to_be_sent_to_ends_once_and_by_name(
    said: bytes, closed: dict[str, int], tmp_path: Path
) -> None:
    sends = WEBSOCKET.sends(RequestTemplate(b"/", sent=b"hello"), dict[str, Column]().__getitem__)
    rig = ClientRig(tmp_path, USERS, WEBSOCKET, OpenWhen("head"), sends)
    server = rig.connect(12)
    server.sendall(head(12) + said)
    server.shutdown(socket.SHUT_RD)  # so that what the client writes fails
    rig.settle()
    assert (rig.state(12), rig.closed) == (State.CLOSED_EARLY, closed)
    assert rig.state(13) == State.NOT_REACHED
    rig.end()


@pytest.mark.parametrize("together", [True, False], ids=["in one read", "in two"])
def test_a_ping_before_a_connection_is_open_is_answered_and_counted_once(together: bool, tmp_path: Path) -> None:
    rig = ClientRig(tmp_path, 5, WEBSOCKET, OpenWhen("id"))
    try:
        rig.connect(1)
        first, rest = head(1) + frame(PING, b"x") + message(1), frame(TEXT, b"Welcome, user 1\n")
        rig.feed(1, *([first + rest] if together else [first, rest]))
        assert (rig.state(1), heard(rig, 1).pongs, int(rig.ledger.total("pings"))) == (State.OPEN, 1, 1)
        assert (rig.received, rig.out_of_sequence) == ((2, len(first + rest)), (0, 0))
        assert int(rig.ledger.total("messages")) == 1
        rig.feed(1, message(2))
        assert rig.out_of_sequence == (0, 0)
    finally:
        rig.end()
