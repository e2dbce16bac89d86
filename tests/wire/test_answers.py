"""wire.answers: bytes that must be right to the last one, and what of them opens a connection."""

import errno
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import h11
import pytest

from floodtest.flyweight.engine.intake import END
from floodtest.wire import answers, http
from floodtest.wire.answers import Answers, NotOpened, require_stream
from floodtest.wire.framing import chunked
from tests.rigs.client import welcome
from tests.rigs.support import HEAD

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
    assert http.parse_response(head) == (http.Response(200, "chunked"), b"")
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
    assert http.parse_response(head) == (http.Response(200, None), b"")
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
    assert parsed == (http.Response(status, None), text.encode() + b"\n")
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


def test_what_follows_the_welcome_is_left() -> None:
    reader = Answers([chunked], 448)
    assert reader.parse(welcome(12) + b"5\r\nhel", 12) == (b"5\r\nhel", chunked)
    assert [reader.parse(welcome(12)[:length], 12) for length in range(len(welcome(12)))] == [None] * len(welcome(12))


@pytest.mark.parametrize(
    ("status", "coding", "code"),
    [
        (100, "chunked", errno.EPROTO),
        (101, None, errno.EPROTO),
        (111, "chunked", errno.EPROTO),
        (199, "chunked", errno.EPROTO),
        (200, None, errno.EPROTO),
        (200, "gzip, chunked", errno.EPROTO),
        (201, "chunked", 201),
        (999, None, 999),
    ],
)
def test_a_status_is_never_taken_for_an_errno(status: int, coding: str | None, code: int) -> None:
    with pytest.raises(NotOpened) as caught:
        require_stream(status, coding, ["chunked"])
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404),
        (b"x" * 9000, errno.EPROTO),
        (HEAD + b"0\r\n", END),
        (welcome(13), errno.EBADMSG),
    ],
)
def test_not_opened_says_why(answer: bytes, code: int) -> None:
    with pytest.raises(NotOpened) as caught:
        Answers([chunked], 448).parse(answer, 12)
    assert caught.value.code == code


def test_answers_are_common_once_one_of_their_length_was_parsed() -> None:
    reader = Answers([chunked], 448)
    assert not reader.common([12, 13], [welcome(12), welcome(13)])
    reader.parse(welcome(11), 11)
    assert reader.common([12, 13], [welcome(12), welcome(13)]) is chunked
    assert not reader.common([12, 13], [welcome(13), welcome(12)])
    assert not reader.common([9, 13], [welcome(9), welcome(13)])


def test_an_answer_that_one_read_does_not_hold_is_not_remembered() -> None:
    reader = Answers([chunked], len(welcome(12)))
    assert reader.parse(welcome(12), 12) == (b"", chunked)
    assert not reader.common([12], [welcome(12)])
