"""Who is connected where: three columns in memory that all fronts and the router share.

A *place* is one descriptor of one front: front * files + fd + 1; 0 is none. The columns: the last place of each user,
the user of each place, and the next place of the same user (two connections of one user are rare, so a chain of them
costs nothing when there are none); and for each front how many it has, and up to which descriptor. A front writes a
login before it writes the welcome: who has been welcomed is found.

Cost: 4 bytes a user and 8 a descriptor, all of it sparse: ids may go up to a thousand million, and memory is taken, a
page of it at a time, for those who have logged in. The kernel would give a page to who only reads one as well, and the
router looks up subscribers by the million who are not connected, so a further column says of each page of users
whether anybody of it has ever logged in. Nothing is sent, nobody is woken. Fronts write under a lock that the kernel
takes back from whoever dies. The router reads without it: what it finds may be over, so a front looks again whether a
descriptor is still that user's before it writes.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from flyweight.shared import shared_memory

Column = npt.NDArray[np.uint32]

PAGE_BITS = 10
"""A page of memory, 4 KiB, holds the last places of 2 ** 10 users."""


class Whereabouts:
    """The columns, for `fronts` of at most `files` descriptors each and users up to `max_users`."""

    def __init__(self, max_users: int, fronts: int, files: int, descriptor: int | None = None) -> None:
        users, places = max_users + 1, fronts * files + 1
        size = 4 * (users + 2 * places + 2 * fronts) + (max_users >> PAGE_BITS) + 1
        self.descriptor, memory = shared_memory("whereabouts", size, descriptor)
        self._files = files
        self._last: Column = np.frombuffer(memory, np.uint32, users)
        self._user_at: Column = np.frombuffer(memory, np.uint32, places, 4 * users)
        self._next: Column = np.frombuffer(memory, np.uint32, places, 4 * (users + places))
        self._counts: Column = np.frombuffer(memory, np.uint32, fronts, 4 * (users + 2 * places))
        self._ends: Column = np.frombuffer(memory, np.uint32, fronts, 4 * (users + 2 * places + fronts))
        self._has_logins = np.frombuffer(memory, np.bool_, offset=4 * (users + 2 * places + 2 * fronts))
        # A lock belongs to an open file, and what is inherited is the same one: each of us opens its own (proc(5)).
        self._lock = os.open(f"/proc/thread-self/fd/{self.descriptor}", os.O_RDWR | os.O_CLOEXEC)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def login(self, front: int, fds: Column, users: list[int]) -> None:
        """Note that these descriptors of a front are these users'."""
        places = fds + self._first_of(front)
        with self._locked():
            self._counts[front] += len(users)
            self._ends[front] = max(int(self._ends[front]), int(fds.max()) + 1)
            self._user_at[places] = users
            self._has_logins[np.array(users, np.uint32) >> PAGE_BITS] = True
            if len(set(users)) == len(users) and not self._last[users].any():
                self._next[places] = 0
                self._last[users] = places
            else:
                for place, user in zip(places.tolist(), users, strict=True):
                    self._next[place] = self._last[user]
                    self._last[user] = place

    def logout(self, front: int, fds: Column) -> None:
        """Note that these descriptors of a front, which are users', are nobody's."""
        with self._locked():
            self._counts[front] -= len(fds)
            self._forget(fds + self._first_of(front))

    def of_front(self, front: int) -> "Places":
        """Return the places of one front."""
        return Places(self, front)

    def _first_of(self, front: int) -> np.uint32:
        return np.uint32(front * self._files + 1)

    def forget_front(self, front: int) -> None:
        """Log out all that a front had when it died."""
        first = self._first_of(front)
        with self._locked():
            self._forget(np.flatnonzero(self._users_of(front)).astype(np.uint32) + first)
            self._counts[front] = self._ends[front] = 0

    def _users_of(self, front: int) -> Column:
        """Return the user of each descriptor of a front, as far as it has had any: 0 for those that have none."""
        first = int(self._first_of(front))
        return self._user_at[first : first + int(self._ends[front])]

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
        known = known[self._has_logins[users[known] >> PAGE_BITS]]
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

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return int(self._counts.sum())

    def connected(self) -> Column:
        """Return the users who are connected, ascending and each once: a sort, of as many as are connected."""
        if not self.connections:
            return np.zeros(0, np.uint32)
        users = np.concatenate([self._users_of(front) for front in np.flatnonzero(self._counts).tolist()])
        users.sort()  # np.unique takes many times as long
        first: Column = users[(users != 0) & np.append(True, users[1:] != users[:-1])[: len(users)]]
        return first

    def close(self) -> None:
        """Give back the lock's descriptor."""
        os.close(self._lock)


class Places:
    """The places of one front, by descriptor."""

    def __init__(self, whereabouts: Whereabouts, front: int) -> None:
        self._whereabouts = whereabouts
        self._front = front

    def login(self, fds: list[int], users: list[int]) -> None:
        """Note that these descriptors are these users'."""
        self._whereabouts.login(self._front, np.array(fds, np.uint32), users)

    def logout(self, fds: list[int]) -> None:
        """Note that these descriptors, which are users', are nobody's."""
        self._whereabouts.logout(self._front, np.array(fds, np.uint32))
