"""The grammar of messages: what a payload says, whatever its framing. Pure.

A connection's first message is its welcome, which names the user. Each one behind it has its number, `#n` from 1 on,
and is a tick, or text that may begin with a stamp (see `wire.stamp`). Each of these is spelled here only. Payloads
are read one by one, or, where a batch of them is stamped messages, taken apart as a matrix: numbers and fixed text
stand at places that follow from the length of the first number, and the same places of all of them are compared and
turned into numbers at once.

Cost: 5 µs a message one by one; 0.3 ms and 0.4 µs a message as a matrix.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from floodtest.wire import mark, stamp
from floodtest.wire.framing.frames import Frames
from floodtest.wire.matrix import Ints, weights, windows

WELCOME = b"Welcome, user %d\n"
TICK = b"tick %d"

MESSAGE = b"Recvd msg #%d: %b\n"
"""The message of a number and a text."""

_AROUND = len(MESSAGE % (0, b"")) - 1
_POWERS = 10 ** np.arange(1, 10)

_LINE_END = re.compile(rb"\r\n|\n|\r")

_NUMBERED = re.compile(rb"Recvd msg #(\d{1,9}): (?:tick ([1-9]\d{0,17})\b|%b)?" % stamp.PATTERN.pattern)
"""A numbered message, which may be a tick or begin with a stamp. As many digits as are accepted fit into the columns:
uint32 for `#n`, int64 for ticks, which are counted from 1. What has more digits is no number."""

_NUMBER_DIGITS = 9
_NUMBER_WEIGHTS = weights(10, _NUMBER_DIGITS)
_BEFORE = np.frombuffer(MESSAGE.partition(b"%d")[0], np.uint8)
_STAMP = np.frombuffer(b": " + stamp.FORMAT % (0, 0), np.uint8)
_ZERO = np.uint8(ord("0"))
_DIGIT_PLACES, _FIXED_PLACES = np.flatnonzero(_STAMP == _ZERO), np.flatnonzero(_STAMP != _ZERO)
_PLANNED_WEIGHTS = 10 ** np.arange(stamp.PLANNED_DIGITS)[::-1]
_LATE_WEIGHTS = 10 ** np.arange(stamp.LATE_DIGITS)[::-1]


def with_line_ends(text: bytes, line_end: bytes | None) -> bytes:
    """Return a text with this in place of its line ends (CR LF, LF or CR); as it is if that is None."""
    return text if line_end is None else _LINE_END.sub(line_end, text)


def have_line_ends(texts: Sequence[bytes | memoryview]) -> bool:
    """Whether one of the texts has a line end: 30 ns each, where to look for it one by one takes 0.7 µs."""
    joined = b"".join(texts)
    return b"\n" in joined or b"\r" in joined


def sizes(numbers: npt.NDArray[np.uint32], texts: Sequence[bytes | memoryview]) -> list[int]:
    """Return how many bytes the messages of these numbers and texts have."""
    digits = 1 + np.searchsorted(_POWERS, numbers, "right")
    found: list[int] = (np.fromiter(map(len, texts), np.intp, len(texts)) + digits + _AROUND).tolist()
    return found


@dataclass(frozen=True)
class Said:
    """What some payloads say."""

    count: int
    """Of all payloads."""
    numbers: tuple[int, ...]
    """`#n` of the numbered messages."""
    ticks: tuple[int, ...]
    stamps: tuple[tuple[int, int], ...]
    """When each stamped message was planned, in ns, and how late it was published, in µs."""
    sent: tuple[int, ...] = ()
    """When messages were sent that say so, in ns of CLOCK_REALTIME (`wire.times`)."""
    unreadable: int = 0
    """Messages that say so with what is no time."""
    subjects: tuple[int, ...] = ()
    """Whom each numbered message is for, where messages have marks (`wire.mark`); empty: the one who has got it."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing but its count is to be accounted for."""
        return not (self.numbers or self.stamps or self.sent or self.unreadable)

    def __add__(self, other: "Said") -> "Said":
        """Return what these payloads say, and others behind them."""
        return Said(
            self.count + other.count,
            self.numbers + other.numbers,
            self.ticks + other.ticks,
            self.stamps + other.stamps,
            self.sent + other.sent,
            self.unreadable + other.unreadable,
            self.subjects + other.subjects,
        )

    def only_for(self, *subjects: int) -> "Said":
        """Return what the numbered messages for these subjects say, where each has a mark."""
        rows = [row for row, one in enumerate(self.subjects) if one in subjects]
        if len(rows) == len(self.subjects):
            return self
        return Said(
            self.count,
            tuple(self.numbers[row] for row in rows),
            (),
            tuple(self.stamps[row] for row in rows),
            subjects=tuple(self.subjects[row] for row in rows),
        )


def read_payloads(payloads: Sequence[bytes]) -> Said:
    """Read payloads one by one."""
    found = [match for match in map(_NUMBERED.match, payloads) if match]
    numbers = tuple(int(match[1]) for match in found)
    ticks = tuple(int(match[2]) for match in found if match[2])
    stamps = tuple((int(match[3]), int(match[4])) for match in found if match[3])
    return Said(len(payloads), numbers, ticks, stamps)


def reader_of_marks(run: str) -> Callable[[Sequence[bytes]], Said]:
    """Return what reads payloads for the marks of a run (`wire.mark`); each may have none, one, or several."""
    return partial(_read_marked, mark.pattern_of(run))


def _read_marked(pattern: re.Pattern[bytes], payloads: Sequence[bytes]) -> Said:
    # A mark that stands in a payload twice, such as in a text and in its HTML, is one message.
    found = [one for payload in payloads for one in dict.fromkeys(pattern.findall(payload))]
    return Said(
        len(payloads),
        numbers=tuple(int(number) for _, number, _, _ in found),
        ticks=(),
        stamps=tuple((int(planned), int(late)) for _, _, planned, late in found),
        subjects=tuple(int(subject) for subject, _, _, _ in found),
    )


@dataclass(frozen=True)
class Stamped:
    """Columns of stamped messages: index of the read, which message of it, `#n`, planned ns, late µs."""

    index: Ints
    place: Ints
    number: Ints
    planned: Ints
    late: Ints

    def only(self, rows: npt.NDArray[np.bool_]) -> "Stamped":
        """Return some of the rows."""
        return Stamped(self.index[rows], self.place[rows], self.number[rows], self.planned[rows], self.late[rows])


def read_stamped(joined: bytes, frames: Frames, reads: int) -> Stamped:
    """Take apart, all at once, the payloads of those reads that hold stamped messages and nothing else."""
    begin = windows(joined, len(_BEFORE) + _NUMBER_DIGITS + 1)[frames.start]
    fits = (begin[:, : len(_BEFORE)] == _BEFORE).all(axis=1)
    digit = begin[:, len(_BEFORE) :] - _ZERO
    digits = (digit > 9).argmax(axis=1)
    number = (digit * _NUMBER_WEIGHTS[digits]).sum(axis=1)
    at = frames.start + len(_BEFORE) + digits
    fits &= (digits > 0) & (at + len(_STAMP) <= frames.end)
    stamps = windows(joined, len(_STAMP))[at]
    fits &= (stamps[:, _FIXED_PLACES] == _STAMP[_FIXED_PLACES]).all(axis=1)
    digit = stamps[:, _DIGIT_PLACES] - _ZERO
    fits &= (digit < 10).all(axis=1) & (digit[:, 0] <= stamp.FIRST_DIGIT)
    planned, late = np.hsplit(digit, [stamp.PLANNED_DIGITS])
    columns = Stamped(frames.index, frames.place, number, planned @ _PLANNED_WEIGHTS, late @ _LATE_WEIGHTS)
    if fits.all():
        return columns
    fits &= np.bincount(frames.index[~fits], minlength=reads)[frames.index] == 0  # whole reads only
    return columns.only(fits)
