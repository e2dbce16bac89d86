"""Pairs of ids in memory, what is asked of a file that is read, and the error of one that holds no pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datagen.files.columns import Columns, Picked, Unclear, pick
from flyweight.errors import Refused

Pairs = npt.NDArray[np.uint32]
"""Of shape (n, 2)."""

MAX_ID = 2**32 - 1


class BadFile(Refused):
    """A file that holds no pairs, or that can't be read; the text names the file, and the line where there is one."""


@dataclass(frozen=True)
class Reading:
    """One file that is read: which columns of it are asked for, and what there is to say of it in the end."""

    path: Path
    columns: Columns | None = None
    notes: list[str] = field(default_factory=list)
    """Sentences for a person."""

    def picked(self, place: str | None, count: int, names: Sequence[str] | None, first_two: bool) -> Picked:
        """Return which of the columns there are the pair (see `pick`); BadFile where nothing says so."""
        try:
            return pick(count, names, self.columns, first_two)
        except Unclear as error:
            raise self.bad(place, str(error)) from error

    def pairs_of(self, columns: Sequence[npt.NDArray[Any]], row: int) -> Pairs:
        """Return two columns of whole numbers as pairs; BadFile for the first that is no id. The first row is `row`."""
        wrong = [(column < 1) | (column > MAX_ID) for column in columns]
        if (rows := np.flatnonzero(wrong[0] | wrong[1])).size:
            at = int(rows[0])
            raise self.bad_id(f"row {row + at:,}", columns[0 if wrong[0][at] else 1][at])
        return np.stack([column.astype(np.uint32) for column in columns], axis=1)

    def bad_id(self, place: str, shown: object, hint: str = "") -> BadFile:
        """Return the error for what stands where an id should; `place` is such as "line 7"."""
        return self.bad(place, f"an id is a whole number from 1 to {MAX_ID:,}, not {shown}.{hint}")

    def bad(self, place: str | None, sentence: str) -> BadFile:
        """Return the error for something else that is wrong there, or with the whole file."""
        where = f"{self.path}, {place}" if place else str(self.path)
        return BadFile(f"{where}: {sentence} Nothing was taken.")
