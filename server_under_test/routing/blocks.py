"""How the subscribers of a subject lie in a table of the store: ascending uint32 in blocks, each of them one row.

A row's key is the subject and the block's lower bound. The first block has the bound 0, so that it is found without a
search, and its value begins with the number of all subscribers of the subject. A block has at most `BLOCK` users, which
fit into one page with LMDB's header. So one more subscriber of a subject that has a million is 4 KB to write, and which
of some users are subscribers is told by the blocks that those users would be in.

In: a transaction of LMDB (`buffers=True`) and a table. Fails: lmdb.Error, which the store explains. Nothing is kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lmdb
import numpy as np
import numpy.typing as npt

from floodtest.server_under_test.routing.subjects import Subject

Users = npt.NDArray[np.uint32]
"""Ascending, and each once."""

BLOCK = 1000
"""Users of a block at the most: 4,000 bytes."""

_START = 4
"""Bytes of a block's lower bound in a key."""


@dataclass(frozen=True)
class SubjectKey:
    """The keys of one subject: 64-bit integers of the machine for users (their table has `integerkey`), text for names.

    A name is preceded by its length, so that no name's keys begin with another name's.
    """

    subject: Subject

    def at(self, start: int) -> bytes:
        """Return the key of the block with this lower bound."""
        if isinstance(self.subject, int):
            return (self.subject << 32 | start).to_bytes(8, "little")
        name = self.subject.encode()
        return bytes([len(name)]) + name + start.to_bytes(_START, "big")

    def start_of(self, key: bytes) -> int | None:
        """Return the lower bound in a key, None if it is another subject's."""
        if isinstance(self.subject, int):
            subject, start = divmod(int.from_bytes(key, "little"), 1 << 32)
            return start if subject == self.subject else None
        return int.from_bytes(key[-_START:], "big") if key[:-_START] == self.at(0)[:-_START] else None


def is_first(key: bytes, is_of_users: bool) -> bool:
    """Return whether a key is of a first block, whose value begins with a number; the table is of users or of names."""
    return (key[:_START] if is_of_users else key[-_START:]) == bytes(_START)


class Blocks:
    """The blocks of one subject."""

    def __init__(self, txn: lmdb.Transaction, table: Any, subject: Subject) -> None:
        self._cursor = txn.cursor(table)
        self._keys = SubjectKey(subject)
        self._first = self._keys.at(0)

    def all(self) -> Users:
        """Return all subscribers."""
        found = [self._users(start) for start in self._starts()]
        return np.concatenate(found) if found else np.zeros(0, np.uint32)

    def among(self, users: Users) -> Users:
        """Return those of the users (ascending) who are subscribers."""
        found = []
        for start, part in self._parted(users):
            block = self._users(start)
            if len(block):
                at = np.searchsorted(block, part)
                at[at == len(block)] = 0
                found.append(part[block[at] == part])
        return np.concatenate(found) if found else np.zeros(0, np.uint32)

    def change(self, users: Users, combine: Callable[[Users, Users], Users]) -> tuple[int, int]:
        """Replace each block that some of the users belong to by `combine(block, these users)`.

        Returns by how many the subscribers have grown, and by how many the subjects: 1, 0 or -1.
        """
        before, head = self._size(), self._users(0)
        size = before
        for start, part in self._parted(users):
            block = head if start == 0 else self._users(start)
            after = combine(block, part)
            size += len(after) - len(block)
            pieces = np.array_split(after, max(1, -(-len(after) // BLOCK)))
            if start == 0:
                head, *pieces = pieces
            elif not len(after):
                self._cursor.set_key(self._keys.at(start))
                self._cursor.delete()
                continue
            for number, piece in enumerate(pieces):
                self._cursor.put(self._keys.at(start if start and not number else int(piece[0])), piece.tobytes())
        if size:
            self._cursor.put(self._first, np.append(np.uint32(size), head).tobytes())
        elif before:
            self._cursor.set_key(self._first)
            self._cursor.delete()
        return size - before, int(size > 0) - int(before > 0)

    def _size(self) -> int:
        """Return how many subscribers there are."""
        return int.from_bytes(self._cursor.value()[:4], "little") if self._cursor.set_key(self._first) else 0

    def _users(self, start: int) -> Users:
        """Return a copy of a block, nobody if there is none."""
        if not self._cursor.set_key(self._keys.at(start)):
            return np.zeros(0, np.uint32)
        return np.frombuffer(self._cursor.value(), np.uint32)[1 if start == 0 else 0 :].copy()

    def _starts(self) -> Iterator[int]:
        start: int | None = 0 if self._cursor.set_key(self._first) else None
        while start is not None:
            yield start
            start = self._next(start)

    def _next(self, start: int) -> int | None:
        """Return the lower bound of the block after this one, None if it is the last."""
        found = self._cursor.set_range(self._keys.at(start + 1)) if start < 2**32 - 1 else False
        return self._keys.start_of(bytes(self._cursor.key())) if found else None

    def _parted(self, users: Users) -> Iterator[tuple[int, Users]]:
        """Part users by the blocks that they belong to; yield each block's lower bound and its part."""
        at = 0
        while at < len(users):
            start = self._block_of(int(users[at]))
            end = self._next(start)
            # A bound of the column's type: for another one numpy would convert all of the column, for each block.
            stop = len(users) if end is None else int(np.searchsorted(users, np.uint32(end)))
            yield start, users[at:stop]
            at = stop

    def _block_of(self, user: int) -> int:
        """Return the lower bound of the block that a user belongs to."""
        found = self._cursor.set_range(self._keys.at(user))
        start = self._keys.start_of(bytes(self._cursor.key())) if found else None
        if start != user:
            found = self._cursor.prev() if found else self._cursor.last()
            start = self._keys.start_of(bytes(self._cursor.key())) if found else None
        return start or 0


def rows_of(subjects: npt.NDArray[np.uint32], users: Users, cuts: npt.NDArray[np.intp]) -> Iterator[tuple[bytes, Any]]:
    """Yield the rows of an empty table of users, in the order of their keys: key and value of each block.

    `users` are the subscribers of one subject after another, which begin at `cuts`; `subjects` are ascending.
    """
    sizes = np.diff(cuts, append=len(users))
    values = np.insert(users, cuts, sizes.astype(np.uint32)).data
    keys = (subjects.astype(np.uint64) << np.uint64(32)).tobytes()
    bounds = [*(cuts + np.arange(len(cuts))).tolist(), len(values)]
    first = 0
    for large in [*np.flatnonzero(sizes > BLOCK).tolist(), len(subjects)]:
        # Nearly all subjects have one block: a loop in C.
        at = bounds[first : large + 1]
        key_slices = map(slice, range(8 * first, 8 * large, 8), range(8 * first + 8, 8 * large + 8, 8))
        value_slices = map(slice, at[:-1], at[1:])
        yield from zip(map(keys.__getitem__, key_slices), map(values.__getitem__, value_slices), strict=True)
        if large < len(subjects):
            yield from _blocks_of(int(subjects[large]), values[bounds[large] : bounds[large + 1]])
        first = large + 1


def _blocks_of(subject: int, value: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the rows of a subject that has several blocks: `value` is its size, and all its subscribers."""
    key = SubjectKey(subject)
    yield key.at(0), value[: 1 + BLOCK]
    for at in range(1 + BLOCK, len(value), BLOCK):
        yield key.at(value[at]), value[at : at + BLOCK]
