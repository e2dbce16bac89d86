"""Messages that are larger than what is kept: counted, and passed over within a bound, however they are split."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floodtest.wire.framing import chunked, lines, sse
from floodtest.wire.framing.frames import MAX_PAYLOAD, Framing, encode
from floodtest.wire.framing.in_chunks import InChunks
from tests.rigs.framing import read_in_pieces
from tests.rigs.peer_input import cut

IN_CHUNKS = [InChunks(sse), InChunks(lines)]
FRAMINGS: list[Framing] = [chunked, lines, sse, *IN_CHUNKS]

FEW = 8
"""Bytes that are kept where nearly every message is to have more."""


@contextmanager
def few_kept() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (chunked, lines, sse):
            patch.setattr(module, "MAX_PAYLOAD", FEW)
        patch.setattr(lines, "_MOST", FEW + 1)
        yield


def read(framing: Framing, pieces: Iterable[bytes]) -> tuple[list[bytes], bool, int | None, bool]:
    """Read a stream as it comes: its messages, whether it is over, what is wrong, and whether it stopped in one."""
    return read_in_pieces(framing, pieces)[:4]


BYTES = st.sampled_from(
    [b"data: ", b":", b"x" * 3, b"0123456789", b"\n", b"\r", b"\r\n", b"\n\n", b"id: 1\n", b"\xef\xbb\xbf"]
)
TEXTS = st.lists(BYTES, max_size=14).map(b"".join)
CUTS = st.lists(st.integers(0, 120), max_size=12)
LAST = st.sampled_from([b"", b"", b"0\r\n\r\n", b"zz\r\n", b"14\r\nxx"])


@pytest.mark.parametrize("framing", [lines, sse])
@given(data=TEXTS, cuts=CUTS)
@example(data=b"data: 7\r\n\ndata: y\n\n", cuts=[9, 10])
@example(data=b"data: ab\ndata: c\n\n", cuts=[10, 17])
@example(data=b"1234567\r\r\n", cuts=[8, 9])
def test_texts_are_read_alike_whole_and_in_pieces(framing: Framing, data: bytes, cuts: list[int]) -> None:
    with few_kept():
        whole = read(framing, [data])
        assert read(framing, cut(data, cuts)) == whole
        assert read(framing, cut(data, range(len(data)))) == whole
        assert all(len(payload) <= FEW for payload in whole[0])


@given(payloads=st.lists(st.binary(min_size=1, max_size=20), max_size=5), last=LAST, cuts=CUTS)
def test_chunks_are_read_alike_whole_and_in_pieces(payloads: list[bytes], last: bytes, cuts: list[int]) -> None:
    data = b"".join(encode(chunked, payload) for payload in payloads) + last
    with few_kept():
        whole = read(chunked, [data])
        assert whole[0] == [payload[:FEW] for payload in payloads]
        assert read(chunked, cut(data, cuts)) == whole
        assert read(chunked, cut(data, range(len(data)))) == whole


@pytest.mark.parametrize("framing", IN_CHUNKS)
@given(data=TEXTS, borders=CUTS, last=st.sampled_from([b"", b"0\r\n\r\n"]), cuts=CUTS)
def test_texts_in_chunks_are_read_as_without_them(
    framing: InChunks, data: bytes, borders: list[int], last: bytes, cuts: list[int]
) -> None:
    body = b"".join(encode(chunked, part) for part in cut(data, borders) if part) + last
    with few_kept():
        payloads, *_, is_inside = read(framing.inner, [data])
        expected = payloads, bool(last), None, is_inside and not last
        assert read(framing, [body]) == expected
        assert read(framing, cut(body, cuts)) == expected
        assert read(framing, cut(body, range(len(body)))) == expected


@pytest.mark.parametrize("framing", FRAMINGS)
def test_of_a_message_of_any_size_no_more_is_kept_than_a_bound(framing: Framing) -> None:
    piece, times = b"x" * 65_536, 5 * MAX_PAYLOAD // 65_536
    size = len(piece) * times
    if framing is chunked:
        pieces = [b"%x\r\n" % size, *[piece] * times, b"\r\n"]
    else:
        inner = framing.inner if isinstance(framing, InChunks) else framing
        text = [next(iter(inner.heads([size]))), *[piece] * times, b"\n\n"]
        pieces = [encode(chunked, part) for part in text if part] if isinstance(framing, InChunks) else text
    begun = framing.beginning(framing.decode(pieces[0]).rest)
    payloads = []
    for piece in pieces[1:]:
        whole = begun.add(piece)
        if whole is not None:
            decoded = framing.decode(whole)
            payloads += decoded.payloads
            begun = framing.beginning(decoded.rest)
        assert len(begun.data) <= MAX_PAYLOAD + 100
    assert [len(payload) // 100 for payload in payloads] == [MAX_PAYLOAD // 100]
