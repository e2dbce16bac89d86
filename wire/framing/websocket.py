"""WebSocket (RFC 6455), from the handshake's key to the last frame: a message is one text or binary message, whole.

See `wire.framing.frames` for the contract. What a client sends is masked, what a server sends is not, so there is a
framing for each direction, and bytes masked otherwise than it says are a violation. Reading is strict: what
section 5.2 and those behind it forbid is a `Violation`, with the status that a close has to carry for it.

What the peer is owed for its control frames, a pong or a close, is in `Heard.reply` and in `Violation.reply`, as frames
without a mask; a client writes `masked` ones. Of several pings only the last is answered (section 5.5.3), so that a
flood of them costs its sender more than its reader. The beginning of a message in fragments is kept as one fragment
that holds all of it, so that the control frames between them are answered once.

Cost: 1 µs a frame one by one. No state is kept between two messages.
"""

import base64
import hashlib
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from floodtest.wire.causes import Cause
from floodtest.wire.framing.frames import MAX_PAYLOAD, Decoded, FramingError, Heads
from floodtest.wire.matrix import FAR, Ints, windows

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
"""Opcodes; those from CLOSE on are control frames."""

NORMAL, GOING_AWAY, PROTOCOL_ERROR, NOT_UTF_8, TOO_BIG = 1000, 1001, 1002, 1007, 1009
"""Statuses of a close."""

MAX_CONTROL = 125
"""Bytes of the payload of a control frame."""

_FINAL, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_NO_KEY = bytes(4)
_ALLOWED = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""Statuses that a close may carry (section 7.4, and the registry that it founds)."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_of(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


class Violation(FramingError):
    """What the peer sent breaks RFC 6455; `status` is that of the close it is owed, and `reply` that close."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reply = close(status)
        if status == TOO_BIG:
            self.cause = Cause.FRAME_TOO_LARGE


@dataclass(frozen=True)
class Heard(Decoded):
    """What the bytes of a stream held, with its control frames; `payloads` are the messages."""

    pongs: int = 0
    status: int | None = None
    """That of the peer's close; None: there was no close, or it had none."""


# Writing.


def _head(opcode: int, size: int, final: int = _FINAL, mask: int = 0) -> bytes:
    if size <= MAX_CONTROL:
        return bytes((final | opcode, mask | size))
    if size <= 0xFFFF:
        return struct.pack(">BBH", final | opcode, mask | 126, size)
    return struct.pack(">BBQ", final | opcode, mask | 127, size)


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """Return a frame without a mask, as a server sends it."""
    return _head(opcode, len(payload)) + payload


def close(status: int | None, reason: str = "") -> bytes:
    """Return a close without a mask; None: it has no status."""
    return frame(CLOSE, b"" if status is None else struct.pack(">H", status) + reason.encode()[: MAX_CONTROL - 2])


def masked_message(payload: bytes) -> bytes:
    """Return a message of any size in one frame, as a client sends it: text if it is UTF-8, otherwise binary."""
    try:
        payload.decode()
        opcode = TEXT
    except UnicodeDecodeError:
        opcode = BINARY
    key = os.urandom(4)
    return _head(opcode, len(payload), _FINAL, _MASKED) + key + with_mask(payload, key)


def masked(frames: bytes) -> bytes:
    """Return whole frames that have no masks with one each, as a client sends them."""
    found = []
    at = 0
    while (head := head_at(frames, at, is_masked=False)) is not None:
        end = head.start + head.size
        key = os.urandom(4)
        found.append(_head(head.opcode, head.size, frames[at] & _FINAL, _MASKED) + key)
        found.append(with_mask(frames[head.start : end], key))
        at = end
    return b"".join(found)


def with_mask(payload: bytes, key: bytes) -> bytes:
    """Return a payload with a mask put on or, which is the same operation, taken off."""
    size = len(payload)
    stream = (key * (size // len(key) + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(stream, "little")).to_bytes(size, "little")


# Reading.


class Head(NamedTuple):
    """What stands before a frame's payload, and where that begins."""

    is_final: bool
    opcode: int
    size: int
    start: int
    key: bytes
    """Empty: there is no mask."""


def head_at(data: bytes | bytearray, at: int, is_masked: bool) -> Head | None:
    """Return the head of the frame that begins there, None while it is not whole; Violation if it can't become one."""
    if len(data) <= at:
        return None
    first = data[at]
    opcode = first & 0x0F
    if first & _RESERVED:
        raise Violation(PROTOCOL_ERROR, "a frame with a reserved bit, which only an extension may set")
    if opcode not in _OPCODES:
        raise Violation(PROTOCOL_ERROR, f"a frame of the unknown opcode {opcode:#x}")
    if opcode >= CLOSE and not first & _FINAL:
        raise Violation(PROTOCOL_ERROR, "a control frame in fragments")
    if len(data) <= at + 1:
        return None
    if bool(data[at + 1] & _MASKED) != is_masked:
        raise Violation(PROTOCOL_ERROR, "a frame without a mask" if is_masked else "a frame with a mask")
    size, start = data[at + 1] & ~_MASKED, at + 2
    if opcode >= CLOSE and size > MAX_CONTROL:
        raise Violation(PROTOCOL_ERROR, f"a control frame of more than {MAX_CONTROL} bytes")
    if size > MAX_CONTROL:
        width, least = (2, MAX_CONTROL + 1) if size == 126 else (8, 0x10000)
        if len(data) < start + width:
            return None
        size, start = int.from_bytes(data[start : start + width], "big"), start + width
        if size < least or size >> 63:
            raise Violation(PROTOCOL_ERROR, "a length that is not written in as few bytes as it takes")
        if size > MAX_PAYLOAD:
            raise Violation(TOO_BIG, f"a frame of {size} bytes, more than the {MAX_PAYLOAD} that are accepted")
    if not is_masked:
        return Head(bool(first & _FINAL), opcode, size, start, b"")
    if len(data) < start + 4:
        return None
    return Head(bool(first & _FINAL), opcode, size, start + 4, bytes(data[start : start + 4]))


def _check_order(head: Head, begun: int, size: int) -> None:
    """Raise Violation if no such frame may follow the fragments of a message of opcode `begun` (0: there are none) that
    have so many bytes together.
    """
    if head.opcode >= CLOSE:
        return
    if head.opcode == CONTINUATION and not begun:
        raise Violation(PROTOCOL_ERROR, "a fragment that continues no message")
    if head.opcode != CONTINUATION and begun:
        raise Violation(PROTOCOL_ERROR, "a message within the fragments of another one")
    if size + head.size > MAX_PAYLOAD:
        raise Violation(TOO_BIG, f"a message of more than the {MAX_PAYLOAD} bytes that are accepted")


def _payload_of(data: bytes | bytearray, head: Head) -> bytes:
    payload = bytes(data[head.start : head.start + head.size])
    return payload if head.key in (b"", _NO_KEY) else with_mask(payload, head.key)


def _is_utf_8(payload: bytes) -> bool:
    try:
        return payload.isascii() or bool(payload.decode())
    except UnicodeDecodeError:
        return False


class _Walk:
    """Goes through the frames of some bytes, one by one."""

    def __init__(self, data: bytes, is_masked: bool) -> None:
        self.data = data
        self.is_masked = is_masked
        self.at = 0
        """Where the next frame begins."""
        self.payloads: list[bytes] = []
        self.pings = self.pongs = 0
        self.pong = b""
        self.is_closed = False
        self.status: int | None = None
        self.opcode = 0
        """That of the message whose fragments have begun to come; 0: there is none."""
        self.parts: list[bytes] = []
        self.size = 0
        """Bytes of `parts`."""

    def step(self) -> bool:
        """Take the next frame; False if there is no whole one, or none may follow."""
        head = None if self.is_closed else head_at(self.data, self.at, self.is_masked)
        if head is None:
            return False
        _check_order(head, self.opcode, self.size)
        end = head.start + head.size
        if end > len(self.data):
            return False
        payload = _payload_of(self.data, head)
        if head.opcode >= CLOSE:
            self._take_control(head.opcode, payload)
        else:
            self._take_part(head, payload)
        self.at = end
        return True

    def _take_part(self, head: Head, payload: bytes) -> None:
        opcode = self.opcode or head.opcode
        if not head.is_final:
            self.opcode = opcode
            self.size += head.size
            self.parts.append(payload)
            return
        message = b"".join([*self.parts, payload]) if self.parts else payload
        if opcode == TEXT and not _is_utf_8(message):
            raise Violation(NOT_UTF_8, "a text message that is not UTF-8")
        self.payloads.append(message)
        self.opcode, self.parts, self.size = 0, [], 0

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings += 1
            self.pong = frame(PONG, payload)
        elif opcode == PONG:
            self.pongs += 1
        else:
            self.status = _status_of(payload)
            self.is_closed = True

    @property
    def rest(self) -> bytes:
        """What is not whole yet, as bytes that can be decoded again: fragments as one, and then what follows them."""
        return _begun(self.opcode, b"".join(self.parts), self.is_masked) + self.data[self.at :]

    @property
    def reply(self) -> bytes:
        return self.pong + close(self.status) if self.is_closed else self.pong


def _status_of(payload: bytes) -> int | None:
    """Return the status that a close carries, None if it has none; Violation if it may carry no such thing."""
    if not payload:
        return None
    status = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or status not in _ALLOWED:
        raise Violation(PROTOCOL_ERROR, "a close whose status is none that may be sent")
    if not _is_utf_8(payload[2:]):
        raise Violation(NOT_UTF_8, "a close whose reason is not UTF-8")
    return status


def _begun(opcode: int, message: bytes | bytearray, is_masked: bool) -> bytes:
    """Return the beginning of a message as its first fragment; nothing if there is none."""
    if not opcode:
        return b""
    head = _head(opcode, len(message), 0, _MASKED) + _NO_KEY if is_masked else _head(opcode, len(message), 0)
    return head + message


class BegunMessage:
    """The beginning of a message or a frame. Fragments that come whole are put to those before and not looked at again,
    until the last one has come. Pings and pongs between them are returned by themselves.
    """

    def __init__(self, rest: bytes, is_masked: bool) -> None:
        self._is_masked = is_masked
        self._opcode = 0
        self._message = bytearray()
        self._frame = bytearray(rest)
        self._wanted = 0
        self._between = bytearray()
        self.is_over = False
        self._take_frames()

    @property
    def data(self) -> bytearray:
        """What was collected, as bytes that `decode` takes."""
        return bytearray(_begun(self._opcode, self._message, self._is_masked)) + self._frame

    def add(self, data: bytes) -> bytes | None:
        """Return all of it with `data` behind it, or None while `decode` would find nothing new in that."""
        self._frame += data
        if len(self._frame) < self._wanted:
            return None
        self.is_over = not self._take_frames() or not (self._opcode or self._frame)
        between, self._between = bytes(self._between), bytearray()
        return between + bytes(self.data) if self.is_over else between or None

    def _take_frames(self) -> bool:
        """Take the whole fragments, pings and pongs at the beginning of what has come; False if something else follows
        that is whole.
        """
        at = 0
        try:
            while (head := head_at(self._frame, at, self._is_masked)) is not None:
                _check_order(head, self._opcode, len(self._message))
                end = head.start + head.size
                if end > len(self._frame) or (head.is_final and head.opcode not in (PING, PONG)):
                    break
                if head.is_final:
                    self._between += self._frame[at:end]
                else:
                    self._opcode = self._opcode or head.opcode
                    self._message += _payload_of(self._frame, head)
                at = end
        except Violation:
            self._wanted = 0
        else:
            self._wanted = len(self._frame) + 1 - at if head is None else end - at
        del self._frame[:at]
        return len(self._frame) < self._wanted


class WebSocket:
    """The frames that one of the two ends sends; `is_masked` says which."""

    CODING: str | None = None
    TAIL = b""
    LINE_END: bytes | None = None

    def __init__(self, is_masked: bool) -> None:
        self.is_masked = is_masked
        self._heads = Heads(lambda size: _head(TEXT, size))

    def heads(self, sizes: Iterable[int]) -> Iterable[bytes]:
        """Return what stands before text messages of these sizes, which a server sends."""
        return map(self._heads.__getitem__, sizes)

    def decode(self, data: bytes) -> Heard:
        """Split `data` into whole messages and the rest; a close ends the stream. Violation: as section 5.2 says."""
        walk = _Walk(data, self.is_masked)
        try:
            while walk.step():
                pass
        except Violation as violation:
            violation.payloads, violation.pings = walk.payloads, walk.pings
            violation.reply = walk.pong + violation.reply
            raise
        return Heard(walk.payloads, walk.rest, walk.is_closed, walk.reply, walk.pings, walk.pongs, walk.status)

    def beginning(self, rest: bytes) -> BegunMessage:
        """Begin with what `decode` left."""
        return BegunMessage(rest, self.is_masked)

    def locate(self, joined: bytes, at: Ints) -> tuple[Ints, Ints, Ints]:
        """Return where messages start and end, and where the next begin: messages without fragments and masks, of at
        most 65,535 bytes. What clients send is left to `decode`.
        """
        if self.is_masked:
            return at, at, np.full(len(at), FAR)
        begin = windows(joined, 4)[at].astype(np.int64)
        first, second = begin[:, 0], begin[:, 1]
        long = (begin[:, 2] << 8) + begin[:, 3]
        is_long = second == 126
        is_text = first == _FINAL | TEXT
        fits = (is_text | (first == _FINAL | BINARY)) & ((second < 126) | (is_long & (long >= 126)))
        start = at + np.where(is_long, 4, 2)
        end = np.where(fits, start + np.where(is_long, long, second), start)
        fits &= end <= len(joined)
        texts = np.flatnonzero(fits & is_text)
        highs = np.append(np.flatnonzero(np.frombuffer(joined, np.uint8) >= 0x80), FAR)
        for row in texts[highs[np.searchsorted(highs, start[texts])] < end[texts]].tolist():
            fits[row] = _is_utf_8(joined[start[row] : end[row]])
        return start, end, np.where(fits, end, FAR)


FROM_SERVER = WebSocket(is_masked=False)
FROM_CLIENT = WebSocket(is_masked=True)
