"""Numbers as text and text as numbers, whole columns at a time. Pure.

In and out: an array of pairs of shape (n, 2), and lines of columns with one separator between two of them. What is not
written exactly so is left to a reader that looks at each line. Cost: about 0.1 µs a line in each direction.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.datagen.files.pair_columns import Picked
from floodtest.datagen.files.pairs import IdRange, Ids

ROWS = 1 << 14
"""Rows written at a time: what is worked on stays in the core's cache."""

_FOUR: npt.NDArray[np.uint32] = np.frombuffer(b"".join(map(b"%04d".__mod__, range(10_000))), np.uint32)
"""Four digits as one word."""
_LEADING: npt.NDArray[np.uint32] = np.frombuffer(
    b"".join((b"%d" % number if number else b"").rjust(4, b"\0") for number in range(10_000)), np.uint32
)
"""The first digits of a number as one word, with NUL in place of leading zeros."""
_LAST = np.append(np.frombuffer(b"0".rjust(4, b"\0"), np.uint32), _LEADING[1:])
"""The last digits of a number that has no others before them: like _LEADING, but a zero is written as one."""
_LF = ord("\n")
_SPECIAL = np.frombuffer(b'"#%', np.uint8)
"""What may make more of a line than columns: a quote, a comment."""

MOST_DIGITS = 19
"""Of a number that is read in 64 bits: a further digit may be too much."""


def lines_of(rows: Ids, separator: bytes = b" ") -> Iterator[bytes]:
    """Yield lines of two numbers: each number as words of four digits, its separator as one more, without the NULs."""
    width = -(-len(str(rows.max(initial=1))) // 4)
    ends = np.frombuffer(separator + b"\0\0\0\n\0\0\0", np.uint32)
    for first in range(0, len(rows), ROWS):
        rest: npt.NDArray[Any] = rows[first : first + ROWS]
        words = np.empty((len(rest), 2, width + 1), np.uint32)
        words[:, :, width] = ends
        for at in reversed(range(width)):
            rest, four = np.divmod(rest, 10_000)
            leading = _LAST if at == width - 1 else _LEADING
            words[:, :, at] = np.where(rest == 0, leading[four], _FOUR[four])
        yield words.tobytes().translate(None, b"\0")


def plain_rows(text: bytes, separator: bytes, columns: int, picked: Picked, ids: IdRange) -> Ids | None:
    """Read the picked columns of whole lines that have `columns` of them, with one separator between two.

    None if there are others, if a picked column has anything but ids, and if there might be a quote or a comment.
    A number's value is the sum of its digits, of which all numbers' last ones are taken first, then all numbers' last
    but one, and so on.
    """
    codes = np.frombuffer(text, np.uint8)
    digits = codes - np.uint8(ord("0"))
    ends = np.flatnonzero(digits > 9)
    separators = codes[ends]
    strange = (separators != ord(separator)) & (separators != _LF)
    if strange.any():
        others, ends, separators = ends[strange], ends[~strange], separators[~strange]
        if np.isin(codes[others], _SPECIAL).any() or np.isin(np.searchsorted(ends, others) % columns, picked).any():
            return None
    lengths = np.diff(ends, prepend=-1) - 1
    expected = [ord(separator)] * (columns - 1) + [_LF]
    if len(ends) % columns or (lengths < 1).any():
        return None
    if any((separators[at::columns] != code).any() for at, code in enumerate(expected)):
        return None
    if picked != (0, 1) or columns > 2:
        ends, lengths = (of_all.reshape(-1, columns)[:, picked].ravel() for of_all in (ends, lengths))
    longest = int(lengths.max(initial=0))
    if longest > min(len(str(ids.most)), MOST_DIGITS):
        return None
    values = np.zeros(len(ends), np.uint64)
    for place in range(longest):
        has = lengths > place
        digit = digits[np.where(has, ends - 1 - place, 0)]
        values += np.where(has, digit, 0).astype(np.uint64) * np.uint64(10**place)
    if (values < ids.least).any() or (values > ids.most).any():
        return None
    return values.astype(ids.dtype).reshape(-1, 2)
