"""wire.handshake: the request for a WebSocket, and the answers that open it, recognised alike fast and slowly."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from floodtest.wire.answers import Answers, NotOpened, Opened
from floodtest.wire.causes import Cause
from floodtest.wire.framing import websocket
from floodtest.wire.framing.websocket import FROM_SERVER, PING, PONG, TEXT, accept_of
from floodtest.wire.handshake import key_of
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.protocols import WEBSOCKET
from floodtest.wire.template import Column, RequestTemplate

LONGEST = 448
HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\nServer: 100%% s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\nDate: now\r\n\r\n"
)


def head(user: int) -> bytes:
    return HEAD % accept_of(key_of(user))


def welcome(user: int) -> bytes:
    return head(user) + websocket.frame(TEXT, b"100%% welcome, user %d!" % user)


def answers(condition: str) -> Answers:
    return WEBSOCKET.answers(OpenWhen(condition), LONGEST)


def test_a_request_is_what_a_server_wants() -> None:
    (request,) = WEBSOCKET.requests(
        WEBSOCKET.request(RequestTemplate(b"/ws/{user}?a"), "h:81"), dict[str, Column]().__getitem__
    )([17])
    server = WSConnection(ConnectionType.SERVER)
    server.receive_data(request)
    (event,) = server.events()
    assert isinstance(event, Request)
    assert (event.host, event.target, event.extensions, event.subprotocols) == ("h:81", "/ws/17?a", [], [])
    answer = server.send(AcceptConnection())
    assert answers("head").begin(17).add(answer) == Opened(FROM_SERVER, 0, [])


def test_each_user_has_a_key_of_sixteen_bytes_and_keeps_it() -> None:
    keys = {key_of(user) for user in (1, 2, 256, 65536, 2**32 - 1)}
    assert len(keys) == 5
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}
    assert key_of(1) == key_of(1)


@pytest.mark.parametrize(
    "right",
    [
        head(12),
        head(12).replace(b": websocket", b": WebSocket"),
        head(12).replace(b"Connection: Upgrade", b"connection: keep-alive, upgrade"),
        head(12).replace(b"Date: now", b"Connection: keep-alive"),
        head(12).replace(b"\r\n", b"\n"),
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head(12),
        head(12).replace(b"Date: now", b"Sec-WebSocket-Extensions:"),
    ],
)
def test_what_opens(right: bytes) -> None:
    for after in (b"", b"\x81", websocket.frame(TEXT, b"x")):
        assert answers("head").begin(12).add(right + after) == Opened(FROM_SERVER, 0, [after] if after else [])
    answer = answers("head").begin(12)
    found = [answer.add(right[at : at + 1]) for at in range(len(right))]
    assert found == [None] * (len(right) - 1) + [Opened(FROM_SERVER, 0, [])]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (head(13), Cause.BAD_HANDSHAKE),
        (head(12).replace(b"Upgrade: websocket\r\n", b""), Cause.BAD_HANDSHAKE),
        (head(12).replace(b"Upgrade: websocket", b"Upgrade: h2c"), Cause.BAD_HANDSHAKE),
        (head(12).replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"), Cause.BAD_HANDSHAKE),
        (head(12).replace(b"Connection: Upgrade\r\n", b""), Cause.BAD_HANDSHAKE),
        (head(12).replace(b"Connection: Upgrade", b"Connection: keep-alive"), Cause.BAD_HANDSHAKE),
        (head(12).replace(b"Sec-WebSocket-Accept", b"X-Accept"), Cause.BAD_HANDSHAKE),
        (head(12).replace(b"Date: now", b"Sec-WebSocket-Accept: " + accept_of(key_of(12))), Cause.BAD_HANDSHAKE),
        (head(12).replace(b"Date: now", b"Sec-WebSocket-Extensions: permessage-deflate"), Cause.BAD_HANDSHAKE),
        (head(12).replace(b"Date: now", b"Sec-WebSocket-Protocol: chat"), Cause.BAD_HANDSHAKE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", 302),
        (b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\n\r\n", 426),
        (b"nothing of HTTP\r\n\r\n", Cause.NOT_HTTP),
        (b"\x81\x01x", Cause.NOT_HTTP),
    ],
)
@pytest.mark.parametrize("learnt", [False, True])
def test_what_does_not_open_says_why(wrong: bytes, code: int, learnt: bool) -> None:
    reader = answers("head")
    if learnt:
        reader.begin(12).add(head(12))
        assert reader.common([12], [wrong]) is None
    with pytest.raises(NotOpened) as caught:
        reader.begin(12).add(wrong)
    assert caught.value.code == code


def test_heads_are_common_though_each_answers_another_key() -> None:
    reader = answers("head")
    assert reader.common([12], [head(12)]) is None
    reader.begin(11).add(head(11))
    assert reader.common([1, 1234], [head(1), head(1234)]) == Opened(FROM_SERVER, 0, [])
    body = websocket.frame(TEXT, b"x")
    assert reader.common([1, 2], [head(1), head(2) + body]) == Opened(FROM_SERVER, 0, [b"", body])
    assert reader.common([1, 2], [head(2), head(1)]) is None
    assert reader.common([1, 2], [head(1), head(2)[:-1]]) is None


@pytest.mark.parametrize("condition", ["id", "text:user {user}!"])
def test_answers_are_common_where_the_id_opens(condition: str) -> None:
    reader = answers(condition)
    assert reader.common([12], [welcome(12)]) is None
    assert reader.begin(11).add(welcome(11)) == Opened(FROM_SERVER, 0, [welcome(11).removeprefix(head(11))])
    assert reader.common([12, 99], [welcome(12), welcome(99)]) == Opened(FROM_SERVER, 1, [])
    assert reader.common([12, 99], [welcome(99), welcome(12)]) is None
    assert reader.common([12], [head(12) + welcome(13).removeprefix(head(13))]) is None
    assert reader.common([13], [head(12) + welcome(13).removeprefix(head(13))]) is None


def test_answers_are_common_where_any_message_opens() -> None:
    reader = answers("first")
    first = websocket.frame(TEXT, b"hello")
    assert reader.begin(11).add(head(11) + first) == Opened(FROM_SERVER, 0, [first])
    assert reader.common([12, 130], [head(12) + first, head(130) + first]) == Opened(FROM_SERVER, 1, [])


def test_an_id_does_not_go_over_from_one_message_to_the_next() -> None:
    answer = answers("id").begin(12)
    assert answer.add(head(12) + websocket.frame(TEXT, b"user 1") + websocket.frame(TEXT, b"2 of them")) is None


def test_a_ping_is_answered_while_what_opens_has_not_come_and_teaches_nothing() -> None:
    reader = answers("id")
    answer = reader.begin(12)
    ping = websocket.frame(PING, b"there?")
    assert answer.add(head(12) + ping) is None
    assert answer.reply == websocket.frame(PONG, b"there?")
    assert answer.add(b"\x81") is None
    assert not answer.reply
    whole = head(13) + ping + welcome(13).removeprefix(head(13))
    assert reader.begin(13).add(whole) is not None
    assert reader.common([13], [whole]) is None


def test_a_close_before_it_opened_is_answered() -> None:
    answer = answers("id").begin(12)
    with pytest.raises(NotOpened) as caught:
        answer.add(head(12) + websocket.close(1008, "no"))
    assert caught.value.code == Cause.FINISHED
    assert FROM_SERVER.decode(answer.reply).status == 1008


@given(
    users=st.lists(st.integers(1, 99), min_size=1, max_size=4),
    extra=st.sampled_from([b"", websocket.frame(TEXT, b"x"), b"\x81"]),
    condition=st.sampled_from(["head", "first", "id"]),
    cut=st.integers(0, 3),
)
def test_fast_and_slow_open_alike(users: list[int], extra: bytes, condition: str, cut: int) -> None:
    """What is recognised by comparison is what each answer by itself is found to be."""
    reader = answers(condition)
    for user in (9, 10):
        reader.begin(user).add(head(user) if condition == "head" else welcome(user))
    read = [welcome(user) + extra for user in users]
    read[0] = read[0][: len(read[0]) - cut]
    common = reader.common(users, read)
    slow = [answers(condition).begin(user).add(data) for user, data in zip(users, read, strict=True)]
    if common is not None:
        assert all(one is not None for one in slow)
        if common.bodies:
            assert common.bodies == [body for one in slow if one is not None for body in one.bodies or [b""]]
        else:
            counted = [len(FROM_SERVER.decode(one.bodies[0]).payloads) for one in slow if one is not None]
            assert counted == [common.messages] * len(users)


@pytest.mark.parametrize(
    ("chosen", "opens"), [(None, True), (b"chat", True), (b"mqtt", True), (b"other", False), (b"chat, mqtt", False)]
)
def test_one_of_the_subprotocols_that_were_offered_may_be_chosen(chosen: bytes | None, opens: bool) -> None:
    headers = ((b"sec-websocket-protocol", b"chat, mqtt"),)
    asked = WEBSOCKET.request(RequestTemplate(b"/", headers=headers), "h")
    answer = head(12)
    if chosen is not None:
        answer = answer.replace(b"Date: now", b"Sec-WebSocket-Protocol: " + chosen)
    reading = WEBSOCKET.answers(OpenWhen("head"), LONGEST, asked).begin(12)
    if opens:
        assert reading.add(answer) == Opened(FROM_SERVER, 0, [])
    else:
        with pytest.raises(NotOpened) as caught:
            reading.add(answer)
        assert caught.value.code == Cause.BAD_HANDSHAKE
