"""wire.http: heads whole, in pieces, with trailing bytes, malformed, oversized, and garbage."""

import re
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.wire.http import (
    MAX_HEAD,
    MAX_INFORMATIONAL,
    HeadError,
    Request,
    Response,
    authority,
    origin_form,
    parse_request,
    parse_response,
    split_head,
)

REQUESTS: list[tuple[bytes, Request]] = [
    (b"GET /test/1 HTTP/1.1\r\nHost: a\r\n\r\n", Request("GET", "/test/1", False)),
    (b"HEAD /test/1?x=y HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", Request("HEAD", "/test/1?x=y", False)),
    (b"GET /test/1 HTTP/1.0\r\n\r\n", Request("GET", "/test/1", True)),
    (b"GET /test/1 HTTP/1.1\nHost: a\n\n", Request("GET", "/test/1", False)),
    (b"GET /test/1 HTTP/1.1\r\nHost: a\r\n\n", Request("GET", "/test/1", False)),
    (b"DELETE * HTTP/1.1\r\nhost:a\r\n\r\n", Request("DELETE", "*", False)),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", Request("POST", "/", False)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xe9\r\n\r\n", Request("GET", "/", False)),
    (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Request("GET", "/", False)),
    (b"GET / HTTP/1.9\nHost: a\n\n", Request("GET", "/", False)),
]
BAD_REQUESTS: list[tuple[bytes, HTTPStatus]] = [
    (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"\n\n", HTTPStatus.BAD_REQUEST),
    (b"GET /\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/1.1\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/1.2\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/2\r\nHost: a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/10.1\r\nHost: a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/9.9 \r\nHost: a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / http/9.9\r\nHost: a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5000), HTTPStatus.BAD_REQUEST),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", HTTPStatus.NOT_IMPLEMENTED),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        HTTPStatus.BAD_REQUEST,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\nX: y\r\nCONTENT-LENGTH: 5\r\n\r\n",
        HTTPStatus.BAD_REQUEST,
    ),
    (b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", HTTPStatus.BAD_REQUEST),
]
OTHER_VERSIONS = [
    b"GET /test/1 HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET /test/1 HTTP/0.9\r\n\r\n",
    b"GET /test/1 HTTP/2.0\nHost: a\n\n",
    b"POST / HTTP/3.0\r\nno colon\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\n",
]
RESPONSES: list[tuple[bytes, Response]] = [
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Response(200, "chunked")),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\nX: y\r\n\r\n", Response(200, "chunked")),
    (b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", Response(200, "chunked")),
    (b"HTTP/1.1 200\r\n\r\n", Response(200, None)),
    (b"HTTP/1.0 200 OK\r\n\r\n", Response(200, None)),
    (b"HTTP/1.2 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Response(200, "chunked")),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n", Response(404, None, is_sized=True)),
    (
        b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream;x=y\r\n\r\n",
        Response(200, None, media_type="text/event-stream"),
    ),
    (b"HTTP/1.1 503 We ran out\r\nConnection: close\r\n\r\n", Response(503, None)),
]
BAD_RESPONSES = [
    b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    b"220 ready\r\n\r\n",
    b"HTTP/1.1 OK\r\n\r\n",
    b"HTTP/1.1 099 Low\r\n\r\n",
    b"HTTP/9.9 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"HTTP/2.0 404 Not Found\r\n\r\n",
    b"HTTP/2.0 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
]
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
TRAILING = [
    b"",
    b"\r\n",
    b"hello\r\n\r\n",
    b"hello",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"5\r\nhello\r\n",
    b"\x00\xff",
]


@pytest.mark.parametrize(("head", "request_"), REQUESTS)
@pytest.mark.parametrize("trailing", TRAILING)
def test_a_request_and_the_bytes_after_it(head: bytes, request_: Request, trailing: bytes) -> None:
    assert without_headers(head + trailing) == (request_, trailing)


def without_headers(data: bytes, limit: int = MAX_HEAD) -> tuple[Request, bytes]:
    """Parse a whole request, and leave its headers out."""
    parsed = parse_request(data, limit)
    assert parsed is not None
    return replace(parsed[0], headers=()), parsed[1]


def test_headers_of_a_request_are_values_and_lists_of_tokens() -> None:
    parsed = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nX-List:  One ,two\r\nX-LIST: THREE\r\n\r\n")
    assert parsed is not None
    assert parsed[0].values(b"x-list") == [b"One ,two", b"THREE"]
    assert parsed[0].tokens(b"x-list") == {b"one", b"two", b"three"}
    assert (parsed[0].values(b"x"), parsed[0].tokens(b"x")) == ([], set())


@pytest.mark.parametrize(("head", "response"), RESPONSES)
@pytest.mark.parametrize("trailing", TRAILING)
@pytest.mark.parametrize("before", [b"", CONTINUE, EARLY_HINTS + CONTINUE])
def test_an_answer_and_the_bytes_after_it(head: bytes, response: Response, trailing: bytes, before: bytes) -> None:
    assert parse_response(before + head + trailing) == (response, trailing)


@pytest.mark.parametrize(("head", "_"), REQUESTS)
def test_a_request_in_pieces_needs_more_until_it_is_whole(head: bytes, _: Request) -> None:
    assert [parse_request(head[:length]) for length in range(len(head))] == [None] * len(head)


@pytest.mark.parametrize(("head", "_"), RESPONSES)
@pytest.mark.parametrize("before", [b"", CONTINUE])
def test_an_answer_in_pieces_needs_more_until_it_is_whole(head: bytes, _: Response, before: bytes) -> None:
    data = before + head
    assert [parse_response(data[:length]) for length in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize(("head", "status"), BAD_REQUESTS)
def test_a_malformed_request_owes_an_answer(head: bytes, status: HTTPStatus) -> None:
    with pytest.raises(HeadError) as caught:
        parse_request(head)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "head", [*[head for head, _ in BAD_REQUESTS], b"\x16\x03\x01", b"GET / HTTP/1.1\r\nb'x\r\n\r\n"]
)
def test_what_is_wrong_is_said_without_the_bytes_as_python_writes_them(head: bytes) -> None:
    with pytest.raises(HeadError) as caught:
        parse_request(head)
    assert re.fullmatch(r"[\w -]+[\w:,]( [\w-]+)*", str(caught.value)), str(caught.value)


@pytest.mark.parametrize("head", OTHER_VERSIONS)
def test_a_request_of_another_major_version_is_505_and_says_so(head: bytes) -> None:
    with pytest.raises(HeadError, match=r"HTTP/\d\.\d is not served here, HTTP/1\.1 is") as caught:
        parse_request(head + b"SM\r\n\r\n\x00\x00")
    assert caught.value.status == HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    assert [parse_request(head[:length]) for length in range(len(head))] == [None] * len(head)


@pytest.mark.parametrize("head", [head for head, _ in BAD_REQUESTS])
def test_no_prefix_of_a_malformed_request_is_a_request(head: bytes) -> None:
    for length in range(len(head)):
        with suppress(HeadError):
            assert parse_request(head[:length]) is None


@pytest.mark.parametrize("head", BAD_RESPONSES)
def test_a_malformed_answer(head: bytes) -> None:
    with pytest.raises(HeadError):
        parse_response(head)


@pytest.mark.parametrize("head", BAD_RESPONSES)
def test_no_prefix_of_a_malformed_answer_is_an_answer(head: bytes) -> None:
    for length in range(len(head)):
        with suppress(HeadError):
            assert parse_response(head[:length]) is None


@pytest.mark.parametrize("first", [b"\x16\x03\x01", b"\x00", b"\r", b" GET", b"{", b"5"])
def test_what_does_not_begin_like_http_is_refused_at_its_first_byte(first: bytes) -> None:
    for parse in (parse_request, parse_response):
        with pytest.raises(HeadError):
            parse(first)


def padded(length: int, first: bytes) -> bytes:
    """A head of exactly this length."""
    start = first + b"\r\nHost: a\r\nX: "
    return start + b"x" * (length - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("limit", [64, 200, MAX_HEAD])
def test_a_head_of_the_limit_is_accepted_whole_and_in_pieces(limit: int) -> None:
    request, response = padded(limit, b"GET / HTTP/1.1"), padded(limit, b"HTTP/1.1 200 OK")
    assert without_headers(request + b"rest", limit) == (Request("GET", "/", False), b"rest")
    assert parse_response(response + b"rest", limit=limit) == (Response(200, None), b"rest")
    assert parse_request(request[:-1], limit) is None
    assert parse_response(response[:-1], limit=limit) is None


@pytest.mark.parametrize("limit", [64, 200, MAX_HEAD])
def test_a_head_of_more_is_431_whole_and_in_pieces(limit: int) -> None:
    for head in (padded(limit + 1, b"GET / HTTP/1.1"), padded(limit + 1000, b"GET / HTTP/1.1")):
        for data in (head, head[:-1], head[:limit]):
            with pytest.raises(HeadError) as caught:
                parse_request(data, limit)
            assert caught.value.status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        assert parse_request(head[: limit - 1], limit) is None


def test_an_endless_answer_head_is_refused() -> None:
    with pytest.raises(HeadError):
        parse_response(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD)


def test_each_informational_answer_has_a_limit_of_its_own() -> None:
    head = padded(MAX_HEAD, b"HTTP/1.1 100 Continue")
    assert parse_response(head * 2 + RESPONSES[0][0]) == (Response(200, "chunked"), b"")


@pytest.mark.parametrize("count", [2, MAX_INFORMATIONAL])
def test_some_informational_answers_are_passed_over(count: int) -> None:
    assert parse_response(CONTINUE * count + RESPONSES[0][0] + b"rest") == (Response(200, "chunked"), b"rest")
    assert parse_response(CONTINUE * count) is None


def test_no_more_informational_answers_than_a_bound() -> None:
    answer = RESPONSES[0][0]
    assert parse_response(CONTINUE * MAX_INFORMATIONAL + answer + b"rest") == (Response(200, "chunked"), b"rest")
    for many in (MAX_INFORMATIONAL + 1, 5000):
        for end in (b"", answer):
            with pytest.raises(HeadError, match="informational"):
                parse_response(CONTINUE * many + end)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/test/1?x", (None, "/test/1?x")),
        ("http://a/test/1", ("a", "/test/1")),
        ("HTTP://a:8000/?x=http://b/", ("a:8000", "/?x=http://b/")),
        ("http://[::1]:80", ("[::1]:80", "/")),
        ("http://a?x/y", ("a", "/?x/y")),
        ("http://u@a/", ("u@a", "/")),
        ("http:///test/1", (None, "http:///test/1")),
        ("https://a/test/1", (None, "https://a/test/1")),
        ("//a/test/1", (None, "//a/test/1")),
        ("*", (None, "*")),
    ],
)
def test_a_target_in_absolute_form_is_taken_apart(target: str, parts: tuple[str | None, str]) -> None:
    assert origin_form(target) == parts


def test_a_head_is_split_at_its_first_end() -> None:
    assert split_head(b"A: b\r\n\r\nrest\r\n\r\n") == (b"A: b\r\n\r\n", b"rest\r\n\r\n")
    assert split_head(b"") is None
    assert split_head(b"A: b\r\n\r") is None


WORDS = [b"GET", b"HTTP/1.1", b"HTTP/1.0", b" ", b"/test/1", b"\r\n", b"\n", b"\r", b"Host: a", b"100", b"200", b":"]
HEADERS = [b"Transfer-Encoding: chunked", b"Content-Length: ", b"-1", b"99999", b"\x00", b"\xff", b"\t", b"Upgrade: x"]
TEXT = st.lists(st.sampled_from(WORDS + HEADERS)).map(b"".join)
GARBAGE = st.one_of(st.binary(max_size=200), TEXT, TEXT.map(lambda text: text + b"\r\n\r\n"))


@given(GARBAGE)
def test_garbage_raises_nothing_but_head_error(data: bytes) -> None:
    for first in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"):
        try:
            parsed = parse_request(first + data)
        except HeadError:
            continue
        assert parsed is None or parsed[1] == re.split(rb"\n\r?\n", first + data, maxsplit=1)[1]


@given(GARBAGE, st.sampled_from(["GET", "HEAD"]))
def test_garbage_for_an_answer_raises_nothing_but_head_error(data: bytes, method: str) -> None:
    for first in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n", b"HTTP/1."):
        try:
            parsed = parse_response(first + data, method)
        except HeadError:
            continue
        assert parsed is None or (first + data).endswith(parsed[1])


@given(st.integers(0, 999), st.sampled_from([b"", b" ", b" OK", b" \xe4"]))
def test_every_status_is_an_answer_or_an_error(status: int, phrase: bytes) -> None:
    data = b"HTTP/1.1 %03d%b\r\n\r\n" % (status, phrase)
    try:
        parsed = parse_response(data)
    except HeadError:
        assert status < 100 or status == 101
    else:
        assert parsed == ((Response(status, None), b"") if status >= 200 else None)


@pytest.mark.parametrize(
    ("host", "written"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("comet.example", "comet.example:80")]
)
def test_an_ipv6_address_is_in_brackets(host: str, written: str) -> None:
    assert authority(host, 80) == written
