"""wire.requests: what each request is answered with, and what the short cut for common ones may accept."""

import base64
from contextlib import suppress
from http import HTTPStatus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floodtest.wire.answers import HINT, OUT_OF_NUMBERS
from floodtest.wire.protocols import CHUNKED, EVENTS, LINES, UNTIL_CLOSE, WEBSOCKET, Served
from floodtest.wire.requests import MAX_KNOWN, Asked, Refuse, Requests
from tests.rigs.peer_input import DIGITS
from tests.rigs.websocket import KEY, handshake

MAX_USERS = 1_100_000
MAX_HEAD = 8192


def requests(max_users: int = MAX_USERS, max_head: int = MAX_HEAD) -> Requests:
    return Requests(max_users, max_head)


def common(reader: Requests, data: bytes) -> int:
    """The user that the short cut finds in a single request; 0 for none."""
    found = reader.common([data])
    return found[0][0] if found else 0


def head(target: str, method: str = "GET", version: str = "1.1", host: str = "a") -> bytes:
    return f"{method} {target} HTTP/{version}\r\nHost: {host}\r\n\r\n".encode()


def refused(data: bytes, reader: Requests | None = None) -> Refuse:
    with pytest.raises(Refuse) as caught:
        (reader or requests()).parse(data)
    return caught.value


@pytest.mark.parametrize("target", ["/test/123", "/test/123/", "/test/123?", "/test/123?a=b", "/test/123/?a=b/c?d"])
def test_an_id_is_asked_for(target: str) -> None:
    assert requests().parse(head(target)) == Asked(123, CHUNKED, head_only=False, extra=0)


@pytest.mark.parametrize("target", ["http://a/test/123", "HTTP://a:8000/test/123?x", "http://b.example/test/123/"])
def test_an_absolute_form_asks_for_the_same(target: str) -> None:
    assert requests().parse(head(target)) == Asked(123, CHUNKED, head_only=False, extra=0)


def test_head_asks_for_the_head_only() -> None:
    assert requests().parse(head("/test/1", "HEAD")) == Asked(1, CHUNKED, head_only=True, extra=0)


def test_http_1_0_is_noticed() -> None:
    assert requests().parse(b"GET /test/1 HTTP/1.0\r\n\r\n") == Asked(1, UNTIL_CLOSE["test"], head_only=False, extra=0)


@pytest.mark.parametrize("protocol", [CHUNKED, EVENTS, LINES])
def test_each_protocol_has_a_path_and_is_common_after_the_first(protocol: Served) -> None:
    reader = requests()
    first, more = head(f"/{protocol.path}/7"), [head(f"/{protocol.path}/{user}") for user in (8, 900)]
    assert reader.common(more) is None
    assert reader.parse(first) == Asked(7, protocol, head_only=False, extra=0)
    assert reader.common(more) == ([8, 900], protocol, [])
    assert reader.common([more[0], head("/test/5"), head("/events/6"), head("/lines/7")]) is None
    old = f"GET /{protocol.path}/1 HTTP/1.0\r\n\r\n".encode()
    assert reader.parse(old) == Asked(1, UNTIL_CLOSE[protocol.path], head_only=False, extra=0)


@pytest.mark.parametrize("extra", [b"x", b"GET /test/2 HTTP/1.1\r\n", b"\r\n"])
def test_bytes_after_the_request_are_counted(extra: bytes) -> None:
    assert requests().parse(head("/test/1") + extra) == Asked(1, CHUNKED, False, extra=len(extra))


def test_every_prefix_needs_more() -> None:
    data = head("/test/123")
    assert [requests().parse(data[:length]) for length in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize("zeros", [1, 10, 19, 20, 5000])
def test_leading_zeros_say_nothing(zeros: int) -> None:
    assert requests().parse(head("/test/" + "0" * zeros + "123")) == Asked(123, CHUNKED, False, 0)


NO_ID = [
    "/test",
    "/test/",
    "/test?x",
    "/test/?x",
    "/test/0",
    "/test/000",
    "/test/-1",
    "/test/+1",
    "/test/1.5",
    "/test/a",
]
NO_NUMBER = ["/test/1a", "/test/0x10", "/test/%31", "/test/1_0", "/test//1", "/test/1/2", "/test/1//", "/test/1#x", "*"]
NO_PATH = ["/", "/other", "/test/1/other", "/TEST/1", "/tests/1", "/test1", "//test/1", "test/1", "/other/1", "/1"]
NO_TARGET = ["https://a/test/1", "http:///other", "http://a", "http:/test/1", "http://a/other/test/1", "a/test/1"]


@pytest.mark.parametrize("target", NO_ID + NO_NUMBER + NO_PATH + NO_TARGET)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_positive_id_is_404_with_a_hint(target: str, method: str) -> None:
    refusal = refused(head(target, method))
    assert (refusal.status, refusal.text, refusal.head_only) == (HTTPStatus.NOT_FOUND, HINT, method == "HEAD")
    assert "/test/123" in refusal.text


def test_the_last_id_is_served_and_the_next_is_not() -> None:
    assert requests(1000).parse(head("/test/1000")) == Asked(1000, CHUNKED, False, 0)
    assert refused(head("/test/1001"), requests(1000)).status == HTTPStatus.SERVICE_UNAVAILABLE


@pytest.mark.parametrize(
    "digits", ["1100001", "999999999", "1000000000", "9" * 20, "9" * 21, "9" * 5000, "0" + "9" * 30]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_id_above_all_users_is_503_out_of_numbers(digits: str, method: str) -> None:
    refusal = refused(head(f"/test/{digits}", method))
    assert (refusal.status, refusal.text) == (HTTPStatus.SERVICE_UNAVAILABLE, OUT_OF_NUMBERS)
    assert refusal.text == "We ran out of numbers"
    assert refusal.head_only == (method == "HEAD")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "get", "PRI"])
@pytest.mark.parametrize("target", ["/test/1", "/other"])
def test_another_method_is_501(method: str, target: str) -> None:
    assert refused(head(target, method)).status == HTTPStatus.NOT_IMPLEMENTED


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",
        b"\r\n",
        b"GET /test/1\r\n\r\n",
        b"GET /test/1 HTTP/1.1\r\n\r\n",
        b"GET  /test/1 HTTP/1.1\r\n\r\n",
        b"GET /test/1 HTTP/1.1\r\nHost\r\n\r\n",
        b"GET /test/\xd9\xa1 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_malformed_is_400_and_says_so(data: bytes) -> None:
    refusal = refused(data)
    assert refusal.status == HTTPStatus.BAD_REQUEST
    assert refusal.text.startswith("Not a request: ")


@pytest.mark.parametrize("version", ["0.9", "2.0", "9.9"])
@pytest.mark.parametrize(("method", "target"), [("GET", "/test/1"), ("HEAD", "/other"), ("PRI", "*")])
def test_another_major_version_is_505_whatever_is_asked_for(version: str, method: str, target: str) -> None:
    refusal = refused(head(target, method, version))
    assert refusal.status == HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    assert refusal.text == f"Not a request: HTTP/{version} is not served here, HTTP/1.1 is."


@pytest.mark.parametrize("version", ["1.2", "1.9"])
def test_a_later_minor_version_is_served_as_1_1(version: str) -> None:
    reader = requests()
    assert reader.parse(head("/test/1", version=version)) == Asked(1, CHUNKED, False, 0)
    assert common(reader, head("/test/2", version=version)) == 2
    assert refused(f"GET /test/1 HTTP/{version}\r\n\r\n".encode()).status == HTTPStatus.BAD_REQUEST


def test_an_oversized_head_is_431_whole_or_not() -> None:
    data = head("/test/1", host="a" * 300)
    assert requests(max_head=len(data)).parse(data) == Asked(1, CHUNKED, False, 0)
    assert refused(data, requests(max_head=len(data) - 1)).status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    assert refused(data[:200], requests(max_head=200)).status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


def test_an_unknown_transfer_coding_is_501() -> None:
    data = b"GET /test/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"
    assert refused(data).status == HTTPStatus.NOT_IMPLEMENTED


# -- the short cut ---------------------------------------------------------------------------------------------------


def test_a_request_is_common_once_one_like_it_was_parsed() -> None:
    reader = requests()
    assert common(reader, head("/test/7")) == 0
    reader.parse(head("/test/7"))
    assert [common(reader, head(f"/test/{user}")) for user in (7, 8, 1_100_000)] == [7, 8, 1_100_000]


@pytest.mark.parametrize(
    "data",
    [
        head("/test/8", host="b"),
        head("/test/8") + b"x",
        head("/test/8")[:-1],
        head("/test/8", "HEAD"),
        head("/test/8", version="1.0"),
        head("/best/8"),
        head("/test/8/"),
        head("/test/8?x"),
        head("/test/"),
        head("/test/0"),
        head("/test/000"),
        head("/test/-8"),
        head("/test/8a"),
        head("/test/8 9"),
        head("/test/1100001"),
        head("/test/1000000000"),
        head("/test/" + "0" * 9 + "8"),
        "GET /test/\u0668 HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
        b"GET /test/\xb2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"",
        b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"x" * 10 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_differs_in_more_than_the_id_is_not_common(data: bytes) -> None:
    reader = requests()
    reader.parse(head("/test/7"))
    assert common(reader, data) == 0


@pytest.mark.parametrize(
    ("fields", "last"),
    [
        ("Last-Event-ID: a-7\r\n", b"a-7"),
        ("last-event-id:  a-7 \r\n", b"a-7"),
        ("Last-Event-ID: a-7\r\nLast-Event-ID: a-8\r\n", b"a-7, a-8"),
        ("Last-Event-ID: \xfc\r\n", b"\xfc"),
        ("Last-Event-ID:\r\n", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_client_of_events_says_how_far_it_had_come(fields: str, last: bytes | None, version: str) -> None:
    reader = requests()
    data = {
        path: f"GET /{path}/7 HTTP/{version}\r\nHost: a\r\n{fields}\r\n".encode("latin-1")
        for path in ("events", "test")
    }
    for path, expected in (("events", last), ("test", None)):
        asked = reader.parse(data[path])
        assert asked is not None
        assert asked.last_event == expected
    assert common(reader, data["events"]) == (0 if last or version == "1.0" else 7)


def test_common_requests_are_read_together_or_not_at_all() -> None:
    reader = requests()
    reader.parse(head("/test/7"))
    alike = [head(f"/test/{user}") for user in (1, 22, 333)]
    assert reader.common(alike) == ([1, 22, 333], CHUNKED, [])
    assert reader.common([*alike, head("/test/4", host="b")]) is None
    assert reader.common([head("/test/4", host="b"), *alike]) is None
    assert reader.common([*alike, head("/test/1100001")]) is None
    assert reader.common([*alike, head("/test/0")]) is None


@pytest.mark.parametrize(
    "data",
    [head("/test/7", "HEAD"), head("/test/7", version="1.0"), head("/test/7") + b"x"],
)
def test_rare_requests_teach_nothing(data: bytes) -> None:
    reader = requests()
    reader.parse(data)
    assert common(reader, data) == 0
    assert common(reader, data[: data.index(b"\r\n\r\n") + 4]) == 0


def test_refused_requests_teach_nothing() -> None:
    reader = requests()
    for target in ("/test/0", "/test/1100001", "/other"):
        refused(head(target), reader)
    assert common(reader, head("/test/7")) == 0


def test_only_so_many_kinds_of_clients_are_remembered() -> None:
    reader = requests()
    for number in range(MAX_KNOWN + 1):
        reader.parse(head("/test/7", host=f"h{number}"))
    found = [common(reader, head("/test/7", host=f"h{number}")) for number in range(MAX_KNOWN + 1)]
    assert found == [7] * MAX_KNOWN + [0]


def test_the_short_cut_keeps_to_the_head_limit() -> None:
    data = head("/test/7")
    reader = requests(max_head=len(data))
    reader.parse(data)
    longer = head("/test/777")
    assert refused(longer, reader).status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    assert common(reader, longer) == 0


TAILS = [b" HTTP/1.1\r\nHost: a\r\n\r\n", b" HTTP/1.2\nHost: b\n\n"]
"""What follows the id in plain requests."""

ODD_TAILS = st.builds(
    lambda rest, version, host, extra: b"%b HTTP/%b\r\nHost: %b\r\n\r\n%b" % (rest, version, host, extra),
    st.sampled_from([b"", b"", b"/", b"?a=b", b"#", b"%31", b" "]),
    st.sampled_from([b"1.1", b"1.0", b"1.2", b"0.9", b"2.0", b"9.9", b"1"]),
    st.sampled_from([b"a", b"b", b"a\r\nX: y", b"a\r\nHost: b", b""]),
    st.sampled_from([b"", b"", b"x", b"\r\n"]),
)
IDS = st.one_of(st.integers(1, MAX_USERS).map(lambda user: b"%d" % user), DIGITS)
PLAIN = st.builds(lambda user, tail: b"GET /test/%b%b" % (user, tail), IDS, st.sampled_from(TAILS))
HEADS = st.one_of(
    PLAIN,
    st.builds(
        lambda start, user, tail: start + user + tail,
        st.sampled_from([b"GET /test/", b"GET /test/", b"HEAD /test/", b"POST /test/", b"GET /best/", b"get /test/"]),
        IDS,
        st.one_of(ODD_TAILS, st.sampled_from(TAILS)),
    ),
    st.builds(
        lambda data, cut, extra: data[: len(data) - cut] + extra, PLAIN, st.integers(0, 60), st.binary(max_size=3)
    ),
)


def answer(data: bytes) -> Asked | None:
    """What parsing in full finds, by a reader that has seen nothing."""
    try:
        return requests().parse(data)
    except Refuse:
        return None


@given(seen=st.lists(HEADS, max_size=3), read=st.one_of(st.lists(PLAIN, min_size=1), st.lists(HEADS, min_size=1)))
@example(seen=[], read=[head("/test/7"), head("/test/0000008")])
@example(seen=[], read=[head("/test/7"), head("/test/0")])
@example(seen=[], read=[head("/test/7"), head("/test/-1")])
@example(seen=[], read=[head("/test/1100000"), head("/test/1100001")])
@example(seen=[], read=[head("/test/7"), "GET /test/\u0668 HTTP/1.1\r\nHost: a\r\n\r\n".encode()])
def test_common_requests_are_answered_as_each_is_by_itself(seen: list[bytes], read: list[bytes]) -> None:
    reader = requests()
    for tail in TAILS:
        reader.parse(b"GET /test/7" + tail)
    for data in [*seen, *read]:
        with suppress(Refuse):
            reader.parse(data)
    common = reader.common(read)
    if common is not None:
        users, protocol, keys = common
        assert [answer(data) for data in read] == [Asked(user, protocol, False, 0) for user in users]
        assert keys == []


@given(users=st.lists(st.integers(1, MAX_USERS), min_size=1), tail=st.sampled_from(TAILS))
def test_requests_that_differ_in_their_id_alone_are_common(users: list[int], tail: bytes) -> None:
    reader = requests()
    reader.parse(b"GET /test/7" + tail)
    assert reader.common([b"GET /test/%d" % user + tail for user in users]) == (users, CHUNKED, [])


# -- WebSockets ------------------------------------------------------------------------------------------------------

OTHER_KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Upgrade: websocket", b"upgrade: WebSocket"),
        (b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
        (b"Upgrade: websocket", b"Upgrade: h2c\r\nUpgrade: websocket"),
        (b"Connection: Upgrade", b"Connection: keep-alive, upgrade"),
        (b"Connection: Upgrade", b"Connection: keep-alive\r\nConnection: UPGRADE"),
        (b"Sec-WebSocket-Key: ", b"sec-websocket-key:"),
        (b"Host: comet", b"Host: comet\r\nOrigin: http://comet\r\nContent-Length: 0"),
        (b"Host: comet", b"Host: comet\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a"),
        (b"/ws/7 ", b"/ws/007/?x "),
        (b"/ws/7 ", b"http://a/ws/7 "),
        (b"HTTP/1.1", b"HTTP/1.2"),
    ],
)
def test_a_handshake_asks_for_a_websocket(old: bytes, new: bytes) -> None:
    data = handshake(7)
    assert old in data
    assert requests().parse(data.replace(old, new)) == Asked(7, WEBSOCKET, False, 0, KEY)


@pytest.mark.parametrize("head", [head("/ws/7"), head("/ws/7", "HEAD"), b"GET /ws/7 HTTP/1.0\r\n\r\n"])
def test_a_websocket_is_no_answer_to_a_plain_request(head: bytes) -> None:
    refusal = refused(head)
    assert (refusal.status, refusal.head_only) == (HTTPStatus.UPGRADE_REQUIRED, head.startswith(b"HEAD"))
    assert dict(refusal.upgrade) == {
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Version": b"13",
    }


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"GET", b"HEAD", 426),
        (b"HTTP/1.1", b"HTTP/1.0", 426),
        (b"Upgrade: websocket\r\n", b"", 426),
        (b"Upgrade: websocket", b"Upgrade: websockets", 426),
        (b"Connection: Upgrade\r\n", b"", 426),
        (b"Connection: Upgrade", b"Connection: close", 426),
        (b"Version: 13", b"Version: 8", 426),
        (b"Version: 13", b"Version: 13, 8", 426),
        (b"Version: 13", b"Version: 013", 426),
        (b"Sec-WebSocket-Version: 13\r\n", b"", 400),
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13", 400),
        (b"Sec-WebSocket-Key: " + KEY + b"\r\n", b"", 400),
        (KEY, KEY + b"\r\nSec-WebSocket-Key: " + OTHER_KEY, 400),
        (KEY, b"", 400),
        (KEY, KEY[:-1], 400),
        (KEY, KEY[4:], 400),
        (KEY, KEY[:-4] + b"AAA=", 400),
        (KEY, b"AAAA" + KEY, 400),
        (KEY, KEY.replace(b"G", b"-"), 400),
        (b"Host: comet", b"Host: comet\r\nContent-Length: 5", 400),
        (b"Host: comet", b"Host: comet\r\nTransfer-Encoding: chunked", 400),
        (b"Host: comet\r\n", b"", 400),
        (b"GET", b"POST", 501),
        (b"/ws/7 ", b"/ws/0 ", 404),
        (b"/ws/7 ", b"/ws ", 404),
        (b"/ws/7 ", b"/ws/1100001 ", 503),
        (b"HTTP/1.1", b"HTTP/2.0", 505),
    ],
)
def test_what_is_no_handshake_is_refused_and_teaches_nothing(old: bytes, new: bytes, status: int) -> None:
    reader, data = requests(), handshake(7)
    assert old in data
    assert refused(data.replace(old, new, 1), reader).status == status
    assert reader.common([data.replace(old, new, 1)]) is None


@pytest.mark.parametrize("path", ["test", "events", "lines"])
def test_a_wish_for_another_protocol_is_passed_over_elsewhere(path: str) -> None:
    asked = requests().parse(handshake(7).replace(b"/ws/", f"/{path}/".encode()))
    assert asked is not None
    assert (asked.user, asked.protocol.path, asked.key) == (7, path, b"")


def test_handshakes_that_differ_in_id_and_key_are_common_after_the_first() -> None:
    reader = requests()
    alike = [handshake(8, OTHER_KEY), handshake(900)]
    assert reader.common(alike) is None
    reader.parse(handshake(7))
    assert reader.common(alike) == ([8, 900], WEBSOCKET, [OTHER_KEY, KEY])
    for other in (
        handshake(9, more="X: y\r\n"),
        handshake(9) + b"x",
        handshake(9)[:-1],
        head("/ws/9"),
        head("/test/9"),
    ):
        assert reader.common([*alike, other]) is None


@pytest.mark.parametrize(
    "key", [KEY[:-1] + b"A", KEY[1:], b"A" + KEY, b"", b"\r\n" + KEY[2:], KEY[:9] + b" " + KEY[10:]]
)
def test_what_is_no_key_is_not_common(key: bytes) -> None:
    reader = requests()
    reader.parse(handshake(7))
    assert reader.common([handshake(8), handshake(9, key)]) is None
    assert reader.common([handshake(9, key), handshake(8)]) is None
    assert reader.common([handshake(8, b"AAAA" + KEY), handshake(9, KEY[4:])]) is None


KEYS = st.one_of(
    st.binary(min_size=16, max_size=16).map(base64.b64encode), st.binary(max_size=18).map(base64.b64encode), st.binary()
)
MORE = st.sampled_from(["", "", "X: 100%\r\n", "Origin: http://a\r\n", "Sec-WebSocket-Key: x\r\n"])
HANDSHAKES = st.builds(
    lambda user, key, more, extra: handshake(1, key, more).replace(b"/1 ", b"/%b " % user, 1) + extra,
    IDS,
    KEYS,
    MORE,
    st.sampled_from([b"", b"", b"", b"x"]),
)


@given(read=st.lists(st.one_of(HANDSHAKES, HANDSHAKES, HEADS), min_size=1, max_size=4))
@example(read=[handshake(7), handshake(8, OTHER_KEY)])
@example(read=[handshake(7, OTHER_KEY, "X: 100%\r\n"), handshake(8, KEY, "X: 100%\r\n")])
def test_common_handshakes_are_answered_as_each_is_by_itself(read: list[bytes]) -> None:
    reader = requests()
    for data in [handshake(7), handshake(7, more="X: 100%\r\n"), *read]:
        with suppress(Refuse):
            reader.parse(data)
    common = reader.common(read)
    if common is not None:
        users, protocol, keys = common
        rows = zip(users, keys or [b""] * len(users), strict=True)
        assert [answer(data) for data in read] == [Asked(user, protocol, False, 0, key) for user, key in rows]


def test_a_key_that_is_not_in_its_place_teaches_nothing() -> None:
    """h11 joins a line that was folded, and what is compared as bytes would find no key in it."""
    request = (
        b"GET /ws/7 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key:\r\n AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    reader = Requests(100, 8192)
    asked = reader.parse(request)
    assert asked is not None
    assert (asked.user, asked.key) == (7, b"AAAAAAAAAAAAAAAAAAAAAA==")
    assert reader.common([request]) is None


@pytest.mark.parametrize(
    ("origin", "allowed", "is_served"),
    [
        (None, None, True),
        (b"http://h", None, True),
        (b"https://H", None, True),
        (b"http://h:81", None, False),
        (b"http://evil.example", None, False),
        (b"null", None, False),
        (b"", None, False),
        (b"http://evil.example", "https://good.example", False),
        (b"https://good.example", "https://good.example", True),
        (b"null", "*", True),
    ],
)
def test_a_web_page_opens_a_websocket_only_where_its_origin_may(
    origin: bytes | None, allowed: str | None, is_served: bool
) -> None:
    header = b"" if origin is None else b"Origin: %b\r\n" % origin
    request = (
        b"GET /ws/7 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"%bSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % header
    )
    reader = Requests(100, 8192, allowed)
    if is_served:
        assert reader.parse(request) is not None
    else:
        with pytest.raises(Refuse) as caught:
            reader.parse(request)
        assert caught.value.status == 403
    assert (reader.common([request]) is not None) is is_served
