"""By how much the controller's clock is ahead of a host's, from echoes over the connection that there is anyway.

In: for each echo when it was sent and when its answer came, by the controller's CLOCK_MONOTONIC, and what the host's
said in between. Out: the offset that the quickest echo tells, with its bound: half of what that took. Pure.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Echo(NamedTuple):
    """Seconds: sent and answered by the controller's clock, and the host's time in between."""

    sent: float
    answered: float
    theirs: float

    @property
    def took(self) -> float:
        return self.answered - self.sent


class Offset(NamedTuple):
    """The controller's clock is ahead by so many seconds, give or take `bound`."""

    ahead: float
    bound: float


SAME_CLOCK = Offset(0.0, 0.0)


def offset_of(echoes: Iterable[Echo]) -> Offset:
    """Return what the quickest of some echoes tells; there has to be one."""
    best = min(echoes, key=lambda echo: echo.took)
    return Offset(best.sent + best.took / 2 - best.theirs, best.took / 2)
