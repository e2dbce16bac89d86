"""wire.framing.sse and in_chunks: a table from the WHATWG grammar, each case whole, byte by byte and with bytes after
it.
"""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floodtest.wire.framing import chunked, lines, sse
from floodtest.wire.framing.frames import FEW, MAX_PAYLOAD, Framing, FramingError, encode, find_frames
from floodtest.wire.framing.in_chunks import InChunks
from floodtest.wire.matrix import PADDING
from tests.rigs.framing import read_in_pieces

CASES: list[tuple[bytes, list[bytes]]] = [
    (b"data: hello\n\n", [b"hello"]),
    (b"data:hello\n\n", [b"hello"]),
    (b"data:  two spaces\n\n", [b" two spaces"]),
    (b"data: a: b\n\n", [b"a: b"]),
    (b"data\n\n", [b""]),
    (b"data:\ndata\n\n", [b"\n"]),
    (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
    (b"data: one\r\ndata: two\r\n\r\n", [b"one\ntwo"]),
    (b"data: one\rdata: two\r\r", [b"one\ntwo"]),
    (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
    (b": a comment\n\n", []),
    (b":\n\ndata: x\n\n", [b"x"]),
    (b"id: 7\nevent: tick\nretry: 10\ndata: x\n\n", [b"x"]),
    (b"id: 7\n\n", []),
    (b"event: tick\n\n", []),
    (b"dataset: x\n\n", []),
    (b"Data: x\n\n", []),
    (b" data: x\n\n", []),
    (b"\n\n\ndata: x\n\n\n", [b"x"]),
    (b"\xef\xbb\xbfdata: x\n\n", [b"x"]),
    (b"data: \xff\x00\n\n", [b"\xff\x00"]),
    (b"data: 1\n\ndata: 2\n\n", [b"1", b"2"]),
]
"""Streams that end with an event, and the data of their events."""

CHUNKED_EVENTS = InChunks(sse)
FRAMINGS: list[Framing] = [sse, CHUNKED_EVENTS]


def read(framing: Framing, pieces: list[bytes]) -> list[bytes]:
    """Return the data of all events of a stream that comes in these pieces."""
    found = read_in_pieces(framing, pieces)
    assert found.broken is None
    return found.payloads


@pytest.mark.parametrize(("data", "payloads"), CASES)
@pytest.mark.parametrize("after", [b"", b"data: not whole\n", b"d", b": comment"])
def test_events(data: bytes, payloads: list[bytes], after: bytes) -> None:
    decoded = sse.decode(data + after)
    assert (decoded.payloads, decoded.ended) == (payloads, False)
    assert decoded.rest.lstrip(b"\n") == after


@pytest.mark.parametrize(("data", "payloads"), CASES)
def test_events_byte_by_byte(data: bytes, payloads: list[bytes]) -> None:
    assert read(sse, [data[at : at + 1] for at in range(len(data))]) == payloads


@pytest.mark.parametrize(("data", "payloads"), CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_events_in_chunks_that_have_nothing_to_do_with_them(
    data: bytes, payloads: list[bytes], size: int, piece: int
) -> None:
    body = b"".join(encode(chunked, data[at : at + size]) for at in range(0, len(data), size))
    assert read(CHUNKED_EVENTS, [body[at : at + piece] for at in range(0, len(body), piece)]) == payloads
    decoded = CHUNKED_EVENTS.decode(body + b"0\r\n\r\n")
    assert (decoded.payloads, decoded.ended) == (payloads, True)


@given(
    st.lists(st.sampled_from([b"data: ab", b"data", b": x", b"id: 1", b"\n", b"\r", b"\r\n", b"\n\n"])).map(b"".join),
    st.lists(st.integers(0, 60)),
    st.lists(st.integers(0, 200)),
)
@example(b"data: ab\r\n\r\ndata\r\r\n", [9, 11], [12, 14])
def test_events_are_those_of_the_whole_however_they_are_split(data: bytes, chunks: list[int], cuts: list[int]) -> None:
    expected = sse.decode(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).payloads
    assert sse.decode(data).payloads == expected
    edges = [0, *sorted(min(cut, len(data)) for cut in chunks), len(data)]
    parts = [data[first:end] for first, end in pairwise(edges) if first < end]
    body = b"".join(encode(chunked, part) for part in parts)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[first:end] for first, end in pairwise(places)]
    assert read(CHUNKED_EVENTS, pieces) == expected
    assert read(sse, parts) == expected


def test_a_chunk_may_be_larger_than_any_message() -> None:
    event = b"data: " + b"x" * 1000 + b"\n\n"
    body = encode(chunked, event * 3000)
    assert len(body) > 2 * MAX_PAYLOAD
    assert len(read(CHUNKED_EVENTS, [body[at : at + 65536] for at in range(0, len(body), 65536)])) == 3000


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_event_of_more_than_is_kept_is_one_event_all_the_same(framing: Framing) -> None:
    data = b"data: " + b"x" * MAX_PAYLOAD + b"\ndata: y\n\ndata: next\n\n"
    body = data if framing is sse else encode(chunked, data)
    found = read(framing, [body[at : at + 65536] for at in range(0, len(body), 65536)])
    assert found == [b"x" * (MAX_PAYLOAD - len(b"data: ")), b"next"]


@pytest.mark.parametrize("broken", [b"nonsense\r\n", b"5\r\nhello!!", b"fffffffff\r\n"])
def test_events_before_broken_chunks_count(broken: bytes) -> None:
    body = encode(chunked, b"data: x\n\ndata: y") + broken
    with pytest.raises(FramingError) as caught:
        CHUNKED_EVENTS.decode(body)
    assert caught.value.payloads == [b"x"]


def test_a_message_that_is_begun_in_tiny_pieces_is_looked_at_twice() -> None:
    data = b"data: " + b"x" * 50_000 + b"\n\n"
    for framing, body in ((sse, data), (CHUNKED_EVENTS, encode(chunked, data))):
        begun = framing.beginning(framing.decode(body[:10]).rest)
        found = [whole for at in range(10, len(body)) if (whole := begun.add(body[at : at + 1])) is not None]
        assert len(found) == 1
        assert framing.decode(found[0]).payloads == [b"x" * 50_000]


@pytest.mark.parametrize("framing", [sse, lines, CHUNKED_EVENTS])
@pytest.mark.parametrize("piece", [b"\n", b":\n\n", b"data: x\n\n", b"\r\n", b"a\n"])
def test_a_lot_at_once_takes_time_in_proportion(framing: Framing, piece: bytes) -> None:
    """A megabyte at once, which took minutes where the rest was copied for each event."""
    data = piece * ((1 << 20) // len(piece))
    body = data if framing is not CHUNKED_EVENTS else encode(chunked, data)
    began = time.process_time()
    framing.decode(body)
    assert time.process_time() - began < 10


@pytest.mark.parametrize("framing", [sse, lines, CHUNKED_EVENTS, chunked])
def test_many_frames_in_few_reads_are_left_to_decoding(framing: Framing) -> None:
    event = b"a\n" if framing is lines else b"1\r\na\r\n" if framing is chunked else b"data: x\n\n"
    read = (encode(chunked, event) if framing is CHUNKED_EVENTS else event) * 5000
    joined = b"".join([*[read] * 10, PADDING])
    assert len(find_frames(framing, joined, np.array([len(read)] * 10, np.int64)).index) == 0


@pytest.mark.parametrize("framing", FRAMINGS)
def test_lines_of_comments_are_kept_no_longer_than_they_last(framing: Framing) -> None:
    data = b":\n" * 1000 + b": be"
    body = data if framing is sse else encode(chunked, data)
    assert framing.decode(body).rest in (b": be", encode(chunked, b": be"))
    assert read(framing, [body]) == []


def test_the_middle_of_an_event_is_not_looked_at_again_for_each_line() -> None:
    begun = sse.beginning(b"data: " + b"x" * 500_000 + b"\nab")
    assert begun.add(b"c") is None
    assert begun.add(b"\n") is None
    assert begun.add(b"\n") is not None


EVENT = st.builds(
    lambda number, text, behind, end: (b"id: %d\n" % number if number else b"") + b"data: %b%b%b" % (text, behind, end),
    st.integers(0, 20),
    st.lists(st.sampled_from([b"a", b"bc", b":", b"\r", b" "]), max_size=4).map(b"".join),
    st.sampled_from(
        [b"", b"", b"\nid: a-7", b"\nid: a\r", b"\nid:", b"\nid: ", b"\nevent: lost\nid: x", b"\nid: 1\nid: 2"]
    ),
    st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n", b"", b"\ndata: more\n\n"]),
)


@pytest.mark.parametrize("framing", [*FRAMINGS, InChunks(lines)])
@given(data=st.lists(st.lists(EVENT, max_size=4), max_size=12))
def test_as_a_matrix_nothing_is_found_that_is_not_there(framing: Framing, data: list[list[bytes]]) -> None:
    reads = [
        b"".join(event if framing is sse or not event else encode(chunked, event) for event in events)
        for events in data * (FEW + 1)
    ]
    joined = b"".join([*reads, PADDING])
    frames = find_frames(framing, joined, np.array([len(one) for one in reads], np.int64))
    for index in set(frames.index.tolist()):
        rows = frames.index == index
        found = [
            joined[start:end] for start, end in zip(frames.start[rows].tolist(), frames.end[rows].tolist(), strict=True)
        ]
        decoded = framing.decode(reads[index])
        assert not decoded.rest
        assert [one.removesuffix(b"\r") for one in found] == [one.removesuffix(b"\r") for one in decoded.payloads]


EVENTS_OF_OURS = [
    b"%bdata: Recvd msg #1: x\n%b\n" % ids for ids in ((b"", b""), (b"id: 17\n", b""), (b"", b"id: a-17\n"))
]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("event", EVENTS_OF_OURS)
def test_what_our_server_writes_is_found(framing: Framing, event: bytes) -> None:
    reads = [event if framing is sse else encode(chunked, event)] * (FEW + 1)
    frames = find_frames(framing, b"".join([*reads, PADDING]), np.array([len(one) for one in reads], np.int64))
    assert len(frames.index) == FEW + 1
