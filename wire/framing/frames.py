"""What a framing is: how messages lie in a stream of bytes. It knows nothing of what the messages say.

A framing is a module that has what `Framing` lists. In: the bytes of a stream from the beginning of a frame on. Out:
the payloads of the frames that are whole, and the bytes that are not whole yet, which the caller keeps. Nothing is
kept here: a stream between two frames costs nothing. What is kept of a frame that is not whole is bounded by
`MAX_PAYLOAD`. For bytes that are no frame `FramingError` is raised.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from floodtest.wire.causes import Cause
from floodtest.wire.matrix import Ints

MAX_PAYLOAD = 1 << 20
"""Bytes of a payload that are kept: sixteen of the largest messages we send ourselves. What a larger one has beyond
them is passed over; it is one message all the same."""

FEW = 4
"""Reads that are not worth a step of their own."""

REMEMBERED = 1024
"""Heads of frames that are kept."""

MOST_STEPS = 64
"""Frames of a read that are looked for in step with others: each step may look at all bytes. Reads with more are left
to `decode`."""


class FramingError(ValueError):
    """The peer's framing is wrong; `payloads` and `pings` came whole before that, and `reply` is what the peer is to be
    told.
    """

    cause: int = Cause.BAD_FRAMING
    """A `Cause`, or the HTTP status that says it."""

    def __init__(self, reason: str, payloads: list[bytes] | None = None) -> None:
        super().__init__(reason)
        self.payloads = payloads or []
        self.reply = b""
        self.pings = 0


@dataclass(frozen=True)
class Decoded:
    """What the bytes of a stream held."""

    payloads: list[bytes]
    rest: bytes
    ended: bool
    """The framing says that the stream is over; `rest` is whatever follows."""
    reply: bytes = b""
    """What the peer is owed for it: frames of a WebSocket without masks, or what the next poll has to know."""
    pings: int = 0
    """How often the peer has asked for an answer."""


@dataclass(frozen=True)
class Frames:
    """Columns: index of the read, which frame of it, where its payload begins in the joined bytes, and ends."""

    index: Ints
    place: Ints
    start: Ints
    end: Ints


class Heads(dict[int, bytes]):
    """What stands before a payload, by its size: to look one up takes half of what it takes to make it."""

    def __init__(self, make: Callable[[int], bytes]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, size: int) -> bytes:
        head = self._make(size)
        if len(self) < REMEMBERED:
            self[size] = head
        return head


class Beginning(Protocol):
    """The beginning of a frame, collected until there is enough to decode again.

    A large frame that comes in tiny pieces is so copied and looked at twice, not once a piece.
    """

    @property
    def data(self) -> bytearray:
        """What was collected."""

    @property
    def is_over(self) -> bool:
        """Whether `add` has returned all of it. If not, what that returned last came between parts of it, and it is to
        be gone on with.
        """

    def add(self, data: bytes) -> bytes | None:
        """Return what is kept of it with `data` behind it, or None while `decode` would find nothing new in that."""


class Framing(Protocol):
    """How messages are framed."""

    @property
    def CODING(self) -> str | None:  # noqa: N802 - a constant of the module
        """The transfer coding of HTTP that it is; None for a body that ends with its connection."""

    @property
    def TAIL(self) -> bytes:  # noqa: N802 - a constant of the module
        """What stands behind each payload."""

    @property
    def LINE_END(self) -> bytes | None:  # noqa: N802 - a constant of the module
        """What stands for a line end in the text of a message; None where any bytes can stand in a payload."""

    def heads(self, sizes: Iterable[int]) -> Iterable[bytes]:
        """Return what stands before payloads of these sizes."""

    def decode(self, data: bytes) -> Decoded:
        """Split `data` into whole frames and the rest."""

    def beginning(self, rest: bytes) -> Beginning:
        """Begin with what `decode` left."""

    def locate(self, joined: bytes, at: Ints) -> tuple[Ints, Ints, Ints]:
        """Return where the payloads of the frames that begin at these places start and end, and where the next begin.

        The last is `FAR` where no frame begins that is written as this project writes them; others are left to
        `decode`. `joined` has `PADDING` behind it; what is found may reach beyond the read it began in.
        """


def encode(framing: Framing, payload: bytes) -> bytes:
    """Return one payload in its frame."""
    (head,) = framing.heads([len(payload)])
    return head + payload + framing.TAIL


def decode_all(framing: Framing, data: bytes) -> tuple[Decoded, int | None]:
    """Decode all that there is, and return what is wrong with what follows: a `Cause`, an HTTP status, or None."""
    try:
        return framing.decode(data), None
    except FramingError as error:
        return Decoded(error.payloads, b"", ended=False, reply=error.reply, pings=error.pings), error.cause


def begun_behind(framing: Framing, begun: Beginning | None, decoded: Decoded) -> Beginning | None:
    """Return the beginning of a frame that there is behind what was decoded, which `begun` may have returned."""
    if begun is not None and not begun.is_over:
        return begun
    return framing.beginning(decoded.rest) if decoded.rest else None


def find_frames(framing: Framing, joined: bytes, lengths: Ints) -> Frames:
    """Find the frames of those reads that consist of whole ones; `lengths` are those of the reads in `joined`.

    It goes through all reads in step: their first frames, then their second ones, and so on.
    """
    ends = np.cumsum(lengths)
    index, at = np.arange(len(lengths)), ends - lengths
    whole = np.zeros(len(lengths), bool)
    steps: list[tuple[Ints, Ints, Ints, Ints]] = []
    while len(index) > FEW and len(steps) < MOST_STEPS:
        start, end, after = framing.locate(joined, at)
        fits = after <= ends[index]
        index, start, end, at = index[fits], start[fits], end[fits], after[fits]
        steps.append((index, np.full(len(index), len(steps)), start, end))
        goes_on = at < ends[index]
        whole[index[~goes_on]] = True
        index, at = index[goes_on], at[goes_on]
    columns = [np.concatenate([step[column] for step in steps] or [np.zeros(0, np.int64)]) for column in range(4)]
    kept = whole[columns[0]]
    return Frames(*(column[kept] for column in columns))
