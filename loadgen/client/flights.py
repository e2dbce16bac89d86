"""Connections in flight: those of a worker that are begun and not open yet, and until when each may take.

In: descriptors as they are begun, and as they open. Out: whose time is over; which of what was read is of them; and on
the accounts how long those took that got so far. Cost: an entry of a dict for each, as long as it is in flight.
"""

from collections import Counter
from collections.abc import Callable
from itertools import compress, repeat, takewhile

from floodtest.loadgen.client.accounts import Accounts

Row = tuple[list[int], list[bytes]]
"""Descriptors, and what was read of each."""


class Flights(dict[int, float]):
    """Deadline (`time.monotonic`) of each, oldest first: `timeout` seconds after it was begun."""

    def __init__(self, accounts: Accounts, timeout: float, may_be_held: Callable[[int], bool] | None = None) -> None:
        """`may_be_held`: whether one is a poll that will be open before long as held: the server has as much time to
        answer one that was written late, so that its deadline ends nothing. None: there are no polls.
        """
        super().__init__()
        self._may_be_held = may_be_held or (lambda fd: False)
        self._accounts = accounts
        self._timeout = timeout

    def begin(self, fds: list[int], deadline: float) -> float:
        """Add some; return when they were begun."""
        self.update(zip(fds, repeat(deadline), strict=False))
        return deadline - self._timeout

    def took(self, fd: int, now: float) -> int:
        """Return the microseconds since one of them was begun."""
        return self._since_begun(self[fd], now)

    def _since_begun(self, deadline: float, now: float) -> int:
        return int((now - deadline + self._timeout) * 1e6)

    def open(self, fds: list[int], now: float, are_first: bool) -> None:
        """Take out what is open by now; `are_first`: the first bytes of their answers came now as well."""
        deadlines = list(map(self.pop, fds))
        is_one_batch = deadlines.count(deadlines[0]) == len(deadlines)  # nearly always; Counter takes 7 µs
        counts = {deadlines[0]: len(deadlines)} if is_one_batch else Counter(deadlines)
        for deadline, count in counts.items():
            took = self._since_begun(deadline, now)
            self._accounts.open.count(took, count)
            if are_first:
                self._accounts.first_byte.count(took, count)

    def apart(self, fds: list[int], read: list[bytes]) -> tuple[Row, Row]:
        """Tell what was read of those in flight from what was read of others."""
        if all(map(self.__contains__, fds)):
            return (fds, read), ([], [])
        is_flying = [fd in self for fd in fds]
        is_other = [not one for one in is_flying]
        return (
            (list(compress(fds, is_flying)), list(compress(read, is_flying))),
            (list(compress(fds, is_other)), list(compress(read, is_other))),
        )

    def overdue(self, now: float) -> list[int]:
        """Return those whose deadline has passed."""
        passed = [fd for fd, _ in takewhile(lambda flying: flying[1] <= now, self.items())]
        return [fd for fd in passed if not self._may_be_held(fd)]

    def due(self, now: float) -> float:
        """Return the first deadline that is to come, or that has passed without an end; infinite: there is none."""
        for fd, deadline in self.items():
            if deadline > now or not self._may_be_held(fd):
                return deadline
        return float("inf")
