"""Who is connected where on this machine: what each front says of its descriptors, and the index that the router makes.

A front has a column of its own in shared memory, the user of each of its descriptors (0: nobody's), and a count of
changes for each page of that column. Nobody else writes there, so that there is no lock, no call and no front that can
keep another waiting, wherever it is stopped or killed. It writes who logged in, then counts a change, then writes the
welcome: whoever has been welcomed is found by a router that has caught up (`catch_up`), which it does before each turn.

The router reads the counts, and then the pages whose count is another than when it last looked; what differs from what
it knows goes into its index, which is its own: by user the last *place* (one descriptor of one front), and by place the
next and the one before of the same user. Two connections of one user are rare, so chains cost nothing where there are
none. A front that died is forgotten by the router alone. What is found may be over, so a front looks again whether a
descriptor is still that user's before it writes.

This relies on stores being seen in the order in which they are made, and loads being made in theirs, as on x86-64;
each number is aligned, so that it is never seen half-written.

Cost: a login is two stores a batch. 4 bytes a descriptor are shared; the index takes 4 bytes a user and 4 a descriptor
of the router's process, from the first message on, and 8 more for connections that share their user. All of it is
sparse: ids may go up to a thousand million, and memory is taken, a page of it at a time, for those who have logged in.
Catching up costs what has changed, and for each page in which something has, a comparison of its 4 KiB; with a million
connections the first time takes some tens of milliseconds, in which others have turns.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.shared import shared_memory
from floodtest.flyweight.engine.sparse import sparse_column
from floodtest.server_under_test.routing.whereabouts import Column

Counts = npt.NDArray[np.int64]

PAGE_BITS = 10
PAGE = 1 << PAGE_BITS
"""Descriptors whose changes are counted together: a page of memory."""

PAGES_AT_ONCE = 64
"""Pages that the router looks at before it lets others have a turn: some milliseconds."""

FEW = 64
"""So many that one by one is quicker than by the column."""

DEPTH = 16
"""Connections of one user that are followed by the column, however few users have more."""

DENSE = 32
"""Where there are no more than so many ids for a connection, all ids are looked through for who is connected."""


def _map(fronts: int, files: int, descriptor: int | None) -> tuple[int, Column, Counts]:
    """Return the descriptor of the shared memory, and its two tables: users by front, page and place, and changes."""
    pages = -(-files // PAGE)
    stride = -(-pages // 8) * 8  # a line of the cache has changes of one front only
    size = 4 * fronts * pages * PAGE
    made, memory = shared_memory("whereabouts", size + 8 * fronts * stride, descriptor)
    users = np.frombuffer(memory, np.uint32, size // 4).reshape(fronts, pages, PAGE)
    changes = np.frombuffer(memory, np.int64, fronts * stride, size).reshape(fronts, stride)
    return made, users, changes[:, :pages]


class SharedPlaces:
    """A front's end, a `Places`: its own column, by descriptor. Nobody else writes there as long as the front lives."""

    def __init__(self, users: Column, changes: Counts) -> None:
        self._users = users
        self._changes = changes

    def login(self, fds: list[int] | Column, users: list[int] | Column) -> None:
        """Note that these descriptors are these users', or with 0 nobody's; of several of a descriptor the last."""
        self._write(fds, users)

    def logout(self, fds: list[int]) -> None:
        """Note that these descriptors, which are users', are nobody's."""
        self._write(fds, 0)

    def _write(self, fds: list[int] | Column, users: list[int] | Column | int) -> None:
        at = np.array(fds, np.intp)
        self._users[at] = users
        self._changes[at >> PAGE_BITS] += 1  # at last: who sees it sees the above


def places_of(front: int, fronts: int, files: int, descriptor: int) -> SharedPlaces:
    """Return the end of one front, by the descriptor of who has made the shared memory."""
    _, users, changes = _map(fronts, files, descriptor)
    return SharedPlaces(users[front].reshape(-1), changes[front])


class SharedWhereabouts:
    """The router's end, a `Whereabouts`: of `fronts` with at most `files` descriptors each, users up to `max_users`."""

    def __init__(self, max_users: int, fronts: int, files: int) -> None:
        self._max_users = max_users
        self.descriptor, self._shared, self._changes = _map(fronts, files, None)
        pages = self._shared.shape[1]
        self._stride = pages * PAGE  # places of a front
        self._seen = np.zeros((fronts, pages), np.int64)
        places = fronts * self._stride + 1
        # Place front * stride + fd + 1; 0 is none.
        self._known: Column = sparse_column("index of connections", places - 1, np.uint32).reshape(fronts, pages, PAGE)
        self._last: Column = sparse_column("index of users", max_users + 1, np.uint32)
        self._next: Column = sparse_column("index of connections", places, np.uint32)
        self._before: Column = sparse_column("index of connections", places, np.uint32)
        self._connected: Column | None = None
        self.connections = 0
        """How many connections there are, as far as the router has caught up."""
        self.changed: Callable[[Column, Column], object] | None = None
        """Is given what was found changed: places, numbered from 0 on, and their users, 0 for nobody."""

    @property
    def places(self) -> int:
        """How many places there are."""
        return len(self._next) - 1

    def everybody(self) -> tuple[Column, Column]:
        """Return the places that are somebody's, numbered from 0 on, and whose, as far as the router has caught up."""
        known = self._known.reshape(-1)
        places = np.flatnonzero(known)
        return places.astype(np.uint32), known[places]

    def of_front(self, front: int) -> SharedPlaces:
        """Return a front's end of it."""
        return SharedPlaces(self._shared[front].reshape(-1), self._changes[front])

    def forget_front(self, front: int) -> int:
        """Log out all that a front had when it died; return how many that were."""
        used = np.flatnonzero(self._changes[front])  # no other page has been looked at
        count = int(np.count_nonzero(self._shared[front, used]))
        self._shared[front, used] = 0
        self._changes[front, used] += 1
        return count

    def catch_up(self) -> Iterator[None]:
        """Take notice of what the fronts have changed until now; yields where others may have a turn."""
        front, page = np.nonzero(self._changes != self._seen)
        for first in range(0, len(front), PAGES_AT_ONCE):
            if first:
                yield
            some = front[first : first + PAGES_AT_ONCE], page[first : first + PAGES_AT_ONCE]
            self._seen[some] = self._changes[some]  # before the users: what changes later is seen later
            self._take_over(*some, self._shared[some])

    def _take_over(self, front: npt.NDArray[np.intp], page: npt.NDArray[np.intp], users: Column) -> None:
        """Bring the index up to date with copies of pages."""
        users[users > self._max_users] = 0  # nobody's id: it would be no index
        known = self._known[front, page]
        row, at = np.nonzero(users != known)
        if not len(row):
            return
        self._known[front, page] = users
        self._connected = None
        place = (front[row] * self._stride + page[row] * PAGE + at + 1).astype(np.uint32)
        before, after = known[row, at], users[row, at]
        if self.changed is not None:
            self.changed(place - 1, after)
        self._remove(place[before != 0], before[before != 0])
        self._add(place[after != 0], after[after != 0])

    def _add(self, places: Column, users: Column) -> None:
        """Put places before the others of their users."""
        self.connections += len(places)
        while len(places) > FEW:
            behind = self._last[users]
            self._last[users] = places  # of several of one user one stays
            first = self._last[users] == places
            self._link(places[first], behind[first])
            places, users = places[~first], users[~first]
            if np.count_nonzero(first) < FEW:
                break
        last, following, preceding = self._last.data, self._next.data, self._before.data
        for place, user in zip(places.tolist(), users.tolist(), strict=True):
            if last[user]:
                following[place], preceding[last[user]] = last[user], place
            last[user] = place

    def _link(self, places: Column, behind: Column) -> None:
        several = behind != 0
        self._next[places[several]] = behind[several]
        self._before[behind[several]] = places[several]

    def _remove(self, places: Column, users: Column) -> None:
        self.connections -= len(places)
        alone = (self._next[places] == 0) & (self._before[places] == 0)
        self._last[users[alone]] = 0
        last, following, preceding = self._last.data, self._next.data, self._before.data
        for place, user in zip(places[~alone].tolist(), users[~alone].tolist(), strict=True):
            behind, ahead = following[place], preceding[place]
            if ahead:
                following[ahead] = behind
            else:
                last[user] = behind
            if behind:
                preceding[behind] = ahead
            following[place] = preceding[place] = 0

    def find(self, users: Column) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return all places of some users as three columns: index of the user, front, descriptor.

        Who has several is there several times; who is not connected, or above `max_users`, is not.
        """
        places = self._last[np.where(users <= self._max_users, users, 0)]  # 0 is nobody's id
        rows = np.flatnonzero(places)
        places = places[rows]
        found = [(rows, places)]
        while len(rows) > (FEW if len(found) > DEPTH else 0):
            places = self._next[places]
            here = places != 0
            rows, places = rows[here], places[here]
            found.append((rows, places))
        found += [self._chain(row, place) for row, place in zip(rows.tolist(), places.tolist(), strict=True)]
        row, place = (np.concatenate(columns) for columns in zip(*found, strict=True))
        front, fd = np.divmod(place.astype(np.intp) - 1, self._stride)
        return row, front, fd

    def _chain(self, row: int, place: int) -> tuple[npt.NDArray[np.intp], Column]:
        """Return the places behind one, and as often the row of their user."""
        places = np.fromiter(self._behind(place), np.uint32)
        return np.full(len(places), row), places

    def _behind(self, place: int) -> Iterator[int]:
        following = self._next.data
        while place := following[place]:
            yield place

    def connected(self) -> Column:
        """Return the users who are connected, ascending and each once; costs something when anybody came or went."""
        if self._connected is None:
            if self._max_users <= DENSE * self.connections:
                self._connected = np.flatnonzero(self._last).astype(np.uint32)
            else:
                users = self._known[self._seen != 0].reshape(-1)
                users = users[users != 0]
                users.sort()  # np.unique takes many times as long
                self._connected = users[np.append(True, users[1:] != users[:-1])[: len(users)]]
        return self._connected
