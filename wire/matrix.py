"""Bytes as the rows of a matrix: the places of many messages are compared and turned into numbers at once. Pure.

All functions work on reads that were joined to one bytes object, with `PADDING` behind the last of them.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

PADDING = bytes(128)
"""Behind the last read: no framing and no grammar looks further than so many bytes beyond the place it was given, so
that looking for more than is there does not leave the buffer."""

FAR = 1 << 62
"""A place behind all others: where something ends that is not there."""


def windows(joined: bytes, width: int) -> Bytes:
    """View the bytes as all the overlapping rows of that width: row i has those from place i on; nothing is copied."""
    return np.ndarray((len(joined) - width + 1, width), np.uint8, joined, strides=(1, 1))


def weights(base: int, most: int) -> Ints:
    """Return for each number of digits, from 0 to `most`, what each of `most` + 1 places counts; shape (most+1,
    most+1).

    So `(digits_of_rows * weights(base, most)[how_many]).sum(axis=1)` are numbers whose digits begin their rows.
    """
    table = np.zeros((most + 1, most + 1), np.int64)
    for digits in range(most + 1):
        table[digits, :digits] = base ** np.arange(digits)[::-1]
    return table
