"""Who is connected where: three columns in memory that all fronts and the router share.

A *place* is one descriptor of one front: front * files + fd + 1; 0 is none. The columns: the last place of each user,
the user of each place, and the next place of the same user (two connections of one user are rare, so a chain of them
costs nothing when there are none). A front writes a login before it writes the welcome: who has been welcomed is found.

Cost: 4 bytes a user and 8 a descriptor, all of it sparse; nothing is sent, nobody is woken. Fronts write under a lock
that the kernel takes back from whoever dies. The router reads without it: what it finds may be over, so a front looks
again whether a descriptor is still that user's before it writes.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from flyweight.shared import shared_memory

Column = npt.NDArray[np.uint32]


class Whereabouts:
    """The columns, for `fronts` of at most `files` descriptors each and users up to `max_users`."""

    def __init__(self, max_users: int, fronts: int, files: int, descriptor: int | None = None) -> None:
        users, places = max_users + 1, fronts * files + 1
        size = 4 * (users + 2 * places)
        self.descriptor, memory = shared_memory("whereabouts", size, descriptor)
        self._files = files
        self._last: Column = np.frombuffer(memory, np.uint32, users)
        self._user_at: Column = np.frombuffer(memory, np.uint32, places, 4 * users)
        self._next: Column = np.frombuffer(memory, np.uint32, places, 4 * (users + places))
        # A lock belongs to an open file, and what is inherited is the same one: each of us opens its own (proc(5)).
        self._lock = os.open(f"/proc/thread-self/fd/{self.descriptor}", os.O_RDWR | os.O_CLOEXEC)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def login(self, places: Column, users: list[int]) -> None:
        """Note that these places are these users'."""
        with self._locked():
            self._user_at[places] = users
            if len(set(users)) == len(users) and not self._last[users].any():
                self._next[places] = 0
                self._last[users] = places
            else:
                for place, user in zip(places.tolist(), users, strict=True):
                    self._next[place] = self._last[user]
                    self._last[user] = place

    def logout(self, places: Column) -> None:
        """Note that these places are nobody's."""
        with self._locked():
            self._forget(places)

    def of_front(self, front: int) -> "Places":
        """Return the places of one front."""
        return Places(self, front * self._files + 1)

    def forget_front(self, front: int) -> None:
        """Log out all that a front had when it died."""
        first = front * self._files + 1
        with self._locked():
            places = (np.flatnonzero(self._user_at[first : first + self._files]) + first).astype(np.uint32)
            self._forget(places)

    def _forget(self, places: Column) -> None:
        users = self._user_at[places]
        alone = (self._last[users] == places) & (self._next[places] == 0)
        self._last[users[alone]] = 0
        for place, user in zip(places[~alone].tolist(), users[~alone].tolist(), strict=True):
            self._unlink(place, user)
        self._user_at[places] = 0

    def _unlink(self, place: int, user: int) -> None:
        column, at = self._last, user
        while (following := int(column[at])) not in (0, place):
            column, at = self._next, following
        if following:  # a front that died in the middle of a login had not come that far
            column[at] = self._next[place]  # its own stays: who reads the chain just now still has to come by

    def find(self, users: Column) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return all places of some users as three columns: index of the user, front, descriptor.

        Who has several is there several times; who is not connected, or above `max_users`, is not.
        """
        known = np.flatnonzero(users < len(self._last))
        found, rows = [], known
        places = self._last[users[known]]
        while len(rows):
            here = places != 0
            rows, places = rows[here], places[here]
            found.append((rows, places))
            places = self._next[places]
        row = np.concatenate([rows for rows, _ in found]) if found else known
        place = np.concatenate([places for _, places in found]) if found else places
        front, fd = np.divmod(place.astype(np.intp) - 1, self._files)
        return row, front, fd

    def close(self) -> None:
        """Give back the lock's descriptor."""
        os.close(self._lock)


class Places:
    """The places of one front, by descriptor."""

    def __init__(self, whereabouts: Whereabouts, first: int) -> None:
        self._whereabouts = whereabouts
        self._first = np.uint32(first)

    def login(self, fds: list[int], users: list[int]) -> None:
        """Note that these descriptors are these users'."""
        self._whereabouts.login(np.array(fds, np.uint32) + self._first, users)

    def logout(self, fds: list[int]) -> None:
        """Note that these descriptors are nobody's."""
        self._whereabouts.logout(np.array(fds, np.uint32) + self._first)
