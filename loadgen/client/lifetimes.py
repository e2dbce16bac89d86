"""When connections were opened and last got something: two columns by descriptor, 8 bytes a connection.

In: times (`time.monotonic`), with descriptors. Out: how long those that ended by themselves lived, and had got nothing,
on the accounts. Columns are milliseconds in 32 bits, which begin anew after 49 days: of a longer time only the
remainder is told.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from floodtest.loadgen.client.accounts import Accounts

_WRAP = 0xFFFFFFFF


class Lifetimes:
    """The times of one worker's connections."""

    def __init__(self, accounts: Accounts, files_limit: int) -> None:
        self._accounts = accounts
        self._opened_at = np.zeros(files_limit, np.uint32)
        self._last_byte = np.zeros(files_limit, np.uint32)

    def opened(self, fds: npt.NDArray[np.intp], now: float) -> None:
        """Note that connections are open, which is the first that they got."""
        self._opened_at[fds] = self._last_byte[fds] = _milliseconds(now)

    def heard(self, fds: npt.NDArray[np.intp], now: float) -> None:
        """Note that open connections got something."""
        self._last_byte[fds] = _milliseconds(now)

    def silent(self, fds: Sequence[int], now: float) -> list[float]:
        """Return for how many seconds open connections have got nothing."""
        since: list[float] = (((_milliseconds(now) - self._last_byte[fds].astype(np.int64)) & _WRAP) / 1000).tolist()
        return since

    def ended(self, fd: int, now: float) -> None:
        """Count how long a connection lived that ended by itself, and had got nothing."""
        self._accounts.lived(*((_milliseconds(now) - int(at[fd])) & _WRAP for at in (self._opened_at, self._last_byte)))


def _milliseconds(now: float) -> int:
    return int(now * 1000) & _WRAP
