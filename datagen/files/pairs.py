"""Pairs of ids in memory, and the error of a file that holds none."""

import numpy as np
import numpy.typing as npt

from flyweight.errors import Refused

Pairs = npt.NDArray[np.uint32]
"""Of shape (n, 2)."""

MAX_ID = 2**32 - 1


class BadFile(Refused):
    """A file that holds no pairs, or that can't be read; the text names the file, and the line where there is one."""
