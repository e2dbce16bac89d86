"""Values that were counted, as in a histogram: which of them a share of all does not exceed. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.integer[Any]] | npt.NDArray[np.floating[Any]]


def values_at(
    shares: Sequence[float] | npt.NDArray[np.float64], values: Numbers, counts: Numbers
) -> npt.NDArray[np.float64] | None:
    """Return for each share (0 to 1) the least value that so many do not exceed; None when nothing was counted.

    `values` ascend, and `counts` says how often each of them occurred.
    """
    total = counts.sum()
    if not total:
        return None
    ranks = np.ceil(np.asarray(shares) * total).clip(1, total)
    found: npt.NDArray[np.float64] = values[np.searchsorted(np.cumsum(counts), ranks)].astype(np.float64)
    return found
