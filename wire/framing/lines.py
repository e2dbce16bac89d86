"""Messages as lines, each ended by a line feed.

See `wire.framing.frames` for the contract. A carriage return before the line feed belongs to the line's end. An empty
line is no message: servers send it so that the connection is not taken for dead.
"""

from collections.abc import Iterable

import numpy as np

from floodtest.wire.framing.frames import MAX_PAYLOAD, Decoded
from floodtest.wire.matrix import FAR, Ints

CODING: str | None = None
TAIL = b""
LINE_END: bytes | None = b" "

_FEED = ord("\n")
_MOST = MAX_PAYLOAD + 1
_EMPTY = (b"", b"\r")


def heads(sizes: Iterable[int]) -> Iterable[bytes]:
    """Return nothing for each: a payload is a line, with its line feed."""
    return (b"" for _ in sizes)


def decode(data: bytes) -> Decoded:
    """Split `data` into whole lines and the rest; payloads are without the line's end."""
    whole, feed, rest = data.rpartition(b"\n")
    payloads = [line.removesuffix(b"\r") for line in whole.split(b"\n") if line not in _EMPTY] if feed else []
    if len(whole) > MAX_PAYLOAD:
        payloads = [payload[:MAX_PAYLOAD] for payload in payloads]
    return Decoded(payloads, rest, ended=False)


class BegunLine:
    """The beginning of a line, of which as much is collected as is kept, until its end has come."""

    is_over = True

    def __init__(self, rest: bytes) -> None:
        self.data = bytearray(rest)
        self._cut()

    def _cut(self) -> None:
        if len(self.data) > _MOST:
            del self.data[_MOST:]
            self.data[-1:] = b"."  # no part of the payload, and no carriage return that may belong to the line's end

    def add(self, data: bytes) -> bytes | None:
        """Return what is kept of it with `data` behind it, or None while its end has not come."""
        end = data.find(b"\n")
        self.data += data[: end if end >= 0 else len(data)]
        self._cut()
        return bytes(self.data) + data[end:] if end >= 0 else None


def beginning(rest: bytes) -> BegunLine:
    """Begin with what `decode` left."""
    return BegunLine(rest)


def locate(joined: bytes, at: Ints) -> tuple[Ints, Ints, Ints]:
    """Return where the lines that begin there start and end, and where the next begin."""
    feeds = np.append(np.flatnonzero(np.frombuffer(joined, np.uint8) == _FEED), FAR)
    end = feeds[np.searchsorted(feeds, at)]
    return at, end, np.where((end > at) & (end < FAR), end + 1, FAR)
