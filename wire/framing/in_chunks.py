"""A framing whose bytes come in HTTP chunks, which have nothing to do with its messages.

A chunk may hold half a message, or three. The data of a chunk is passed on as it comes, before the chunk is whole, so
that no chunk is too large. What a stream keeps is bytes that can be decoded again: the beginning of a message, as a
chunk made for it, and then what is still to come of the chunk that had begun. See `wire.framing.frames` for the
contract.
"""

from collections.abc import Iterable

import numpy as np

from floodtest.wire.framing import chunked
from floodtest.wire.framing.frames import Beginning, Decoded, Framing, FramingError, Heads, encode
from floodtest.wire.matrix import FAR, Ints

_LAST = b"0\r\n"


class InChunks:
    """A framing in chunks. Our own server writes a chunk for each message."""

    CODING = chunked.CODING

    def __init__(self, inner: Framing) -> None:
        self.inner = inner
        self.TAIL = inner.TAIL + chunked.TAIL
        self.LINE_END = inner.LINE_END
        self._heads = Heads(self._head)

    def heads(self, sizes: Iterable[int]) -> Iterable[bytes]:
        """Return what stands before payloads of these sizes."""
        return map(self._heads.__getitem__, sizes)

    def _head(self, size: int) -> bytes:
        (inner,) = self.inner.heads([size])
        (outer,) = chunked.heads([len(inner) + size + len(self.inner.TAIL)])
        return outer + inner

    def decode(self, data: bytes) -> Decoded:
        """Split `data` into whole messages and the rest; the last chunk ends the stream."""
        try:
            outer = chunked.decode_parts(data)
        except FramingError as broken:
            raise FramingError(str(broken), self.inner.decode(b"".join(broken.payloads)).payloads) from broken
        inner = self.inner.decode(b"".join(outer.payloads))
        begun = encode(chunked, inner.rest) if inner.rest else b""
        return Decoded(inner.payloads, outer.rest if outer.ended else begun + outer.rest, outer.ended)

    def beginning(self, rest: bytes) -> Beginning:
        """Begin with what `decode` left."""
        return _Begun(self.inner, rest)

    def locate(self, joined: bytes, at: Ints) -> tuple[Ints, Ints, Ints]:
        """Return where the messages start and end that have a chunk for themselves, and where the next chunks begin."""
        inside, inside_end, after = chunked.locate(joined, at)
        start, end, inner_after = self.inner.locate(joined, inside)
        return start, end, np.where(inner_after == inside_end, after, FAR)


class _Begun:
    """The beginning of a message, and what is to come of the chunk it lies in."""

    is_over = True

    def __init__(self, inner: Framing, rest: bytes) -> None:
        outer = chunked.decode_parts(rest)
        self._inner = inner.beginning(b"".join(outer.payloads))
        self._rest = outer.rest

    @property
    def data(self) -> bytearray:
        """What was collected, as bytes that `decode` takes."""
        begun = bytes(self._inner.data)
        return bytearray((encode(chunked, begun) if begun else b"") + self._rest)

    def add(self, data: bytes) -> bytes | None:
        """Return all of it with `data` behind it, or None while `decode` would find nothing new in that."""
        try:
            outer = chunked.decode_parts(self._rest + data)
        except FramingError:
            return bytes(self.data) + data
        whole = self._inner.add(b"".join(outer.payloads))
        if outer.ended:
            whole = whole or bytes(self._inner.data)
            return (encode(chunked, whole) if whole else b"") + _LAST + outer.rest
        self._rest = outer.rest
        return None if whole is None else encode(chunked, whole) + outer.rest


def without_chunks(framing: Framing) -> Framing | None:
    """Return how messages lie in a body whose chunks somebody else has taken out; None: nothing in it tells."""
    if isinstance(framing, InChunks):
        return framing.inner
    return framing if framing.CODING is None else None
