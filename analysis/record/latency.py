"""The file `latency.csv` of a record: how many messages took how long. Nothing about it is an error, only a fault."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from floodtest.analysis.record.text import read_text

COLUMNS = ("milliseconds", "planned", "published", "sampled", "arrived")
"""Milliseconds; messages that took so long from the plan, and from publishing, to the read; and of the messages whose
arrival the kernel told those that took so long from the plan to the read, and to the arrival."""

WITHOUT_SAMPLE = 3
"""Columns of a file from before there was a sample."""


@dataclass(frozen=True)
class LatencyCounts:
    """How many messages took how long."""

    rows: npt.NDArray[np.float64]
    """Shape (n, 5), in order of time: `COLUMNS`. The sample's are 0 in a record from before there was one."""
    fault: str | None = None
    """What is wrong with the file, as the end of a sentence about it; None if nothing is, or there is none."""


NONE = LatencyCounts(np.zeros((0, len(COLUMNS))))


def read_latency(path: Path) -> LatencyCounts:
    """Read the file; a last line that was cut off is left out. No rows where there is no file, or it can't be read."""
    try:
        *lines, rest = read_text(path).split("\n")
        rows = np.array([line.split(",") for line in lines[1:]], np.float64) if lines[1:] else NONE.rows
        if rows.shape[1] not in (WITHOUT_SAMPLE, len(COLUMNS)) or not np.isfinite(rows).all() or (rows < 0).any():
            return LatencyCounts(NONE.rows, "is left out, for it can't be read: its rows are not of five figures")
        rows = np.pad(rows, ((0, 0), (0, len(COLUMNS) - rows.shape[1])))
    except FileNotFoundError:
        return NONE
    except (OSError, ValueError) as error:
        return LatencyCounts(NONE.rows, f"is left out, for it can't be read: {error}")
    return LatencyCounts(rows, "was cut off: its slowest messages are missing" if rest or not lines else None)
