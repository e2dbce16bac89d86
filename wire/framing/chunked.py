"""HTTP/1.1 chunked framing (RFC 9112, section 7.1), without I/O.

In: the bytes of a body so far. Out: the payloads of the chunks that are whole, and the bytes that are not whole yet;
the caller keeps those and puts them before what it reads next. Nothing is kept here: a stream between two chunks costs
nothing. Incomplete input is bounded by `MAX_CHUNK`; past it, and for malformed input, `ChunkError` is raised.
"""

import re
from dataclasses import dataclass

MAX_CHUNK = 1 << 20
"""The largest chunk that is accepted, in bytes: sixteen of the largest messages we send ourselves."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_MAX_SIZE_LINE = 256


class ChunkError(ValueError):
    """The peer's framing is wrong, or a chunk is larger than `MAX_CHUNK`; `payloads` came whole before that."""

    def __init__(self, reason: str, payloads: list[bytes] | None = None) -> None:
        super().__init__(reason)
        self.payloads = payloads or []


@dataclass(frozen=True)
class Decoded:
    """What a body's bytes held."""

    payloads: list[bytes]
    rest: bytes
    ended: bool
    """The last chunk (size 0) was seen: the body is over, and `rest` is trailers and whatever follows."""


def encode(payload: bytes) -> bytes:
    """Return the payload as one chunk. An empty one is refused: it would end the body."""
    if not payload:
        raise ChunkError("an empty chunk would end the stream")
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def decode(data: bytes, most: int | None = None) -> Decoded:
    """Split `data` into whole chunks, `most` of them if given, and the rest."""
    payloads: list[bytes] = []
    position = 0
    while position < len(data) and len(payloads) != most:
        line = _SIZE_LINE.match(data, position)
        if line is None:
            if not _may_become_size_line(data, position):
                raise ChunkError(f"no chunk size at {data[position : position + 20]!r}", payloads)
            break
        if line.end() - position > _MAX_SIZE_LINE:
            raise ChunkError(f"a chunk's first line of more than {_MAX_SIZE_LINE} bytes", payloads)
        size = int(line[1], 16)
        if size > MAX_CHUNK:
            raise ChunkError(f"a chunk of {size} bytes, more than the {MAX_CHUNK} that are accepted", payloads)
        start, end = line.end(), line.end() + size
        if size == 0:
            return Decoded(payloads, data[start:], ended=True)
        terminator = data[end : end + 2]
        if not b"\r\n".startswith(terminator):
            raise ChunkError(f"a chunk of {size} bytes does not end where it says", payloads)
        if len(terminator) < 2:
            break
        payloads.append(data[start:end])
        position = end + 2
    return Decoded(payloads, data[position:], ended=False)


class Beginning:
    """The beginning of a chunk, collected until there is enough to decode again.

    A large chunk that comes in tiny pieces is so copied and looked at twice, not once a piece.
    """

    def __init__(self, rest: bytes) -> None:
        """Begin with what `decode` left."""
        self._data = bytearray(rest)
        line = _SIZE_LINE.match(rest)
        self._wanted = len(rest) + 1 if line is None else max(len(rest), line.end() + int(line[1], 16)) + 1

    def add(self, data: bytes) -> bytes | None:
        """Return all of it with `data` behind it, or None while `decode` would find nothing new in that."""
        self._data += data
        return bytes(self._data) if len(self._data) >= self._wanted else None


_PARTIAL_SIZE_LINE = re.compile(rb"[0-9A-Fa-f]{0,8}(?:(?<=[0-9A-Fa-f])[ \t]*(?:;[^\r\n]*)?\r?)?")


def _may_become_size_line(data: bytes, position: int) -> bool:
    """Whether `data[position:]` is the beginning of a size line of an accepted length."""
    return len(data) - position < _MAX_SIZE_LINE and _PARTIAL_SIZE_LINE.fullmatch(data, position) is not None
