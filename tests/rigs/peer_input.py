"""What a peer may send, as hypothesis strategies: valid, nearly valid and extreme, in one piece or cut anywhere."""

from collections.abc import Callable, Iterable
from itertools import pairwise

from hypothesis import strategies as st

from floodtest.wire import stamp
from tests.rigs.support import HEAD, chunk

EXTREMES = [
    *(0, 1, 9, 10, 255, 256, 257, 65_536, 65_537, 10**8 - 1, 10**8, 10**9 - 1, 10**9),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 10**18 - 1, 10**18, 9 * 10**18 - 1, 9 * 10**18),
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**19 - 1, 10**19, 10**40),
]
"""Numbers about the bounds of digits, of columns and of tables."""

USER = b"UU"
"""Stands for the user's id in two digits where what users get is to differ."""

NUMBERS = st.one_of(st.integers(1, 6), st.integers(0, 10**19), st.sampled_from(EXTREMES))

ODD_DIGITS = [b"", b"-1", b"+1", b"1_0", b" 1", b"1e3", b"0x1", b"1.5", "٣".encode(), "²".encode(), b"1\x00"]
"""What Python, or somebody, may take for a number."""

DIGITS = st.one_of(
    NUMBERS.map(lambda number: b"%d" % number),
    st.builds(lambda number, width: b"%0*d" % (width, number), NUMBERS, st.integers(1, 25)),
    st.sampled_from(ODD_DIGITS),
)

STAMPS = st.one_of(
    st.builds(lambda planned, late: stamp.FORMAT % (planned, late), NUMBERS, st.integers(0, 10**8 - 1)),
    st.builds(lambda planned, late: b"@%b+%b " % (planned, late), DIGITS, DIGITS),
)

TEXTS = st.one_of(
    st.builds(lambda text, rest: text + rest, STAMPS, st.binary(max_size=20)),
    st.builds(lambda number, rest: b"tick %b%b" % (number, rest), DIGITS, st.sampled_from([b"", b" ", b"x", b"\n"])),
    st.binary(max_size=20),
)

PAYLOADS = st.one_of(
    st.builds(lambda number, text: b"Recvd msg #%d: %b\n" % (number, text), st.integers(1, 6), TEXTS),
    st.builds(lambda number, text: b"Recvd msg #%b: %b\n" % (number, text), DIGITS, TEXTS),
    st.binary(min_size=1, max_size=300),
)

TICKS = st.builds(
    lambda number, tick: chunk(b"Recvd msg #%d: tick %d\n" % (number, tick)),
    st.integers(1, 3),
    st.sampled_from([1, 2, 257, 258, 513]),
)
STAMPED = st.builds(
    lambda number, text, rest: chunk(b"Recvd msg #%d: %b%b\n" % (number, text, rest)),
    st.integers(1, 3),
    STAMPS,
    st.sampled_from([USER, USER, b""]),
)
"""Chunks as our server sends them: ticks, of which some share a place in the ledger, and stamped messages."""

SIZES = st.sampled_from([b"%x", b"%X", b"0%x", b"%05x", b"%08x", b"%09x", b"%x ", b"%x\t;a=b", b"%x;" + b"y" * 300])
LINE_ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\r\r\n"])

CHUNKS = st.one_of(
    PAYLOADS.map(chunk),
    PAYLOADS.map(chunk),
    st.builds(
        lambda size, payload, after, end: size % len(payload) + after + payload + end,
        SIZES,
        PAYLOADS,
        LINE_ENDS,
        LINE_ENDS,
    ),
    DIGITS.map(lambda size: size + b"\r\n"),
    st.sampled_from([b"0\r\n\r\n", b"0\r\n", b"000\r\nX: y\r\n\r\n", b"fffff\r\n", b"ffffffff\r\n", b"\r\n", b""]),
)

BODIES = st.one_of(
    st.lists(PAYLOADS.map(chunk), min_size=1, max_size=5).map(b"".join),
    st.builds(lambda chunks, cut: b"".join(chunks)[cut:], st.lists(CHUNKS, max_size=4), st.integers(0, 9)),
    st.binary(max_size=40),
)
"""The bytes of an open stream: mostly whole chunks, sometimes what is none."""

VERSIONS = st.sampled_from(["1.1", "1.1", "1.1", "1.0", "1.2", "1.9", "0.9", "2.0", "9.9", "10.1", "1", ""])
STATUSES = st.sampled_from(["200", "200", "200", "000", "099", "100", "101", "199", "204", "302", "404", "999", "1000"])
FIELDS = st.sampled_from(
    [
        "Transfer-Encoding: chunked",
        "transfer-encoding:  CHUNKED",
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: 99999999999999999999",
        "Content-Length: -1",
        "Location: http://[",
        "Location: a: //[",
        "Set-Cookie: a=b; max-age=99999999999999999999; expires=Thu, 99 Foo 99999 99:99:99 GMT",
        "Upgrade: h2c",
        "X: %d%%",
        "no field",
        "",
    ]
)

HEADS = st.one_of(
    st.just(HEAD),
    st.builds(
        lambda version, status, fields: "\r\n".join([f"HTTP/{version} {status} X", *fields, "", ""]).encode(),
        VERSIONS,
        STATUSES,
        st.lists(FIELDS, max_size=3),
    ),
    st.binary(max_size=20),
)


WELCOMES = st.sampled_from(
    [
        *([b"Welcome, user %b\n"] * 3),
        *(b"%b of 1%b\n", b"%b, this is %b\n", b"%%d %b\n", b"user 1%b\n", b"\n", b"%b", b"%b\n\n"),
    ]
)
"""First chunks that name a user, or nearly."""

Pieces = Callable[[int], list[bytes]]
"""All that a server says to a user, in the pieces that are read."""


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut data at some places, counted from its beginning; those beyond its end cut nothing."""
    edges = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[first:end] for first, end in pairwise(edges)]


def _answer(head: bytes, welcome: bytes, body: bytes, places: list[int]) -> Pieces:
    def pieces(user: int) -> list[bytes]:
        first = chunk(welcome.replace(b"%b", b"%d" % user)) if welcome else b""
        return cut(head + first + body.replace(USER, b"%02d" % user), places)

    return pieces


PLACES = st.lists(st.integers(1, 400), max_size=5)
ANSWERS = st.one_of(
    st.builds(_answer, st.just(HEAD), st.just(b"Welcome, user %b\n"), BODIES, PLACES),
    st.builds(_answer, HEADS, st.one_of(WELCOMES, st.just(b"")), BODIES, PLACES),
    st.builds(_answer, st.binary(max_size=200), st.just(b""), BODIES, PLACES),
)


def _stream(bodies: list[bytes]) -> Pieces:
    """A welcome, and each of the bodies in a piece of its own."""

    def pieces(user: int) -> list[bytes]:
        return [HEAD + chunk(b"Welcome, user %d\n" % user), *(body.replace(USER, b"%02d" % user) for body in bodies)]

    return pieces


def _several(chunks: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(chunks, min_size=1, max_size=3).map(b"".join)


STREAMS = st.lists(
    st.one_of(_several(TICKS), _several(STAMPED), _several(st.one_of(TICKS, STAMPED)), BODIES), max_size=4
).map(_stream)
"""Streams of open connections: many ticks and stamped messages, and what may pass for them."""

LINES = st.builds(
    _answer, st.just(HEAD), st.just(b"Welcome, user %b\n"), st.lists(st.one_of(TICKS, STAMPED)).map(b"".join), PLACES
)
"""Answers whose chunks are one line each, as those of our server are, cut anywhere."""

_NAMES = st.sampled_from([b"ETag", b"Etag", b"etag", b"Last-Modified", b"last-modified", b"Date", b"X-Else", b"Vary"])
_VALUES = st.sampled_from(
    [
        b"0",
        b'W/"a b"',
        b"Mon, 30 Nov 2026 04:10:51 GMT",
        b"",
        b" ",
        b"x ",
        b"\tx",
        b"\xe4",
        b"a\r\n b",
        b"12:34",
        b"\x01",
    ]
)
_LENGTHS = st.sampled_from([b"%d", b"%d", b"%d", b"0%d", b"%d ", b"+%d", b"%d, %d", b"000000000000000000%d"])


@st.composite
def answers_to_polls(draw: st.DrawFn) -> bytes:
    """An answer such as servers write it, or nearly."""
    status = draw(st.sampled_from([200, 200, 200, 200, 204, 304, 408, 404, 503]))
    fields = [b"%b: %b\r\n" % pair for pair in draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=3))]
    body = draw(st.sampled_from([b"", b"x", b"hello", b"ETag: 1\r\n\r\n", b"HTTP/1.1 200 OK\r\n"]))
    if status in (204, 304):
        body = b""
    if draw(st.booleans()):
        length = draw(_LENGTHS)
        fields.append(b"Content-Length: %b\r\n" % length.replace(b"%d", b"%d" % len(body)))
    else:
        parts = [body[:2], body[2:]]
        fields.append(b"Transfer-Encoding: chunked\r\n")
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n"
        body = b"" if status in (204, 304) else body + draw(st.sampled_from([b"\r\n", b"\r\n", b"X: y\r\n\r\n"]))
    fields += draw(st.sampled_from([[], [], [], [b"Connection: keep-alive\r\n"], [b"Connection: close\r\n"]]))
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]))
    return b"HTTP/1.1 %d X\r\n%b%b%b" % (status, b"".join(draw(st.permutations(fields))), end, body)
