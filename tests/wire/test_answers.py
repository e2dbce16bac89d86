"""wire.answers: bytes that must be right to the last one, and what of them opens a connection."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import h11
import pytest

from floodtest.wire import answers, http
from floodtest.wire.answers import MAX_ANSWER, TELLING, NotOpened, Opened
from floodtest.wire.causes import Cause
from floodtest.wire.framing import chunked, lines
from floodtest.wire.framing.frames import MAX_PAYLOAD
from floodtest.wire.http import MAX_ANSWER_HEAD
from floodtest.wire.messages import Said, read_payloads
from floodtest.wire.open_when import MAX_SAID, OpenWhen
from floodtest.wire.protocols import AUTO, CHUNKED, EVENTS, LINES, Served
from tests.rigs.client import ID, message, welcome
from tests.rigs.support import HEAD, chunk

NOON = 1_750_000_000.75
"""Sunday, 15 June 2025, 15:06:40 UTC, and three quarters of a second."""


TEXT = "text/plain; charset=utf-8"


class Clock:
    """A clock that stands still."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOON)
    monkeypatch.setattr(answers, "time", clock)
    return clock


def header(answer: bytes, name: str) -> str | None:
    """Return a header of an answer, as h11 reads it."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.receive_data(answer)
    event = connection.next_event()
    assert isinstance(event, h11.Response)
    return {key.decode(): value.decode() for key, value in event.headers}.get(name)


def test_a_stream_is_chunked_and_stays_open() -> None:
    head = answers.stream_head(TEXT, "chunked")
    assert http.parse_response(head) == (http.Response(200, "chunked", media_type="text/plain"), b"")
    assert header(head, "connection") is None
    assert header(head, "content-type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize("coding", ["chunked", None])
@pytest.mark.parametrize("close", [True, False])
def test_every_head_of_a_stream_keeps_browsers_from_guessing_and_proxies_from_collecting(
    coding: str | None, close: bool
) -> None:
    head = answers.stream_head(TEXT, coding, close)
    assert header(head, "x-content-type-options") == "nosniff"
    assert header(head, "cache-control") == "no-store"
    assert header(head, "x-accel-buffering") == "no"


def test_a_refusal_is_neither_guessed_at_nor_stored() -> None:
    answer = answers.refusal(HTTPStatus.NOT_FOUND, answers.HINT)
    assert header(answer, "x-content-type-options") == "nosniff"
    assert header(answer, "cache-control") == "no-store"


def test_a_stream_for_http_1_0_ends_with_its_connection() -> None:
    head = answers.stream_head(TEXT, None)
    assert http.parse_response(head) == (http.Response(200, None, media_type="text/plain"), b"")
    assert header(head, "connection") == "close"
    assert header(head, "content-length") is None


def test_the_answer_to_head_is_that_of_get_but_closes() -> None:
    head = answers.stream_head(TEXT, "chunked", close=True)
    assert header(head, "connection") == "close"
    assert head.replace(b"Connection: close\r\n", b"") == answers.stream_head(TEXT, "chunked")


@pytest.mark.parametrize("text", [answers.HINT, answers.OUT_OF_NUMBERS, "", "Füße"])
@pytest.mark.parametrize("status", [HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.REQUEST_TIMEOUT])
def test_a_refusal_is_as_long_as_it_says(status: HTTPStatus, text: str) -> None:
    answer = answers.refusal(status, text)
    parsed = http.parse_response(answer)
    assert parsed == (http.Response(status, None, True, "text/plain"), text.encode() + b"\n")
    assert header(answer, "content-length") == str(len(parsed[1]))
    assert header(answer, "connection") == "close"


def test_a_refusal_of_head_has_the_length_but_not_the_body() -> None:
    full = answers.refusal(HTTPStatus.NOT_FOUND, answers.HINT)
    head = answers.refusal(HTTPStatus.NOT_FOUND, answers.HINT, head_only=True)
    assert head + answers.HINT.encode() + b"\n" == full
    assert header(head, "content-length") == str(len(answers.HINT) + 1)


@pytest.mark.parametrize(
    "make", [lambda: answers.stream_head(TEXT, "chunked"), lambda: answers.refusal(HTTPStatus.NOT_FOUND, "x")]
)
def test_the_date_is_now_in_http_form(make: Callable[[], bytes], clock: Clock) -> None:
    assert header(make(), "date") == "Sun, 15 Jun 2025 15:06:40 GMT"
    clock.now += 86_400
    assert header(make(), "date") == "Mon, 16 Jun 2025 15:06:40 GMT"


def test_the_date_is_the_whole_second_that_is_past(clock: Clock) -> None:
    date = header(answers.stream_head(TEXT, "chunked"), "date")
    assert date is not None
    assert parsedate_to_datetime(date).timestamp() == int(NOON)


# -- the client half -------------------------------------------------------------------------------------------------


def test_an_answer_is_open_at_the_byte_that_ends_its_welcome_and_all_of_its_body_is_left() -> None:
    reader = CHUNKED.answers(ID, 448)
    body = welcome(12).removeprefix(HEAD) + b"5\r\nhel"
    assert reader.begin(12).add(HEAD + body) == Opened(chunked, 0, [body])
    lengths = range(len(welcome(12)))
    assert [reader.begin(12).add(welcome(12)[:length]) for length in lengths] == [None] * len(welcome(12))


@pytest.mark.parametrize(
    ("status", "coding", "code"),
    [
        (100, "chunked", Cause.BAD_HEAD),
        (101, None, Cause.BAD_HEAD),
        (111, "chunked", Cause.BAD_HEAD),
        (199, "chunked", Cause.BAD_HEAD),
        (200, None, Cause.NOT_CHUNKED),
        (200, "gzip, chunked", Cause.TRANSFER_CODING),
        (201, "chunked", 201),
        (999, None, 999),
    ],
)
def test_a_status_is_never_taken_for_an_errno(status: int, coding: str | None, code: int) -> None:
    with pytest.raises(NotOpened) as caught:
        CHUNKED.framing_of(http.Response(status, coding))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404),
        (b"x" * 9000, Cause.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_ANSWER_HEAD, Cause.HEAD_TOO_LARGE),
        (HEAD + b"0\r\n", Cause.FINISHED),
        (welcome(13) + b"0\r\n", Cause.FINISHED),
        (welcome(13) + b"nonsense", Cause.BAD_FRAMING),
        (HEAD + chunk(b"x" * MAX_SAID + b"x"), Cause.OPEN_WHEN_UNMET),
        (HEAD + chunk(b"x") * (MAX_SAID + 1), Cause.OPEN_WHEN_UNMET),
    ],
)
def test_not_opened_says_why(answer: bytes, code: int) -> None:
    with pytest.raises(NotOpened) as caught:
        CHUNKED.answers(ID, 448).begin(12).add(answer)
    assert caught.value.code == code


def test_answers_are_common_once_one_of_their_length_was_parsed() -> None:
    reader = CHUNKED.answers(ID, 448)
    assert not reader.common([12, 13], [welcome(12), welcome(13)])
    reader.begin(11).add(welcome(11))
    assert reader.common([12, 13], [welcome(12), welcome(13)]) == Opened(chunked, 1, [])
    assert not reader.common([12, 13], [welcome(13), welcome(12)])
    assert not reader.common([9, 13], [welcome(9), welcome(13)])


def test_an_answer_that_one_read_does_not_hold_is_not_remembered() -> None:
    reader = CHUNKED.answers(ID, len(welcome(12)))
    assert reader.begin(12).add(welcome(12)) is not None
    assert not reader.common([12], [welcome(12)])


def test_numbered_messages_before_the_id_are_left_to_be_counted_each_time() -> None:
    reader = CHUNKED.answers(ID, 448)
    answer = HEAD + message(1) + chunk(b"user 12\n")
    assert reader.begin(12).add(answer) == Opened(chunked, 0, [answer.removeprefix(HEAD)])
    assert reader.common([12], [answer]) is None


EVENTS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
BORDERS = [
    (LINES, HEAD, b"f\r\nWelcome, user 1\r\n2\r\n2\n\r\n", 12),
    (CHUNKED, HEAD, b"f\r\nWelcome, user 1\r\n2\r\n2\n\r\n", 12),
    (EVENTS, EVENTS_HEAD, b"15\r\ndata: Welcome, user 1\r\n3\r\n2\n\n\r\n", 12),
    (EVENTS, EVENTS_HEAD, b"14\r\ndata: Welcome, user \r\n1\r\n2\r\n2\r\n\n\n\r\n", 2),
]


@pytest.mark.parametrize(("protocol", "head", "body", "user"), BORDERS)
def test_a_border_of_chunks_may_lie_anywhere_and_teaches_nothing(
    protocol: Served, head: bytes, body: bytes, user: int
) -> None:
    reader = protocol.answers(ID, 448)
    assert reader.begin(user).add(head + body) == Opened(protocol.framing, 0, [body])
    assert reader.common([user], [head + body]) is None


@pytest.mark.parametrize("protocol", [CHUNKED, EVENTS, LINES])
def test_what_our_server_says_is_learnt(protocol: Served) -> None:
    reader = protocol.answers(ID, 448)
    first, *others = protocol.welcomes([11, 12, 99])
    assert reader.begin(11).add(first) is not None
    assert reader.common([12, 99], others) == Opened(protocol.framing, 1, [])


def test_a_head_that_is_enough_is_learnt_and_what_follows_is_left() -> None:
    reader = AUTO.answers(OpenWhen("head"), 448)
    body = chunk(b"hello")
    assert reader.common([5], [HEAD]) is None
    assert reader.begin(5).add(HEAD[:20]) is None
    assert reader.begin(5).add(HEAD + body) == Opened(chunked, 0, [body])
    assert reader.common([6, 77], [HEAD, HEAD]) == Opened(chunked, 0, [])
    assert reader.common([6, 77], [HEAD, HEAD + body]) == Opened(chunked, 0, [b"", body])
    assert reader.common([6, 77], [HEAD, EVENTS_HEAD]) is None


def test_the_first_message_whatever_it_is_opens_and_is_learnt() -> None:
    reader = AUTO.answers(OpenWhen("first"), 448)
    until_close = b"HTTP/1.1 200 OK\r\n\r\n"
    assert reader.begin(5).add(until_close + b"hel") is None
    assert reader.begin(5).add(until_close + b"hello\n") == Opened(lines, 0, [b"hello\n"])
    assert reader.common([6, 77], [until_close + b"hello\n"] * 2) == Opened(lines, 1, [])
    assert reader.common([6, 77], [until_close + b"hello\n", until_close + b"other\n"]) is None


def test_an_answer_that_a_pattern_takes_for_one_user_is_not_taken_for_another() -> None:
    reader = CHUNKED.answers(OpenWhen("regex:(?!13){user}"), 448)
    assert reader.begin(12).add(welcome(12)) is not None
    assert reader.common([13], [welcome(13)]) is None
    assert reader.begin(13).add(welcome(13)) is None


@pytest.mark.parametrize(
    ("protocol", "fields", "code", "note"),
    [
        (LINES, b"Content-Length: 9\r\n", Cause.NOT_A_STREAM, None),
        (LINES, b"Content-Length: 9\r\nContent-Type: text/html; charset=utf-8\r\n", Cause.WEB_PAGE, None),
        (EVENTS, b"Content-Type: text/html\r\n", Cause.WEB_PAGE, None),
        (EVENTS, b"Content-Type: text/plain\r\n", Cause.MEDIA_TYPE, "Content-Type: text/plain"),
        (EVENTS, b"", Cause.MEDIA_TYPE, "Content-Type: none"),
        (EVENTS, b"Content-Type: text/event-stream\r\nContent-Length: 99\r\n", Cause.NOT_A_STREAM, None),
        (CHUNKED, b"", Cause.NOT_CHUNKED, None),
        (LINES, b"Transfer-Encoding: gzip, chunked\r\n", Cause.TRANSFER_CODING, None),
    ],
)
@pytest.mark.parametrize("condition", ["id", "head"])
def test_what_is_no_stream_of_its_kind_does_not_open(
    protocol: Served, fields: bytes, code: Cause, note: str | None, condition: str
) -> None:
    with pytest.raises(NotOpened) as caught:
        protocol.answers(OpenWhen(condition), 448).begin(5).add(b"HTTP/1.1 200 OK\r\n%b\r\ndata: 5\n\n" % fields)
    assert (caught.value.code, caught.value.note) == (code, note)


def test_comments_without_end_are_given_up_within_a_bound() -> None:
    answer = EVENTS.answers(ID, 448).begin(5)
    assert answer.add(EVENTS_HEAD) is None
    comment = chunk(b":" + b"x" * 65_533 + b"\n\n")
    for _ in range(MAX_ANSWER // len(comment)):
        assert answer.add(comment) is None
    with pytest.raises(NotOpened):
        answer.add(comment)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_messages_before_the_id_said_is_handed_on_and_their_bytes_are_not_kept(size: int) -> None:
    data = HEAD + message(1) + chunk(b"hello") * 3000 + message(2) + chunk(b"user 12\n")
    answer, opened = CHUNKED.answers(ID, 448).begin(12), None
    for at in range(0, len(data), size):
        assert opened is None
        opened = answer.add(data[at : at + size])
    assert opened is not None
    assert sum(map(len, opened.bodies)) <= (len(chunk(b"user 12\n")) + size if size < 1000 else len(data))
    in_body = read_payloads(chunked.decode(opened.bodies[0]).payloads)
    assert sum((said for _, said in opened.said), Said(0, (), (), ())) + in_body == Said(3003, (1, 2), (), ())


@pytest.mark.parametrize("protocol", [CHUNKED, LINES, EVENTS])
def test_a_first_message_of_any_size_opens(protocol: Served) -> None:
    answer = protocol.answers(OpenWhen("first"), 448).begin(1)
    whole = protocol.head() + protocol.frame(1, b"x" * (5 << 20))
    opened, kept = None, 0
    for at in range(0, len(whole), 1 << 16):
        assert opened is None
        opened = answer.add(whole[at : at + (1 << 16)])
        kept = max(kept, 0 if answer._begun is None else len(answer._begun.data))
    assert opened is not None
    assert kept <= MAX_PAYLOAD + (1 << 17)
    assert sum(map(len, opened.bodies)) <= MAX_PAYLOAD + (1 << 17)


def test_a_head_that_comes_byte_by_byte_is_parsed_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    parse = http.parse_response

    def counting(data: bytes, **options: Any) -> object:
        parsed.append(data)
        return parse(data, **options)

    monkeypatch.setattr(http, "parse_response", counting)
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </%b>\r\n\r\n" % (b"x" * 3000)
    head = HEAD.replace(b"\r\n\r\n", b"\r\nX: %b\r\n\r\n" % (b"x" * 30_000))
    answer = CHUNKED.answers(OpenWhen("head"), 448).begin(1)
    whole = early + head
    found = [answer.add(whole[at : at + 1]) for at in range(len(whole))]
    assert found == [None] * (len(whole) - 1) + [Opened(chunked, 0, [])]
    assert len(parsed) <= 2 * (TELLING + 1)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("early", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize("wrong", [b"SSH-2.0-x", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 200 OK\r\nX" + b"x" * 70_000])
def test_a_head_that_is_none_is_told_however_it_comes(size: int, early: bytes, wrong: bytes) -> None:
    if size < 5 and len(wrong) > 1000:
        size = 500
    answer = CHUNKED.answers(ID, 448).begin(1)
    with pytest.raises(NotOpened) as together:
        CHUNKED.answers(ID, 448).begin(1).add(early + wrong)
    pieces = [(early + wrong)[at : at + size] for at in range(0, len(early + wrong), size)]
    with pytest.raises(NotOpened) as caught:
        assert [answer.add(piece) for piece in pieces] == []
    assert caught.value.code == together.value.code


@pytest.mark.parametrize("protocol", [CHUNKED, LINES, EVENTS])
def test_a_welcome_before_broken_chunks_opens(protocol: Served) -> None:
    (welcome,) = protocol.welcomes([5])
    opened = protocol.answers(ID, 448).begin(5).add(welcome + b"zz\r\n")
    assert opened is not None
    assert opened.bodies[0].endswith(b"zz\r\n")


@pytest.mark.parametrize("protocol", [CHUNKED, LINES, EVENTS])
@pytest.mark.parametrize("condition", ["id", "first", "head", "text:user {user}", "regex:W.*{user}"])
def test_answers_open_alike_however_they_are_split(protocol: Served, condition: str) -> None:
    (whole,) = protocol.welcomes([12])
    whole += protocol.frame(1, b"hello")
    together = protocol.answers(OpenWhen(condition), 448).begin(12).add(whole)
    assert together is not None
    for size in (1, 2, 7, 50):
        answer = protocol.answers(OpenWhen(condition), 448).begin(12)
        for at in range(0, len(whole), size):
            opened = answer.add(whole[at : at + size])
            if opened is not None:
                break
        assert opened is not None
        (body,) = opened.bodies or [b""]
        payloads = [opened.framing.decode(data).payloads for data in (body + whole[at + size :], together.bodies[0])]
        assert (opened.framing, payloads[0]) == (together.framing, payloads[1])
