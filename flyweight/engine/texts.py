"""Rows of texts in shared memory: written once by one process, read by the batch by others.

In: rows of as many byte strings as there are columns, one at a time. Out: a memfd with all of them one behind the
other, and where each begins; it is on no disk, and gone with the last process that has it. Who reads has no object a
row: a batch of rows is looked up in a column of offsets.

Cost: 8 bytes a text, and its own. Fails: Refused where a limit of this process, or memory, forbids it.
"""

import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.shared import map_shared
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason

_OFFSET = 8
"""Bytes of the place where a text begins."""

_AT_ONCE = 1 << 18
"""Bytes that are written at a time."""


class Shape(msgspec.Struct, frozen=True):
    """What must be known of such memory to read it: its columns and rows, and the bytes of all texts."""

    columns: int
    rows: int
    size: int

    @property
    def offsets(self) -> tuple[int, int]:
        """Where the offsets begin, and how many there are: of each text, and the end of the last one."""
        return -(-self.size // _OFFSET) * _OFFSET, self.columns * self.rows + 1


def write_texts(name: str, columns: int, rows: Iterable[Sequence[bytes]]) -> tuple[int, Shape]:
    """Write rows; return the descriptor and the shape. The name is for people, in errors and in /proc/PID/maps.

    What `rows` raises goes on.
    """
    descriptor = os.memfd_create(name)
    try:
        return descriptor, _write(partial(_append, name, descriptor), columns, rows)
    except BaseException:  # an interrupt as well leaves no descriptor open
        os.close(descriptor)
        raise


def _write(
    append: Callable[[bytes | bytearray | memoryview], None], columns: int, rows: Iterable[Sequence[bytes]]
) -> Shape:
    offsets, size, held = array("Q", [0]), 0, bytearray()
    for row in rows:
        for text in row:
            size += len(text)
            offsets.append(size)
            held += text
        if len(held) >= _AT_ONCE:
            append(held)
            held = bytearray()
    shape = Shape(columns, (len(offsets) - 1) // columns, size)
    append(held + bytes(shape.offsets[0] - size))
    append(memoryview(offsets).cast("B"))
    return shape


def _append(name: str, descriptor: int, data: bytes | bytearray | memoryview) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError as error:
        raise Refused(f"Shared memory for the {name} can't be had: {reason(error)}.") from error


class Texts:
    """Rows that somebody has written."""

    def __init__(self, descriptor: int, shape: Shape) -> None:
        begin, count = shape.offsets
        mapped = map_shared(descriptor, begin + count * _OFFSET)
        self._columns = shape.columns
        self._bytes = memoryview(mapped)
        self._offsets: npt.NDArray[np.uint64] = np.ndarray((count,), np.uint64, buffer=mapped, offset=begin)

    def column(self, column: int, rows: Sequence[int]) -> list[bytes]:
        """Return what some rows, by their places from 0 on, have in a column."""
        at = np.array(rows, np.int64) * self._columns + column
        begins, ends = self._offsets[at].tolist(), self._offsets[at + 1].tolist()
        return [self._bytes[begin:end].tobytes() for begin, end in zip(begins, ends, strict=True)]
