"""wire.protocols: what the server half writes, to the last byte, and that the client half reads it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.engine.intake import READ_SIZE
from floodtest.wire import answers
from floodtest.wire.answers import NotOpened
from floodtest.wire.causes import Cause
from floodtest.wire.framing.frames import encode
from floodtest.wire.framing.websocket import TEXT as TEXT_FRAME
from floodtest.wire.http import Response
from floodtest.wire.incoming import parse
from floodtest.wire.messages import MESSAGE, WELCOME, with_line_ends
from floodtest.wire.names import DEFAULT_PROTOCOL, OWN_PROTOCOL, PROTOCOLS
from floodtest.wire.protocols import (
    AUTO,
    BY_PATH,
    CHUNKED,
    CLIENT_PROTOCOLS,
    EVENTS,
    LINES,
    OWN,
    RAW,
    SERVED,
    UNTIL_CLOSE,
    WEBSOCKET,
    Protocol,
    Served,
)
from floodtest.wire.requests import MAX_USERS
from floodtest.wire.template import Column, RequestTemplate
from tests.rigs.websocket import ACCEPT, KEY, frames_in

NO_COLUMNS = dict[str, Column]().__getitem__

NOON = 1_750_000_000.75


class Clock:
    """A clock that stands still."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOON)
    monkeypatch.setattr(answers, "time", clock)
    return clock


def whole(protocol: Served, user: int) -> bytes:
    return protocol.head() + encode(protocol.framing, WELCOME % user)


BODIES = [protocol for protocol in SERVED if protocol is not WEBSOCKET]
"""Those that are the body of an answer to no key."""


@pytest.mark.parametrize("protocol", BODIES)
@pytest.mark.parametrize("digits", range(1, 11))
@pytest.mark.parametrize("first", ["1", "9"])
@pytest.mark.usefixtures("clock")
def test_welcomes_are_what_encoding_the_whole_answer_gives(protocol: Served, digits: int, first: str) -> None:
    users = [int((first + last * 9)[:digits]) for last in ("0", "1", "9")]
    assert protocol.welcomes(users) == [whole(protocol, user) for user in users]


@pytest.mark.usefixtures("clock")
def test_users_of_different_lengths_are_welcomed_together() -> None:
    assert CHUNKED.welcomes([9, 10, 999, 1]) == [whole(CHUNKED, user) for user in (9, 10, 999, 1)]


def test_welcomes_follow_the_clock(clock: Clock) -> None:
    earlier = CHUNKED.welcomes([123])
    clock.now += 1
    assert CHUNKED.welcomes([123]) != earlier
    assert CHUNKED.welcomes([123]) == [whole(CHUNKED, 123)]


def test_the_first_read_of_our_client_holds_the_whole_answer_with_room_to_spare() -> None:
    usual, longest = CHUNKED.welcomes([1_000_000, MAX_USERS])
    assert len(usual) == 234
    assert len(longest) <= READ_SIZE * 3 // 4  # an answer in one read is recognised by the column, in two it is parsed


def test_a_websocket_is_welcomed_by_an_answer_to_its_key() -> None:
    other = b"AAAAAAAAAAAAAAAAAAAAAA=="
    for answer, user, key in zip(WEBSOCKET.welcomes([7, 1000], [KEY, other]), [7, 1000], [KEY, other], strict=True):
        head, _, frames = answer.partition(b"\r\n\r\n")
        assert head == (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + (ACCEPT if key == KEY else b"ICX+Yqv66kxgM0FcWaLWlFLwTAI=")
        )
        assert frames_in(frames) == [(TEXT_FRAME, WELCOME % user)]


@pytest.mark.parametrize(("size", "head"), [(0, 2), (100, 2), (110, 2), (111, 4), (65_519, 4), (65_536, 10)])
def test_a_message_on_a_websocket_is_a_text_whatever_its_size(size: int, head: int) -> None:
    framed = WEBSOCKET.frame(1, b"x" * size)
    assert frames_in(framed) == [(TEXT_FRAME, MESSAGE % (1, b"x" * size))]
    assert len(framed) - len(MESSAGE % (1, b"x" * size)) == head


def test_messages_carry_their_number() -> None:
    assert CHUNKED.frame(1, b"tick 7") == b"15\r\nRecvd msg #1: tick 7\n\r\n"
    assert LINES.frame(4_000_000_000, b"") == b"18\r\nRecvd msg #4000000000: \n\r\n"
    assert UNTIL_CLOSE["test"].frame(1, b"in two\r\nlines") == b"Recvd msg #1: in two lines\n"
    assert EVENTS.frame(1, b"tick 7") == b"1c\r\ndata: Recvd msg #1: tick 7\n\n\r\n"
    assert UNTIL_CLOSE["events"].frame(1, b"in two\r\nlines") == b"data: Recvd msg #1: in two\ndata: lines\n\n"


def test_events_have_fields_and_no_other_message_has() -> None:
    plain = UNTIL_CLOSE["events"]
    assert EVENTS.frame(1, b"a\nb", b"x-7") == b"27\r\ndata: Recvd msg #1: a\ndata: b\nid: x-7\n\n\r\n"
    assert plain.frame(1, b"a", b"x-7") == b"data: Recvd msg #1: a\nid: x-7\n\n"
    assert (EVENTS.fields(b":\n\n"), plain.fields(b":\n\n"), plain.fields(b"")) == (b"3\r\n:\n\n\r\n", b":\n\n", b"")
    for protocol in (CHUNKED, LINES, WEBSOCKET, UNTIL_CLOSE["lines"]):
        assert protocol.frame(1, b"a", b"x-7") == protocol.frame(1, b"a")
        assert protocol.fields(b":\n\n") == b""


@pytest.mark.parametrize("protocol", [EVENTS, UNTIL_CLOSE["events"]])
@pytest.mark.usefixtures("clock")
def test_a_welcome_may_have_fields_and_a_loss_is_one_message_without_a_number(protocol: Served) -> None:
    (welcome,) = protocol.welcomes([7], lines=b"retry: 10\nid: x-7\n")
    assert welcome.startswith(protocol.head())
    found = parse(protocol.framing, welcome.removeprefix(protocol.head()) + protocol.fields(b":\n\n"))
    assert (found.said.count, found.said.numbers, found.whole) == (1, (), True)
    found = parse(protocol.framing, protocol.lost(b"x-7") + protocol.frame(1, b"a", b"x-8"))
    assert (found.said.count, found.said.numbers, found.whole) == (2, (1,), True)


NUMBERS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([9, 10, 99, 100, 10**9 - 1, 10**9]))


@pytest.mark.parametrize("protocol", SERVED)
@given(rows=st.lists(st.tuples(NUMBERS, st.binary(max_size=300)), min_size=1, max_size=20))
def test_a_column_of_messages_is_framed_as_each_by_itself(protocol: Served, rows: list[tuple[int, bytes]]) -> None:
    numbers, texts = np.array([number for number, _ in rows], np.uint32), [text for _, text in rows]
    assert protocol.frames(numbers, texts) == [protocol.frame(*row) for row in rows]
    ids = [b"x-%d" % number for number in range(len(rows))]
    assert protocol.frames(numbers, texts, ids) == [
        protocol.frame(*row, event) for row, event in zip(rows, ids, strict=True)
    ]


@pytest.mark.parametrize("protocol", SERVED)
@given(texts=st.lists(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), max_size=8))
def test_what_is_framed_is_read(protocol: Served, texts: list[bytes]) -> None:
    if protocol is WEBSOCKET:
        texts = [text.decode(errors="replace").encode() for text in texts]  # as all that can be published
    framed = b"".join(protocol.frame(number, text) for number, text in enumerate(texts, 1))
    found = parse(protocol.framing, framed)
    assert found.whole
    assert found.said.numbers == tuple(range(1, len(texts) + 1))
    payloads = protocol.framing.decode(framed).payloads
    line_end = protocol.framing.LINE_END
    whole_lines = (CHUNKED, WEBSOCKET)
    fitting = [with_line_ends(text, line_end and line_end.removesuffix(b"data: ")) for text in texts]
    assert [payload.removesuffix(b"\n") if protocol in whole_lines else payload for payload in payloads] == [
        (MESSAGE % (number, text)).removesuffix(b"\n") for number, text in enumerate(fitting, 1)
    ]


HTTP = [protocol for protocol in CLIENT_PROTOCOLS.values() if protocol not in (WEBSOCKET, RAW)]


@pytest.mark.parametrize("protocol", HTTP)
def test_a_request_has_the_headers_of_its_protocol(protocol: Protocol) -> None:
    make = protocol.requests(protocol.request(RequestTemplate(b"/test/{user}?x"), "h:81"), NO_COLUMNS)
    accepts = {EVENTS: b"Accept: text/event-stream\r\n", AUTO: b"Accept: text/event-stream, */*\r\n"}
    accept = accepts.get(protocol, b"")
    head = b"GET /test/%d?x HTTP/1.1\r\nHost: h:81\r\nUser-Agent: floodtest\r\n%bAccept-Encoding: identity\r\n\r\n"
    assert make([17, 4]) == [head % (user, accept) for user in (17, 4)]


@pytest.mark.parametrize("protocol", HTTP)
def test_a_header_that_is_given_takes_the_place_of_ours(protocol: Protocol) -> None:
    headers = (
        (b"host", b"other"),
        (b"ACCEPT", b"a"),
        (b"X", b"1"),
        (b"x", b"2"),
        (b"User-Agent", b""),
        (b"accept-encoding", b"x"),
    )
    make = protocol.requests(protocol.request(RequestTemplate(b"/", headers=headers), "h:81"), NO_COLUMNS)
    assert make([1]) == [
        b"GET / HTTP/1.1\r\nhost: other\r\nACCEPT: a\r\nX: 1\r\nx: 2\r\nUser-Agent: \r\naccept-encoding: x\r\n\r\n"
    ]


def test_each_protocol_that_is_opened_has_a_name_and_each_of_our_server_a_path() -> None:
    assert list(CLIENT_PROTOCOLS) == list(PROTOCOLS)
    for table in (CLIENT_PROTOCOLS, OWN):
        assert all(protocol.name == name for name, protocol in table.items())
    assert all(protocol.path == path for path, protocol in BY_PATH.items())
    assert {*BY_PATH.values(), *UNTIL_CLOSE.values()} == set(SERVED)
    assert OWN_PROTOCOL in OWN
    assert DEFAULT_PROTOCOL in CLIENT_PROTOCOLS


@pytest.mark.parametrize(
    ("coding", "media_type", "framing"),
    [
        ("chunked", None, CHUNKED.framing),
        ("chunked", "text/plain", CHUNKED.framing),
        ("chunked", "application/octet-stream", CHUNKED.framing),
        (None, "text/plain", LINES.framings[1]),
        (None, None, LINES.framings[1]),
        ("chunked", "text/event-stream", EVENTS.framing),
        (None, "text/event-stream", EVENTS.framings[1]),
        ("chunked", "application/x-ndjson", LINES.framing),
        (None, "application/jsonl", LINES.framings[1]),
    ],
)
def test_auto_is_what_the_head_of_an_answer_says(coding: str | None, media_type: str | None, framing: object) -> None:
    assert AUTO.framing_of(Response(200, coding, media_type=media_type)) is framing


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (Response(200, None, is_sized=True), Cause.NOT_A_STREAM),
        (Response(200, None, is_sized=True, media_type="text/event-stream"), Cause.NOT_A_STREAM),
        (Response(200, "gzip, chunked"), Cause.TRANSFER_CODING),
        (Response(200, "chunked", fields={b"content-encoding": ["GZIP"]}), Cause.CONTENT_CODING),
        (Response(204, "chunked"), 204),
        (Response(401, None), 401),
    ],
)
def test_auto_takes_streams_only(head: Response, code: int) -> None:
    with pytest.raises(NotOpened) as caught:
        AUTO.framing_of(head)
    assert caught.value.code == code
