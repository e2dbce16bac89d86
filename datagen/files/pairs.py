"""Pairs of ids in memory, what is asked of a file that is read, and the error of one that holds no pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.datagen.files.pair_columns import Columns, Picked, Unclear, pick
from floodtest.flyweight.errors import Refused

Pairs = npt.NDArray[np.uint32]
"""Of shape (n, 2)."""

Ids = npt.NDArray[np.unsignedinteger[Any]]
"""Ids as a file has them, of shape (n, 2), which need not be those of users."""

MAX_ID = 2**32 - 1


class BadFile(Refused):
    """A file that holds no pairs, or that can't be read; the text names the file, and the line where there is one."""


@dataclass(frozen=True)
class IdRange:
    """Which ids are taken, and what to say to a person whose file has others."""

    least: int
    most: int
    remedy: str

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        return np.dtype(np.uint32 if self.most <= MAX_ID else np.uint64)


FOR_NAMES = "Names are no ids: give each user a number, and write those."
ANY_IDS = IdRange(0, 2**64 - 1, "")
USER_IDS = IdRange(
    1, MAX_ID, f" With --renumber, whole numbers from 0 to {ANY_IDS.most:,} are taken, and numbered anew from 1."
)


@dataclass(frozen=True)
class Reading:
    """One file that is read: which columns and ids are asked for, and what there is to say of it in the end."""

    path: Path
    columns: Columns | None = None
    ids: IdRange = USER_IDS
    notes: list[str] = field(default_factory=list)
    """Sentences for a person."""

    def picked(self, place: str | None, count: int, names: Sequence[str] | None, first_two: bool) -> Picked:
        """Return which of the columns there are the pair (see `pick`); BadFile where nothing says so."""
        try:
            return pick(count, names, self.columns, first_two)
        except Unclear as error:
            raise self.bad(place, str(error)) from error

    def ids_of(self, columns: Sequence[npt.NDArray[Any]], row: int) -> Ids:
        """Join two columns of whole numbers; BadFile for the first that is no id. The first row is `row`."""
        wrong = [(column < self.ids.least) | (column > self.ids.most) for column in columns]
        if (rows := np.flatnonzero(wrong[0] | wrong[1])).size:
            at = int(rows[0])
            raise self.bad_id(f"row {row + at:,}", columns[0 if wrong[0][at] else 1][at])
        return np.stack([column.astype(self.ids.dtype) for column in columns], axis=1)

    def bad_id(self, place: str, shown: object, hint: str = "", is_name: bool = False) -> BadFile:
        """Return the error for what stands where an id should; `place` is such as "line 7"."""
        kind = f"a whole number from {self.ids.least} to {self.ids.most:,}"
        remedy = f" {FOR_NAMES}" if is_name else self.ids.remedy
        return self.bad(place, f"an id is {kind}, not {shown}.{hint}{remedy}")

    def bad(self, place: str | None, sentence: str) -> BadFile:
        """Return the error for something else that is wrong there, or with the whole file."""
        where = f"{self.path}, {place}" if place else str(self.path)
        return BadFile(f"{where}: {sentence} Nothing was taken.")
