"""Which of a target's addresses each user connects to: its own by a ring, or all of them in turn.

What a ring says is computed once, before the workers start, and is a file of the run record with 16 bits a user,
`targets.u16`, of which each worker maps the part that its share has. Out: an index into the addresses for each user.
Fails: Refused where the file can't be written.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.shared import map_shared
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason
from floodtest.loadgen.plan.plan import Share

Column = npt.NDArray[np.uint16]

_FILE = "targets.u16"
_ENTRY = np.dtype("<u2")


def write_choices(folder: Path, column: Column) -> None:
    """Write the choices of all users of the plan, in their order."""
    try:
        with open(folder / _FILE, "xb") as file:
            file.write(column.astype(_ENTRY).tobytes())
    except OSError as error:
        raise Refused(f"Can't write the run record {folder}: {reason(error)}. Name another --out.") from error


class TargetChoice:
    """The choices of a share's users, who go to `addresses` in turn where there is no column."""

    def __init__(self, addresses: int, column: Column | None, first_user: int) -> None:
        self._addresses = addresses
        self._column = column
        self._first_user = first_user
        self.is_one = addresses == 1
        """Whether there is nothing to choose."""

    @classmethod
    def of_share(cls, addresses: int, is_chosen: bool, folder: Path, share: Share) -> "TargetChoice":
        """Return the choices of a share, from the file in the record's folder if they are there."""
        if not is_chosen or not share.count:
            return cls(addresses, None, share.first_user)
        size = _ENTRY.itemsize
        with open(folder / _FILE, "r+b") as file:
            mapped = map_shared(file.fileno(), size * share.count, size * share.before)
        return cls(addresses, np.frombuffer(mapped, _ENTRY), share.first_user)

    def of(self, users: Sequence[int]) -> list[int]:
        """Return the index of each user's address, counted from 0."""
        if self._column is not None:
            found: list[int] = self._column[np.array(users, np.int64) - self._first_user].tolist()
            return found
        count = self._addresses
        return [(user - 1) % count for user in users]
