"""wire.template: what is made of a request's texts for each user, to the last byte, and what is wrong with them."""

import base64
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.wire.template import MAX_TEMPLATE, OWN, Column, Place, RequestTemplate, parse


def columns(**values: Sequence[int] | Sequence[bytes]) -> dict[str, Column]:
    """Return columns that have a value for each user from 1 on."""

    def column(of_all: Sequence[int] | Sequence[bytes]) -> Column:
        return lambda users: [of_all[user - 1] for user in users]  # type: ignore[return-value]

    return {name: column(of_all) for name, of_all in values.items()}


def made(template: RequestTemplate, users: list[int], **values: Sequence[int] | Sequence[bytes]) -> list[bytes]:
    return template.requests(columns(**values).__getitem__)(users)


@pytest.mark.parametrize(
    ("text", "texts", "names"),
    [
        (b"", (b"",), ()),
        (b"/a?b=%20", (b"/a?b=%20",), ()),
        (b"{user}", (b"", b""), ("user",)),
        (b"a{user}b{line}", (b"a", b"b", b""), ("user", "line")),
        (b"{{{user}}}", (b"{", b"}"), ("user",)),
        (b'{{"id": "{two words}"}}', (b'{"id": "', b'"}'), ("two words",)),
    ],
)
def test_a_text_is_taken_apart(text: bytes, texts: tuple[bytes, ...], names: tuple[str, ...]) -> None:
    found = parse(text)
    assert (found.texts, found.names, found.lone) == (texts, names, ())


@pytest.mark.parametrize(
    ("text", "lone"), [(b"{", (1,)), (b"a}b", (2,)), (b"{}", (1, 2)), (b'{"id": 1}', (1, 9)), (b"{{}{user}", (3,))]
)
def test_braces_of_no_placeholder_are_found(text: bytes, lone: tuple[int, ...]) -> None:
    assert parse(text).lone == lone


@given(pieces=st.lists(st.one_of(st.binary(max_size=9), st.sampled_from(["user", "line"])), max_size=6))
def test_what_is_written_is_read(pieces: list[bytes | str]) -> None:
    written = [
        b"{%b}" % one.encode() if isinstance(one, str) else one.replace(b"{", b"{{").replace(b"}", b"}}")
        for one in pieces
    ]
    found = parse(b"".join(written))
    assert found.names == tuple(one for one in pieces if isinstance(one, str))
    assert b"".join(found.texts) == b"".join(one for one in pieces if isinstance(one, bytes))
    assert not found.lone


def test_requests_without_placeholders_are_one() -> None:
    first, second = made(RequestTemplate(b"/100%25?{{"), [1, 2])
    assert first is second
    assert first == b"GET /100%25?{ HTTP/1.1\r\n\r\n"


def test_a_user_stands_wherever_it_is_asked_for() -> None:
    template = RequestTemplate(b"/{user}?a=%41&u={user}", b"POST", ((b"X-User", b"u{user}"),), body=b"100% {user}")
    assert made(template, [9, 10]) == [
        b"POST /9?a=%41&u=9 HTTP/1.1\r\nX-User: u9\r\nContent-Length: 6\r\n\r\n100% 9",
        b"POST /10?a=%41&u=10 HTTP/1.1\r\nX-User: u10\r\nContent-Length: 7\r\n\r\n100% 10",
    ]


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        (b"GET", None, b""),
        (b"DELETE", None, b""),
        (b"POST", None, b"Content-Length: 0\r\n"),
        (b"GET", b"", b"Content-Length: 0\r\n"),
        (b"PUT", b"\0\xff{{", b"Content-Length: 3\r\n"),
    ],
)
def test_a_request_says_how_long_its_body_is(method: bytes, body: bytes | None, expected: bytes) -> None:
    text = (body or b"").replace(b"{{", b"{")
    assert made(RequestTemplate(b"/", method, body=body), [1]) == [
        method + b" / HTTP/1.1\r\n" + expected + b"\r\n" + text
    ]


@given(value=st.binary(min_size=1, max_size=20))
def test_a_value_comes_out_of_the_path_as_it_was(value: bytes) -> None:
    (request,) = made(RequestTemplate(b"/a/{name}/b"), [1], name=[value])
    line, *rest = request.split(b"\r\n")
    method, target, version = line.split(b" ")
    assert (method, version, rest) == (b"GET", b"HTTP/1.1", [b"", b""])
    assert target.count(b"/") == 3
    assert unquote_to_bytes(target.removeprefix(b"/a/").removesuffix(b"/b")) == value


def test_numbers_and_addresses_and_columns_stand_side_by_side() -> None:
    template = RequestTemplate(b"/{line}/{name}", headers=((b"From", b"{address}; {name}"),), body=b"{name}")
    addresses, names = [b"::1", b"127.0.0.1"], ["é".encode(), b"b c"]
    assert made(template, [1, 2], line=[1, 2], address=addresses, name=names) == [
        "GET /1/%C3%A9 HTTP/1.1\r\nFrom: ::1; é\r\nContent-Length: 2\r\n\r\né".encode(),
        b"GET /2/b%20c HTTP/1.1\r\nFrom: 127.0.0.1; b c\r\nContent-Length: 3\r\n\r\nb c",
    ]


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (b"bob:secret", b"bob:secret"),
        (b"bob", b"bob:"),
        (b"bob:", b"bob:"),
        (b"b%40b:p%3Aq%7B", b"b@b:p:q{"),
        (b"{name}:{word}", b"ann:p:w%41"),
        (b"user-{user}", b"user-1:"),
    ],
)
def test_credentials_are_sent_in_base64(credentials: bytes, expected: bytes) -> None:
    template = RequestTemplate(b"/", credentials=credentials)
    (request,) = made(template, [1], name=[b"ann"], word=[b"p:w%41"])
    assert request == b"GET / HTTP/1.1\r\nAuthorization: Basic %b\r\n\r\n" % base64.b64encode(expected)


def test_a_header_authorization_takes_the_place_of_credentials() -> None:
    template = RequestTemplate(b"/", headers=((b"authorization", b"Bearer x"),), credentials=b"bob:secret")
    assert made(template.with_headers([]), [1]) == [b"GET / HTTP/1.1\r\nauthorization: Bearer x\r\n\r\n"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    template = RequestTemplate(
        b"/a b/{User}", headers=((b"X", b"a\rb{user"), (b"content-length", b"1")), body=b'{"a": {line}}'
    )
    assert template.problems(OWN) == [
        "--target takes a path of ASCII without spaces: write %20 for a space.",
        "--target has {User}, and there is no such placeholder: there are {user}, {address}, {line}.",
        "--header X has a carriage return, a line feed or a NUL in it, which no header can have.",
        "--header X has a brace of no placeholder, character 4: one that stands for itself is written twice.",
        "--body has a brace of no placeholder, character 1: one that stands for itself is written twice.",
        "--body has a brace of no placeholder, character 13: one that stands for itself is written twice.",
        "--header content-length can't be given: floodtest says itself how long the body is.",
    ]
    assert not RequestTemplate(b"/{any}").problems(None)


def test_a_request_has_a_bound() -> None:
    assert not RequestTemplate(b"/", body=b"x" * (MAX_TEMPLATE - 1)).problems(OWN)
    assert RequestTemplate(b"/", body=b"x" * MAX_TEMPLATE).problems(OWN) == [
        f"A request may have {MAX_TEMPLATE:,} bytes of texts, and has {MAX_TEMPLATE + 1:,}: shorten --body."
    ]


def test_it_is_known_where_each_placeholder_stands() -> None:
    template = RequestTemplate(b"/{user}", headers=((b"X", b"{a}{user}"),), credentials=b"{a}", body=b"{b}")
    assert template.places() == {
        "user": {Place.PATH, Place.HEADER},
        "a": {Place.HEADER, Place.CREDENTIALS},
        "b": {Place.BODY},
    }
