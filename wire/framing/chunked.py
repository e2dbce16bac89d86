"""HTTP/1.1 chunked framing (RFC 9112, section 7.1): a chunk is a message. See `wire.framing.frames` for the
contract.
"""

import re
from collections.abc import Iterable

import numpy as np

from floodtest.wire.framing.frames import MAX_PAYLOAD, Decoded, FramingError, Heads
from floodtest.wire.matrix import FAR, Ints, weights, windows

CODING: str | None = "chunked"
TAIL = b"\r\n"
LINE_END: bytes | None = None

_SIZE_LINE = re.compile(rb"0*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_PARTIAL_SIZE_LINE = re.compile(rb"0*[0-9A-Fa-f]{0,8}(?:(?<=[0-9A-Fa-f])[ \t]*(?:;[^\r\n]*)?\r?)?")
_MAX_SIZE_LINE = 256
_ANY_SIZE = 0xFFFFFFFF
"""The largest that a size line can name: eight digits."""

_SIZE_DIGITS = 5
_SIZE_WEIGHTS = weights(16, _SIZE_DIGITS)
_HEX: Ints = np.full(256, -1)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_LINE_END = np.frombuffer(b"\r\n", np.uint8)


def _head(size: int) -> bytes:
    if not size:
        raise FramingError("an empty chunk would end the stream")
    return b"%x\r\n" % size


_HEADS = Heads(_head)


def heads(sizes: Iterable[int]) -> Iterable[bytes]:
    """Return the size lines of chunks. An empty chunk is refused, as it would end the body."""
    return map(_HEADS.__getitem__, sizes)


def decode(data: bytes) -> Decoded:
    """Split `data` into whole chunks and the rest; the last chunk (size 0) ends the body, and trailers are rest."""
    return _whole_chunks(data, MAX_PAYLOAD)  # chunks may be larger, of which that much is kept


def decode_parts(data: bytes) -> Decoded:
    """Take what chunks hold out of them, whole or not, of any size; the rest begins with what is to come as a chunk."""
    whole = _whole_chunks(data, _ANY_SIZE)
    line = None if whole.ended else _SIZE_LINE.match(whole.rest)
    if line is None:
        return whole
    start, size = line.end(), int(line[1], 16)
    part = whole.rest[start : start + size - 1]  # one byte is left: a chunk of none would be the last
    rest = b"%x\r\n" % (size - len(part)) + whole.rest[start + len(part) :]
    return Decoded([*whole.payloads, part] if part else whole.payloads, rest, ended=False)


def _whole_chunks(data: bytes, most: int) -> Decoded:
    """Split `data` into whole chunks, of each the first `most` bytes, and the rest."""
    payloads: list[bytes] = []
    position = 0
    while position < len(data):
        line = _size_line(data, position, payloads)
        if line is None:
            break
        size = int(line[1], 16)
        if size == 0:
            return Decoded(payloads, data[line.end() :], ended=True)
        start, end = line.end(), line.end() + size
        if not _is_ended(data, end, payloads):
            break
        payloads.append(data[start : min(end, start + most)])
        position = end + 2
    return Decoded(payloads, data[position:], ended=False)


def _size_line(data: bytes, position: int, payloads: list[bytes]) -> "re.Match[bytes] | None":
    """Return the size line that begins there, None if it is not whole; FramingError if none does."""
    line = _SIZE_LINE.match(data, position)
    if line is None and not _may_become_size_line(data, position):
        raise FramingError(f"no chunk size at {data[position : position + 20]!r}", payloads)
    if line is not None and line.end() - position > _MAX_SIZE_LINE:
        raise FramingError(f"a chunk's first line of more than {_MAX_SIZE_LINE} bytes", payloads)
    return line


def _is_ended(data: bytes, end: int, payloads: list[bytes]) -> bool:
    """Whether the line end stands behind a chunk; FramingError if something else does."""
    terminator = data[end : end + 2]
    if not TAIL.startswith(terminator):
        raise FramingError("a chunk does not end where it says", payloads)
    return len(terminator) == 2


def _may_become_size_line(data: bytes, position: int) -> bool:
    """Whether `data[position:]` is the beginning of a size line of an accepted length."""
    return len(data) - position < _MAX_SIZE_LINE and _PARTIAL_SIZE_LINE.fullmatch(data, position) is not None


class BegunChunk:
    """The beginning of a chunk, collected until as many bytes have come as its size line says."""

    is_over = True

    def __init__(self, rest: bytes) -> None:
        self.data = bytearray(rest)
        line = _SIZE_LINE.match(rest)
        self._wanted = len(rest) + 1 if line is None else max(len(rest), line.end() + int(line[1], 16)) + 1

    def add(self, data: bytes) -> bytes | None:
        """Return all of it with `data` behind it, or None while `decode` would find nothing new in that."""
        self.data += data
        return bytes(self.data) if len(self.data) >= self._wanted else None


class LargeChunk:
    """The beginning of a chunk of which only the first `MAX_PAYLOAD` bytes are kept, while more than these are to come.

    When its last byte has come it is a chunk of those that were kept.
    """

    is_over = True

    def __init__(self, payload: bytes, missing: int) -> None:
        self.data = bytearray(b"%x\r\n" % (len(payload) + missing) + payload)
        self._start = len(self.data) - len(payload)
        self._missing = missing
        self._cut()

    def _cut(self) -> None:
        del self.data[self._start + MAX_PAYLOAD :]

    def add(self, data: bytes) -> bytes | None:
        """Return what is kept of it with what comes after it in `data`, or None while it is not whole."""
        part = data[: self._missing]
        self._missing -= len(part)
        self.data += part
        self._cut()
        if self._missing:
            return None
        payload = bytes(self.data[self._start :])
        return b"%x\r\n" % len(payload) + payload + data[len(part) :]


def beginning(rest: bytes) -> BegunChunk | LargeChunk:
    """Begin with what `decode` left."""
    line = _SIZE_LINE.match(rest)
    size = 0 if line is None else int(line[1], 16)
    if line is None or size <= MAX_PAYLOAD:
        return BegunChunk(rest)
    payload, after = rest[line.end() : line.end() + size], rest[line.end() + size :]
    if len(payload) == size:
        payload = payload[:MAX_PAYLOAD]
        return BegunChunk(b"%x\r\n" % len(payload) + payload + after)
    return LargeChunk(payload, size - len(payload))


def locate(joined: bytes, at: Ints) -> tuple[Ints, Ints, Ints]:
    """Return where the payloads of chunks start and end, and where the next begin: sizes of up to five digits, as `%x`
    writes them, and nothing else in the line.
    """
    digit = _HEX[windows(joined, _SIZE_DIGITS + 1)[at]]
    digits = (digit < 0).argmax(axis=1)
    size = (digit * _SIZE_WEIGHTS[digits]).sum(axis=1)
    pairs = windows(joined, 2)
    start = at + digits + 2
    fits = (pairs[at + digits] == _LINE_END).all(axis=1) & (digits > 0) & (size > 0)
    end = np.where(fits, start + size, 0)
    fits &= end < len(pairs)
    end[~fits] = 0
    fits &= (pairs[end] == _LINE_END).all(axis=1)
    return start, end, np.where(fits, end + 2, FAR)
