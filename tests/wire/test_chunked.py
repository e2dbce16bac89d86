"""wire.framing.chunked: every case whole, byte by byte, with trailing bytes, and against h11's reading of the same
body.
"""

from functools import partial
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floodtest.wire.framing import chunked
from floodtest.wire.framing.chunked import BegunChunk, decode
from floodtest.wire.framing.frames import MAX_PAYLOAD, Decoded, FramingError, encode

ANSWER_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

WHOLE: list[tuple[bytes, list[bytes]]] = [
    (b"5\r\nhello\r\n", [b"hello"]),
    (b"5\r\nhello\r\n1\r\n!\r\n", [b"hello", b"!"]),
    (b"A\r\n0123456789\r\n", [b"0123456789"]),
    (b"a\r\n0123456789\r\n", [b"0123456789"]),
    (b"00000005\r\nhello\r\n", [b"hello"]),
    (b"5;name=value\r\nhello\r\n", [b"hello"]),
    (b'5 ;a="b;c"\r\nhello\r\n', [b"hello"]),
    (b"5 \t\r\nhello\r\n", [b"hello"]),
    (b"2\r\n\r\n\r\n", [b"\r\n"]),
    (b"5\r\n5\r\n0\r\r\n", [b"5\r\n0\r"]),
    (b"3\r\n\x00\xff\x80\r\n", [b"\x00\xff\x80"]),
]
MALFORMED = [
    b"x\r\n",
    b" 5\r\nhello\r\n",
    b"\r\nhello\r\n",
    b"-5\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"5\nhello\r\n",
    b"5\r5\r\n",
    b"5 5\r\nhello\r\n",
    b"5;a\nb\r\nhello\r\n",
    b"123456789\r\n",
    b"5\r\nhello!\r\n",
    b"5\r\nhello\n",
    b"5\r\nhello\rX",
    b"5\r\nhell\r\n\r\n",
    b"\x00",
    b"HTTP/1.1 200 OK\r\n",
]


CHUNK_TEXT = st.binary(min_size=1, max_size=50).map(partial(encode, chunked))


def feed(pieces: list[bytes]) -> Decoded:
    """Decode as the reader of a stream does: the rest of what was read before, and the next piece."""
    payloads: list[bytes] = []
    rest = b""
    for index, piece in enumerate(pieces):
        decoded = decode(rest + piece)
        payloads += decoded.payloads
        rest = decoded.rest
        if decoded.ended:
            return Decoded(payloads, rest + b"".join(pieces[index + 1 :]), ended=True)
    return Decoded(payloads, rest, ended=False)


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def outcome(pieces: list[bytes]) -> Decoded | None:
    """Decode pieces; None for malformed ones."""
    try:
        return feed(pieces)
    except FramingError:
        return None


@pytest.mark.parametrize(("data", "payloads"), WHOLE)
def test_whole(data: bytes, payloads: list[bytes]) -> None:
    assert decode(data) == Decoded(payloads, b"", ended=False)


@pytest.mark.parametrize(("data", "payloads"), WHOLE)
def test_byte_by_byte(data: bytes, payloads: list[bytes]) -> None:
    assert feed(bytewise(data)) == Decoded(payloads, b"", ended=False)


@pytest.mark.parametrize(("data", "payloads"), WHOLE)
@pytest.mark.parametrize("trailing", [b"5", b"5;x", b"5\r", b"5\r\n", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r"])
def test_with_the_beginning_of_the_next_chunk(data: bytes, payloads: list[bytes], trailing: bytes) -> None:
    assert decode(data + trailing) == Decoded(payloads, trailing, ended=False)
    assert feed(bytewise(data + trailing)) == Decoded(payloads, trailing, ended=False)


@pytest.mark.parametrize(("data", "payloads"), WHOLE)
def test_a_prefix_gives_a_prefix_of_the_chunks_and_keeps_the_rest(data: bytes, payloads: list[bytes]) -> None:
    for length in range(len(data)):
        decoded = decode(data[:length])
        assert decoded.payloads == payloads[: len(decoded.payloads)]
        assert len(decoded.payloads) < len(payloads)
        assert data[:length].endswith(decoded.rest)
        assert not decoded.ended


def test_nothing_is_no_error() -> None:
    assert decode(b"") == Decoded([], b"", ended=False)


@pytest.mark.parametrize("last", [b"0\r\n", b"00000\r\n", b"0;bye\r\n"])
@pytest.mark.parametrize("after", [b"", b"\r\n", b"Trailer: x\r\n\r\n", b"\r\nnot a chunk"])
def test_the_last_chunk_ends_the_body_and_leaves_what_follows(last: bytes, after: bytes) -> None:
    data = encode(chunked, b"hello") + last + after
    assert decode(data) == Decoded([b"hello"], after, ended=True)
    assert feed(bytewise(data)) == Decoded([b"hello"], after, ended=True)


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_whole(data: bytes) -> None:
    with pytest.raises(FramingError):
        decode(data)


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_byte_by_byte(data: bytes) -> None:
    with pytest.raises(FramingError):
        feed(bytewise(data))


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_after_a_good_chunk(data: bytes) -> None:
    with pytest.raises(FramingError) as caught:
        decode(encode(chunked, b"good") + data)
    assert caught.value.payloads == [b"good"]


def test_the_largest_chunk_is_accepted() -> None:
    payload = b"x" * MAX_PAYLOAD
    assert decode(encode(chunked, payload)) == Decoded([payload], b"", ended=False)


def test_of_a_larger_chunk_so_much_is_kept() -> None:
    payload = b"x" * MAX_PAYLOAD
    assert decode(encode(chunked, payload + b"yy") + b"1") == Decoded([payload], b"1", ended=False)


def test_of_the_largest_chunk_there_is_nothing_is_kept_before_its_bytes_arrive() -> None:
    line = b"%x\r\n" % 0xFFFFFFFF
    assert decode(encode(chunked, b"good") + line) == Decoded([b"good"], line, ended=False)
    assert len(chunked.beginning(line).data) == len(line)
    with pytest.raises(FramingError):
        decode(b"1" + line)


def test_an_endless_size_line_is_refused_within_a_bound() -> None:
    with pytest.raises(FramingError):
        feed(bytewise(b"5;" + b"x" * 300))


@pytest.mark.parametrize("length", [10, 250, 251, 252, 253, 254, 300, 5000])
def test_a_long_size_line_is_judged_alike_whole_and_in_pieces(length: int) -> None:
    data = b"5;" + b"x" * length + b"\r\nhello\r\n"
    assert outcome([data]) == outcome(bytewise(data))


@given(chunk=CHUNK_TEXT, first=st.integers(0, 60), cuts=st.lists(st.integers(1, 60)))
def test_a_beginning_is_handed_back_as_soon_as_there_is_more_to_find(chunk: bytes, first: int, cuts: list[int]) -> None:
    """What is collected is decoded again exactly when that finds something new: a chunk, an error, or a longer line."""
    first = min(first, len(chunk))
    if decode(chunk[:first]).payloads or first == len(chunk):
        return
    beginning, known = BegunChunk(chunk[:first]), chunk[:first]
    for start, end in pairwise([first, *sorted(first + cut for cut in cuts), len(chunk) + 60]):
        piece = (chunk + b"x" * 60)[start:end]
        known += piece
        handed = beginning.add(piece)
        if handed is not None:
            assert handed == known
            return
        assert decode(known).payloads == []
    raise AssertionError("a whole chunk was kept back")


def test_a_large_chunk_in_tiny_pieces_is_handed_back_once() -> None:
    data = encode(chunked, b"x" * 50_000)
    beginning = BegunChunk(data[:10])
    handed = [beginning.add(data[at : at + 1]) for at in range(10, len(data))]
    assert [whole for whole in handed if whole is not None] == [data[:-1], data]


def test_an_empty_chunk_is_not_written() -> None:
    with pytest.raises(FramingError):
        encode(chunked, b"")


@given(payloads=st.lists(st.binary(min_size=1, max_size=300), max_size=8), cuts=st.lists(st.integers(0, 3000)))
@example(payloads=[b"\r\n", b"0\r\n\r\n"], cuts=[1, 2, 3, 4, 5, 6, 7])
def test_any_payloads_come_back_however_they_are_split(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(encode(chunked, payload) for payload in payloads)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[first:end] for first, end in pairwise(edges)]
    assert feed(pieces) == Decoded(payloads, b"", ended=False)
    assert feed([*pieces, b"0\r\n", b"\r\n"]) == Decoded(payloads, b"\r\n", ended=True)


def read_by_h11(body: bytes) -> tuple[bytes, bool]:
    """Return what h11 makes of a chunked body: its payload, and whether it ended. RemoteProtocolError: nothing."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(ANSWER_HEAD + body)
    payload = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            payload += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return payload, True
        elif event is h11.NEED_DATA:
            return payload, False


EXTENSION = st.sampled_from([b"", b";a", b';a="b"', b"  ", b"\t", b";a "])
CHUNK = st.builds(
    lambda payload, extension, zeros: b"0" * zeros + b"%X%b\r\n%b\r\n" % (len(payload), extension, payload),
    st.binary(min_size=1, max_size=40),
    EXTENSION,
    st.integers(0, 3),
)


@given(chunks=st.lists(CHUNK, max_size=6), ended=st.booleans())
def test_h11_reads_the_same(chunks: list[bytes], ended: bool) -> None:
    body = b"".join(chunks) + (b"0\r\n\r\n" if ended else b"")
    decoded = decode(body)
    assert (b"".join(decoded.payloads), decoded.ended) == read_by_h11(body)


SOUP = st.lists(st.sampled_from([b"1", b"a", b"0", b"\r\n", b"\r", b"\n", b";", b" ", b"x", b"5\r\nhello\r\n"]))


@given(SOUP.map(b"".join))
def test_whatever_is_accepted_h11_accepts_and_reads_the_same(body: bytes) -> None:
    try:
        decoded = decode(body)
    except FramingError:
        return
    consumed = body[: len(body) - len(decoded.rest)]
    payload, _ = read_by_h11(consumed)
    assert payload == b"".join(decoded.payloads)


@given(SOUP.map(b"".join))
def test_garbage_is_judged_alike_whole_and_byte_by_byte(body: bytes) -> None:
    assert outcome([body]) == outcome(bytewise(body))


def test_a_size_may_have_zeros_before_it() -> None:
    assert decode(b"0000000005\r\nhello\r\n00000000000000000000\r\n\r\n") == Decoded([b"hello"], b"\r\n", ended=True)
