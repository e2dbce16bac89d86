"""wire.framing.websocket: a table from RFC 6455, each case whole, byte by byte and with bytes after it, in both
directions, and wsproto as the oracle for what the table does not have.
"""

import struct
import time
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from floodtest.wire.framing import websocket
from floodtest.wire.framing.frames import FEW, MAX_PAYLOAD, Beginning, FramingError, begun_behind, encode, find_frames
from floodtest.wire.framing.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FROM_CLIENT,
    FROM_SERVER,
    NOT_UTF_8,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Violation,
    WebSocket,
)
from floodtest.wire.matrix import PADDING

FINAL = 0x80
BOTH = pytest.mark.parametrize("framing", [FROM_SERVER, FROM_CLIENT], ids=["from server", "from client"])


def raw(first: int, payload: bytes = b"", size: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Return a frame's first byte, its length as it is to be written, and its payload."""
    if size is None:
        number = len(payload)
        if number < 126:
            size = bytes([number])
        else:
            size = struct.pack(">BH", 126, number) if number < 65536 else struct.pack(">BQ", 127, number)
    return first, size, payload


Raw = tuple[int, bytes, bytes]


def written(frames: list[Raw], framing: WebSocket) -> bytes:
    """Write frames as one of the ends does, with the same key for each of a client's."""
    key = b"\x01\x80\xff\x37"
    data = b""
    for first, size, payload in frames:
        if framing is FROM_CLIENT:
            size = bytes([size[0] | 0x80]) + size[1:] + key
            payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
        data += bytes([first]) + size + payload
    return data


WHOLE: list[tuple[list[Raw], list[bytes], bytes]] = [
    ([raw(FINAL | TEXT, b"Hello")], [b"Hello"], b""),
    ([raw(FINAL | BINARY, b"\x00\xff")], [b"\x00\xff"], b""),
    ([raw(FINAL | TEXT)], [b""], b""),
    ([raw(FINAL | TEXT, "Grüße €𝄞".encode())], ["Grüße €𝄞".encode()], b""),
    ([raw(FINAL | TEXT, b"x" * 125)], [b"x" * 125], b""),
    ([raw(FINAL | TEXT, b"x" * 126)], [b"x" * 126], b""),
    ([raw(FINAL | TEXT, b"x" * 127)], [b"x" * 127], b""),
    ([raw(FINAL | TEXT, b"1"), raw(FINAL | TEXT, b"2")], [b"1", b"2"], b""),
    ([raw(TEXT, b"Hel"), raw(FINAL | CONTINUATION, b"lo")], [b"Hello"], b""),
    ([raw(TEXT), raw(CONTINUATION), raw(FINAL | CONTINUATION)], [b""], b""),
    ([raw(BINARY, b"a" * 100), raw(CONTINUATION, b"b" * 100), raw(FINAL, b"c")], [b"a" * 100 + b"b" * 100 + b"c"], b""),
    ([raw(TEXT, b"\xe2\x82"), raw(FINAL | CONTINUATION, b"\xac")], ["€".encode()], b""),
    ([raw(TEXT, b"Hel"), raw(FINAL | PING, b"p"), raw(FINAL, b"lo")], [b"Hello"], b"\x8a\x01p"),
    ([raw(FINAL | PING)], [], b"\x8a\x00"),
    ([raw(FINAL | PING, b"\xff" * 125)], [], b"\x8a\x7d" + b"\xff" * 125),
    ([raw(FINAL | PONG, b"nobody asked")], [], b""),
]
"""Frames that are right, their messages, and what is owed for them where they are read at once."""

CLOSED: list[tuple[bytes, int | None]] = [
    (b"", None),
    *((struct.pack(">H", status), status) for status in (1000, 1001, 1002, 1003, 1007, 1010, 1011, 1014, 3000, 4999)),
    (b"\x03\xe8" + "Grüße".encode(), 1000),
    (b"\x03\xe8" + b"x" * 123, 1000),
]
"""What a close may carry."""

BROKEN: list[tuple[list[Raw], int]] = [
    *(([raw(FINAL | bit | TEXT, b"x")], PROTOCOL_ERROR) for bit in (0x40, 0x20, 0x10)),
    *(([raw(FINAL | opcode, b"x")], PROTOCOL_ERROR) for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)),
    *(([raw(opcode, b"")], PROTOCOL_ERROR) for opcode in (CLOSE, PING, PONG)),
    *(([raw(FINAL | opcode, b"x" * 126)], PROTOCOL_ERROR) for opcode in (CLOSE, PING, PONG)),
    ([raw(FINAL | TEXT, b"x" * 125, b"\x7e\x00\x7d")], PROTOCOL_ERROR),
    ([raw(FINAL | TEXT, b"x", b"\x7f" + bytes(7) + b"\x01")], PROTOCOL_ERROR),
    ([raw(FINAL | TEXT, b"x" * 200, b"\x7f" + bytes(7) + b"\xc8")], PROTOCOL_ERROR),
    ([raw(FINAL | TEXT, b"", b"\x7f\x80" + bytes(7))], PROTOCOL_ERROR),
    ([raw(FINAL | TEXT, b"", struct.pack(">BQ", 127, MAX_PAYLOAD + 1))], TOO_BIG),
    ([raw(FINAL | TEXT, b"", struct.pack(">BQ", 127, (1 << 63) - 1))], TOO_BIG),
    ([raw(FINAL | CONTINUATION, b"x")], PROTOCOL_ERROR),
    ([raw(CONTINUATION, b"x")], PROTOCOL_ERROR),
    ([raw(TEXT, b"x"), raw(FINAL | TEXT, b"y")], PROTOCOL_ERROR),
    ([raw(TEXT, b"x"), raw(BINARY, b"y")], PROTOCOL_ERROR),
    ([raw(TEXT, b"x"), raw(FINAL, b"y"), raw(FINAL, b"z")], PROTOCOL_ERROR),
    ([raw(FINAL | TEXT, b"\xff")], NOT_UTF_8),
    ([raw(FINAL | TEXT, b"\xc3")], NOT_UTF_8),
    ([raw(FINAL | TEXT, b"\xed\xa0\x80")], NOT_UTF_8),
    ([raw(FINAL | TEXT, b"\xc0\x80")], NOT_UTF_8),
    ([raw(FINAL | TEXT, b"\xf4\x90\x80\x80")], NOT_UTF_8),
    ([raw(TEXT, b"\xe2\x82"), raw(FINAL, b"x")], NOT_UTF_8),
    ([raw(FINAL | CLOSE, b"\x03")], PROTOCOL_ERROR),
    *(
        ([raw(FINAL | CLOSE, struct.pack(">H", status))], PROTOCOL_ERROR)
        for status in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ),
    ([raw(FINAL | CLOSE, b"\x03\xe8\xff")], NOT_UTF_8),
]
"""Frames that break the rules, the last of them, and the status that a close has to carry for that."""

AFTER = pytest.mark.parametrize("after", [b"", b"\x81", b"\x81\x05Hel"])


@dataclass
class Reader:
    """Reads a stream as its reader does, with the beginning of what is not whole kept between pieces."""

    framing: WebSocket
    payloads: list[bytes] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)
    status: int | None = None
    ended: bool = False
    broken: int | None = None
    begun: Beginning | None = None

    def add(self, piece: bytes) -> None:
        if self.ended or self.broken is not None:
            return
        whole = piece if self.begun is None else self.begun.add(piece)
        if whole is None:
            return
        try:
            heard = self.framing.decode(whole)
        except Violation as violation:
            self.payloads += violation.payloads
            self.replies.append(violation.reply)
            self.broken = violation.status
            return
        self.payloads += heard.payloads
        self.replies.append(heard.reply)
        self.ended, self.status = heard.ended, heard.status
        self.begun = begun_behind(self.framing, self.begun, heard)


def in_pieces(framing: WebSocket, data: bytes, size: int) -> Reader:
    reader = Reader(framing)
    for at in range(0, len(data), size):
        reader.add(data[at : at + size])
    return reader


def test_the_key_of_the_rfc_is_answered_as_there() -> None:
    assert websocket.accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@BOTH
@AFTER
@pytest.mark.parametrize(("frames", "payloads", "reply"), WHOLE)
def test_messages(framing: WebSocket, frames: list[Raw], payloads: list[bytes], reply: bytes, after: bytes) -> None:
    if framing is FROM_CLIENT and len(after) > 1:
        after = after[:1] + bytes([after[1] | 0x80]) + after[2:]
    heard = framing.decode(written(frames, framing) + after)
    assert (heard.payloads, heard.rest, heard.ended, heard.reply) == (payloads, after, False, reply)


@BOTH
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize(("frames", "payloads", "reply"), WHOLE)
def test_messages_in_pieces(
    framing: WebSocket, frames: list[Raw], payloads: list[bytes], reply: bytes, size: int
) -> None:
    reader = in_pieces(framing, written(frames, framing), size)
    assert (reader.payloads, b"".join(reader.replies), reader.begun) == (payloads, reply, None)


@BOTH
@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(("payload", "status"), CLOSED)
def test_a_close_ends_the_stream_and_is_answered_with_its_status(
    framing: WebSocket, payload: bytes, status: int | None, size: int
) -> None:
    data = written([raw(FINAL | TEXT, b"x"), raw(FINAL | CLOSE, payload)], framing)
    reader = in_pieces(framing, data + b"\xff", size)
    assert (reader.payloads, reader.ended, reader.status) == ([b"x"], True, status)
    assert b"".join(reader.replies) == websocket.frame(CLOSE, payload[:2])


@BOTH
@pytest.mark.parametrize("after", [b"", b"\xff\xff"])
@pytest.mark.parametrize("size", [1, 2, 100_000])
@pytest.mark.parametrize(("frames", "status"), BROKEN)
def test_what_is_forbidden_has_its_status(
    framing: WebSocket, frames: list[Raw], status: int, size: int, after: bytes
) -> None:
    reader = in_pieces(framing, written([raw(FINAL | TEXT, b"before"), *frames], framing) + after, size)
    assert reader.broken == status
    assert reader.payloads[:1] == [b"before"]
    assert reader.replies[-1] == websocket.close(status)


@BOTH
def test_masks_are_for_clients_only(framing: WebSocket) -> None:
    other = FROM_SERVER if framing is FROM_CLIENT else FROM_CLIENT
    with pytest.raises(Violation, match="mask") as caught:
        framing.decode(written([raw(FINAL | TEXT, b"x")], other)[:2])
    assert caught.value.status == PROTOCOL_ERROR


@BOTH
def test_a_message_may_be_as_large_as_any_and_no_larger(framing: WebSocket) -> None:
    whole = b"x" * MAX_PAYLOAD
    assert in_pieces(framing, written([raw(FINAL | TEXT, whole)], framing), 65536).payloads == [whole]
    half = b"x" * (MAX_PAYLOAD // 2)
    halves = [raw(TEXT, half), raw(CONTINUATION, half)]
    assert in_pieces(framing, written([*halves, raw(FINAL)], framing), 65536).payloads == [whole]
    assert in_pieces(framing, written([*halves, raw(FINAL, b"x")], framing), 65536).broken == TOO_BIG
    assert in_pieces(framing, written([*halves, raw(CONTINUATION, b"x")], framing), 65536).broken == TOO_BIG


@BOTH
def test_a_flood_of_pings_is_answered_once(framing: WebSocket) -> None:
    pings = [raw(FINAL | PING, b"%d" % number) for number in range(100)]
    heard = framing.decode(written([*pings, raw(FINAL | PONG)], framing))
    assert (heard.reply, heard.pings, heard.pongs) == (websocket.frame(PONG, b"99"), 100, 1)


@BOTH
def test_a_ping_before_a_close_is_answered_before_it(framing: WebSocket) -> None:
    heard = framing.decode(written([raw(FINAL | PING, b"x"), raw(FINAL | CLOSE)], framing))
    assert heard.reply == websocket.frame(PONG, b"x") + websocket.close(None)


@BOTH
def test_fragments_in_tiny_pieces_are_looked_at_once(framing: WebSocket) -> None:
    frames = [raw(TEXT), *[raw(CONTINUATION, b"x")] * 20_000]
    data = written(frames, framing)
    begun = framing.beginning(framing.decode(data[:10]).rest)
    assert not any(begun.add(data[at : at + 5]) for at in range(10, len(data), 5))
    whole = begun.add(written([raw(FINAL, b"!")], framing))
    assert whole is not None
    assert framing.decode(whole).payloads == [b"x" * 20_000 + b"!"]


@BOTH
@pytest.mark.parametrize(
    "frames",
    [
        [raw(FINAL | TEXT)],
        [raw(FINAL | TEXT, b"ab")],
        [raw(FINAL | PING, b"ab")],
        [raw(TEXT, b"ab"), raw(FINAL, b"cd")],
    ],
)
def test_a_lot_at_once_takes_time_in_proportion(framing: WebSocket, frames: list[Raw]) -> None:
    data = written(frames, framing)
    data *= (1 << 20) // len(data)
    began = time.process_time()
    framing.decode(data)
    assert time.process_time() - began < 20


@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING, PONG, CLOSE]), st.binary(max_size=125))))
def test_what_a_client_writes_is_the_frames_with_masks(frames: list[tuple[int, bytes]]) -> None:
    plain = b"".join(websocket.frame(opcode, payload) for opcode, payload in frames)
    data = websocket.masked(plain)
    found = b""
    while data:
        head = websocket.head_at(data, 0, is_masked=True)
        assert head is not None
        end = head.start + head.size
        found += websocket.frame(head.opcode, websocket.with_mask(data[head.start : end], head.key))
        data = data[end:]
    assert found == plain


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, MAX_PAYLOAD])
def test_what_a_server_writes_is_read(size: int) -> None:
    data = encode(FROM_SERVER, b"x" * size)
    assert FROM_SERVER.decode(data).payloads == [b"x" * size]
    assert data == websocket.frame(TEXT, b"x" * size)


# Against wsproto.

PAYLOADS = [b"", b"a", b"\xc3", b"\xa9", b"\xe2\x82", b"\xac", b"\xff", b"x" * 125, b"y" * 126, b"\x03\xe8"]
FRAME = st.builds(
    lambda first, payload, size: raw(first, payload, size),
    st.one_of(
        st.sampled_from([FINAL | TEXT, FINAL | BINARY, TEXT, BINARY, 0, FINAL, FINAL | PING, FINAL | PONG]),
        st.sampled_from([FINAL | CLOSE, PING, FINAL | 0x40 | TEXT, FINAL | 3]),
    ),
    st.sampled_from(PAYLOADS),
    st.just(None),
)
FRAMES = st.lists(FRAME, max_size=8)


def oracle(data: bytes, framing: WebSocket) -> tuple[list[bytes], int | None]:
    """Return the messages that wsproto reads, and the status for which it breaks off."""
    protocol = FrameProtocol(client=framing is FROM_SERVER, extensions=[])
    protocol.receive_bytes(data)
    messages: list[bytes] = []
    message = b""
    try:
        for frame in protocol.received_frames():
            if frame.opcode is Opcode.CLOSE:
                break
            if not frame.opcode.iscontrol():
                payload = frame.payload
                assert not isinstance(payload, tuple)  # which only a close has
                message += payload.encode() if isinstance(payload, str) else bytes(payload)
                if frame.message_finished:
                    messages.append(message)
                    message = b""
    except ParseFailed as failed:
        return messages, int(failed.code)
    return messages, None


@BOTH
@given(frames=FRAMES)
@example(frames=[raw(TEXT, b"\xc3"), raw(FINAL | PING), raw(FINAL, b"\xa9")])
def test_wsproto_reads_the_same(framing: WebSocket, frames: list[Raw]) -> None:
    data = written(frames, framing)
    messages, status = oracle(data, framing)
    reader = Reader(framing)
    reader.add(data)
    assert reader.payloads == messages
    if status == NOT_UTF_8 and reader.broken != NOT_UTF_8:
        return  # wsproto says so at the first fragment that is not, this framing at the end of the message
    assert reader.broken == status


@BOTH
@given(frames=FRAMES, cuts=st.lists(st.integers(0, 400)))
def test_it_is_the_same_however_it_is_split(framing: WebSocket, frames: list[Raw], cuts: list[int]) -> None:
    data = written(frames, framing)
    whole, split = Reader(framing), Reader(framing)
    whole.add(data)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for first, end in pairwise(edges):
        split.add(data[first:end])
    assert split.payloads == whole.payloads
    assert (split.ended, split.status, split.broken) == (whole.ended, whole.status, whole.broken)


# As a matrix.

MATRIX = st.builds(
    lambda first, payload: raw(first, payload),
    st.sampled_from([FINAL | TEXT, FINAL | BINARY, FINAL | PING, TEXT, FINAL | 0x40 | TEXT]),
    st.sampled_from([*PAYLOADS, "é".encode(), b"z" * 300]),
)


@given(data=st.lists(st.lists(MATRIX, max_size=4), max_size=12))
def test_as_a_matrix_nothing_is_found_that_is_not_there(data: list[list[Raw]]) -> None:
    reads = [written(frames, FROM_SERVER) for frames in data * (FEW + 1)]
    joined = b"".join([*reads, PADDING])
    frames = find_frames(FROM_SERVER, joined, np.array([len(one) for one in reads], np.int64))
    for index in set(frames.index.tolist()):
        rows = frames.index == index
        spans = zip(frames.start[rows].tolist(), frames.end[rows].tolist(), strict=True)
        heard = FROM_SERVER.decode(reads[index])
        assert [joined[start:end] for start, end in spans] == heard.payloads
        assert (heard.rest, heard.reply, heard.ended) == (b"", b"", False)


@pytest.mark.parametrize("text", [b"", b"x", b"x" * 125, b"x" * 126, b"x" * 65535, "é".encode() * 100])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_whole_messages_are_found(opcode: int, text: bytes) -> None:
    reads = [websocket.frame(opcode, text) * 2] * (FEW + 1)
    frames = find_frames(FROM_SERVER, b"".join([*reads, PADDING]), np.array([len(one) for one in reads], np.int64))
    assert len(frames.index) == 2 * (FEW + 1)


def test_what_clients_send_is_left_to_decoding() -> None:
    reads = [websocket.masked(websocket.frame(TEXT, b"x"))] * (FEW + 1)
    frames = find_frames(FROM_CLIENT, b"".join([*reads, PADDING]), np.array([len(one) for one in reads], np.int64))
    assert not len(frames.index)
    assert issubclass(Violation, FramingError)


@BOTH
def test_pings_between_fragments_do_not_have_the_message_decoded_again(framing: WebSocket) -> None:
    def sent(frames: bytes) -> bytes:
        return websocket.masked(frames) if framing.is_masked else frames

    def fragment(opcode: int, payload: bytes, final: int) -> bytes:
        head = bytearray(websocket.frame(opcode, payload))
        head[0] = head[0] & 0x7F | final
        return sent(bytes(head))

    large = fragment(BINARY, b"x" * 500_000, 0)
    begun = framing.beginning(framing.decode(large).rest)
    given = 0
    for number in range(1000):
        between = begun.add(sent(websocket.frame(PING, b"%d" % number)))
        assert between is not None
        assert not begun.is_over
        given += len(between)
        assert framing.decode(between).reply == websocket.frame(PONG, b"%d" % number)
        assert begun.add(fragment(CONTINUATION, b"y", 0)) is None
    assert given < 20_000
    whole = begun.add(fragment(CONTINUATION, b"z", 0x80))
    assert whole is not None
    assert begun.is_over
    assert framing.decode(whole).payloads == [b"x" * 500_000 + b"y" * 1000 + b"z"]
