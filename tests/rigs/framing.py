"""A stream that is read as its reader reads it: piece by piece, with the beginning of what is not whole in between."""

from collections.abc import Iterable
from typing import NamedTuple

from floodtest.wire.framing.frames import Beginning, Framing, decode_all


class InPieces(NamedTuple):
    """What came of a stream."""

    payloads: list[bytes]
    ended: bool
    """Whether the framing said that it is over."""
    broken: int | None
    """What is wrong with what follows."""
    is_inside: bool
    """Whether it stopped in the middle of something."""
    replies: list[bytes]
    """What the peer was owed for each piece (`Decoded.reply`)."""


def read_in_pieces(framing: Framing, pieces: Iterable[bytes]) -> InPieces:
    """Read a stream to its end, or to what breaks it."""
    payloads, replies = list[bytes](), list[bytes]()
    begun: Beginning | None = None
    for piece in pieces:
        data = piece if begun is None else begun.add(piece)
        if data is None:
            continue
        decoded, broken = decode_all(framing, data)
        payloads += decoded.payloads
        replies.append(decoded.reply)
        if broken is not None or decoded.ended:
            return InPieces(payloads, decoded.ended, broken, False, replies)
        begun = framing.beginning(decoded.rest) if decoded.rest else None
    rest = b"" if begun is None else decode_all(framing, bytes(begun.data))[0].rest
    return InPieces(payloads, False, None, bool(rest), replies)
