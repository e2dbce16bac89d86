"""Who is connected where: what the router needs to know of it, and what a front has to tell.

A front tells who logs in before it writes the welcome, so that whoever has been welcomed is found by a router that has
caught up since. It tells who has gone before it closes the connection, whose number may be given anew after that. What
the router finds may be over when a front gets to it, which is why fronts look again before they write.

In: logins and logouts, by the batch, in columns of numbers that a front has for its connections (descriptors) and of
users' ids. Out: columns of connections, each by its front and that front's number for it, which are what goes onto the
bus of the same router. Bounded by the connections that there are. Fails: neither side waits for the other, nor fails by
what it does; a front that died is logged out by who hears of its end.
`server_under_test.routing.shared_whereabouts` is for fronts on this machine.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.uint32]


class Places(Protocol):
    """A front's end: the user of each of its connections, by descriptor."""

    def login(self, fds: list[int], users: list[int]) -> None:
        """Note that these descriptors are these users'."""

    def logout(self, fds: list[int]) -> None:
        """Note that these descriptors, which are users', are nobody's."""


class Whereabouts(Protocol):
    """The router's end: an index of the connections of all fronts."""

    @property
    def connections(self) -> int:
        """How many connections there are, as far as the router has caught up."""

    def catch_up(self) -> Iterator[None]:
        """Take notice of what the fronts have told until now; yields where others may have a turn."""

    def find(self, users: Column) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return all connections of some users as three columns: index of the user, front, descriptor.

        Who has several is there several times; who is not connected is not. Id 0 is nobody's.
        """

    def connected(self) -> Column:
        """Return the users who are connected, ascending and each once."""
