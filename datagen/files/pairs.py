"""Pairs of ids in memory, what is asked of a file that is read, and the error of one that holds no pairs."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datagen.files.columns import Columns
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

    def bad_id(self, place: str, shown: object, hint: str = "") -> BadFile:
        """Return the error for what stands where an id should; `place` is such as "line 7"."""
        return self.bad(place, f"an id is a whole number from 1 to {MAX_ID:,}, not {shown}.{hint}")

    def bad(self, place: str, sentence: str) -> BadFile:
        """Return the error for something else that is wrong there."""
        return BadFile(f"{self.path}, {place}: {sentence} Nothing was taken.")
