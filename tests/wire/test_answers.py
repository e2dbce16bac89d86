"""wire.answers: bytes that must be right to the last one."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import h11
import pytest

from floodtest.loadgen.client.streams import READ_SIZE
from floodtest.wire import answers, http
from floodtest.wire.framing import chunked as chunks
from floodtest.wire.requests import MAX_USERS

NOON = 1_750_000_000.75
"""Sunday, 15 June 2025, 15:06:40 UTC, and three quarters of a second."""


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


def whole(user: int) -> bytes:
    return answers.stream_head(chunked=True) + chunks.encode(answers.WELCOME % (b"%d" % user))


@pytest.mark.parametrize("digits", range(1, 11))
@pytest.mark.parametrize("first", ["1", "9"])
def test_welcomes_are_what_encoding_the_whole_answer_gives(digits: int, first: str) -> None:
    users = [int((first + last * 9)[:digits]) for last in ("0", "1", "9")]
    assert answers.welcomes(users) == list(map(whole, users))


def test_users_of_different_lengths_are_welcomed_together() -> None:
    assert answers.welcomes([9, 10, 999, 1]) == list(map(whole, [9, 10, 999, 1]))


def test_welcomes_follow_the_clock(clock: Clock) -> None:
    earlier = answers.welcomes([123])
    clock.now += 1
    assert answers.welcomes([123]) != earlier
    assert answers.welcomes([123]) == [whole(123)]


def test_a_stream_is_chunked_and_stays_open() -> None:
    head = answers.stream_head(chunked=True)
    assert http.parse_response(head) == (http.Response(200, chunked=True), b"")
    assert header(head, "connection") is None
    assert header(head, "content-type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("close", [True, False])
def test_every_head_of_a_stream_keeps_browsers_from_guessing_and_proxies_from_collecting(
    chunked: bool, close: bool
) -> None:
    head = answers.stream_head(chunked, close)
    assert header(head, "x-content-type-options") == "nosniff"
    assert header(head, "cache-control") == "no-store"
    assert header(head, "x-accel-buffering") == "no"


def test_a_refusal_is_neither_guessed_at_nor_stored() -> None:
    answer = answers.refusal(HTTPStatus.NOT_FOUND, answers.HINT)
    assert header(answer, "x-content-type-options") == "nosniff"
    assert header(answer, "cache-control") == "no-store"


def test_the_first_read_of_our_client_holds_the_whole_answer_with_room_to_spare() -> None:
    usual, longest = answers.welcomes([1_000_000, MAX_USERS])
    assert len(usual) == 234
    assert len(longest) <= READ_SIZE * 3 // 4  # an answer in one read is recognised by the column, in two it is parsed


def test_a_stream_for_http_1_0_ends_with_its_connection() -> None:
    head = answers.stream_head(chunked=False)
    assert http.parse_response(head) == (http.Response(200, chunked=False), b"")
    assert header(head, "connection") == "close"
    assert header(head, "content-length") is None


def test_the_answer_to_head_is_that_of_get_but_closes() -> None:
    head = answers.stream_head(chunked=True, close=True)
    assert header(head, "connection") == "close"
    assert head.replace(b"Connection: close\r\n", b"") == answers.stream_head(chunked=True)


@pytest.mark.parametrize("text", [answers.HINT, answers.OUT_OF_NUMBERS, "", "Füße"])
@pytest.mark.parametrize("status", [HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.REQUEST_TIMEOUT])
def test_a_refusal_is_as_long_as_it_says(status: HTTPStatus, text: str) -> None:
    answer = answers.refusal(status, text)
    parsed = http.parse_response(answer)
    assert parsed == (http.Response(status, chunked=False), text.encode() + b"\n")
    assert header(answer, "content-length") == str(len(parsed[1]))
    assert header(answer, "connection") == "close"


def test_a_refusal_of_head_has_the_length_but_not_the_body() -> None:
    full = answers.refusal(HTTPStatus.NOT_FOUND, answers.HINT)
    head = answers.refusal(HTTPStatus.NOT_FOUND, answers.HINT, head_only=True)
    assert head + answers.HINT.encode() + b"\n" == full
    assert header(head, "content-length") == str(len(answers.HINT) + 1)


@pytest.mark.parametrize(
    "make", [lambda: answers.stream_head(True), lambda: answers.refusal(HTTPStatus.NOT_FOUND, "x")]
)
def test_the_date_is_now_in_http_form(make: Callable[[], bytes], clock: Clock) -> None:
    assert header(make(), "date") == "Sun, 15 Jun 2025 15:06:40 GMT"
    clock.now += 86_400
    assert header(make(), "date") == "Mon, 16 Jun 2025 15:06:40 GMT"


def test_the_date_is_the_whole_second_that_is_past(clock: Clock) -> None:
    date = header(answers.stream_head(True), "date")
    assert date is not None
    assert parsedate_to_datetime(date).timestamp() == int(NOON)


def test_messages_carry_their_number() -> None:
    assert answers.message(1, b"tick 7") == b"Recvd msg #1: tick 7\n"
    assert answers.message(4_000_000_000, b"") == b"Recvd msg #4000000000: \n"
