"""The subscription store: who subscribed to what, durable, on LMDB.

A subject is a user's id or a name such as `photo:789`. Its subscribers are rows of sorted uint32 (see
`server_under_test.routing.blocks`): a lookup is one search in mapped memory (2 µs), the pairs are a set by
construction, and a bulk load is one sort and one append (15 million pairs in 2 s). Each call is one transaction, on
disk when it returns: after a crash at any instant the store holds what it held before the call, or after it. Several
processes may use a store; one writes at a time. A store that was made for something that then failed is removed again.
Users of a file that were numbered anew are those of no other file: the store remembers the digest of such a file, and
takes no other one.
"""

import errno
import fcntl
import hashlib
import mmap
import os
import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import numpy.typing as npt

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason
from floodtest.server_under_test.routing.blocks import Blocks, SubjectKey, Users, is_first, rows_of
from floodtest.server_under_test.routing.subjects import Subject, as_subject, as_user

FORMAT = b"2"

MAP_SIZE = 1 << 36
"""Bytes a store may grow to; LMDB reserves addresses for it, neither memory nor disk. In a process to which a limit
(`ulimit -v`) leaves fewer addresses, it may grow to less."""

_LEAST_MAP_SIZE = 1 << 20

ROOM = 1 << 20
"""A file system with fewer bytes left is full."""

AT_A_TIME = 1 << 18
"""Rows that are looked at together where all are."""

_LOCK_SIZE = 8192
"""Bytes of LMDB's lock.mdb, with the 126 readers that it has room for unless it is told otherwise."""

_NUMBERS = (errno.EIO, errno.EFBIG, errno.ENOMEM)
"""Errors of the kernel that LMDB tells in words only, and that have a reason to be looked for."""

Pairs = npt.NDArray[np.uint32] | Iterable[tuple[int, Subject]]
"""Subscriber and subject: an array of shape (n, 2) where all subjects are users, or tuples."""

_META, _USERS, _NAMES = b"meta", b"users", b"names"
_NOBODY = bytes(4)
"""The first block of a subject without subscribers, if there were one."""

_PAIRS, _SUBJECTS, _RENUMBERED = b"pairs", b"subjects", b"renumbered"


@dataclass(frozen=True)
class Lookup:
    """The subscribers of some subjects, as far as they lie in one block each."""

    users: Users
    """Of one subject after another; each subject's are ascending."""
    counts: npt.NDArray[np.intp]
    """How many each subject has in `users`; 0 for those that are large."""
    large: dict[int, int]
    """By their index the subjects that have more than one block, and how many subscribers they have."""


class Store:
    """An open store. Every method may raise Refused (the folder can't be read or written, or is full)."""

    def __init__(self, folder: Path, create: bool = False) -> None:
        """Open the store in a folder; Refused if there is none, unless `create` makes it."""
        self._folder = folder
        self._made = self._made_folder = False
        with self._explained():
            if not create and not (folder / "data.mdb").exists():
                raise Refused(f"There is no subscription store in {folder}. Make one: comet load FRIENDS --db {folder}")
            if create:
                self._made_folder = not folder.exists()
                folder.mkdir(parents=True, exist_ok=True)
                self._made = not (folder / "data.mdb").exists()
        try:
            with self._explained():
                _reserve_lock(folder / "lock.mdb")
                self._env = lmdb.open(os.fsencode(folder), map_size=map_size(), max_dbs=3)
        except BaseException:  # an interrupt as well leaves no half of a store
            self._unmake(lambda: _size(folder / "data.mdb") <= 2 * mmap.PAGESIZE)  # with which an empty one begins
            raise
        try:
            with self._explained():
                self._open(create)
        except BaseException:  # an interrupt as well leaves no half of a store
            self._unmake(lambda: not self._env.stat()["entries"])
            self._env.close()
            raise

    def _open(self, create: bool) -> None:
        names = (_META, _USERS, _NAMES)
        # Looked at and made in one transaction: a store is there whole or not at all, and made once by several at once.
        with self._env.begin(write=create) as txn:
            found = [txn.get(name) is not None for name in names]
            strange = txn.stat()["entries"] - sum(found)
            if strange or not (all(found) or (create and not any(found))):
                raise Refused(f"{self._folder} holds something else than a subscription store. Choose another --db.")
            if not any(found):
                for name in names:
                    self._env.open_db(name, txn=txn, integerkey=name == _USERS)
                meta = self._env.open_db(_META, txn=txn)
                txn.put(b"format", FORMAT, overwrite=False, db=meta)
                for count in (_PAIRS, _SUBJECTS):
                    txn.put(count, b"0", overwrite=False, db=meta)
        self._meta, self._users, self._names = (
            self._env.open_db(name, integerkey=name == _USERS, create=False) for name in names
        )
        with self._env.begin() as txn:
            version = txn.get(b"format", b"?", db=self._meta)
        if version != FORMAT:
            raise Refused(
                f"The subscription store {self._folder} has format {version.decode(errors='replace')}, and this comet "
                f"reads {FORMAT.decode()}. Load it anew into another --db."
            )

    def _unmake(self, is_empty: Callable[[], bool]) -> None:
        """Remove the store if it was made here, is empty, and nobody else has it open."""
        if not self._made:
            return
        data, lock = self._folder / "data.mdb", self._folder / "lock.mdb"
        with suppress(OSError, lmdb.Error, Refused), open(lock, "ab") as file:
            # The lock by which LMDB tells who has a store open: those who have share it, those who come wait for it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
            if is_empty():
                data.unlink(missing_ok=True)
                if self._made_folder:  # otherwise the lock stays: who waits for it goes on in the folder
                    lock.unlink()
                    self._folder.rmdir()

    def _reason(self, error: Exception) -> str:
        if isinstance(error, lmdb.MapFullError | lmdb.MapResizedError):
            size = self._env.info()["map_size"]
            if size >= MAP_SIZE:
                return f"it is full, at {size >> 30} GiB"
            return f"this process has addresses for {size >> 20:,} MiB of it, and it takes more: raise ulimit -v"
        words = (error.strerror if isinstance(error, OSError) else None) or str(error).rpartition(": ")[2]
        number = next((number for number in _NUMBERS if os.strerror(number) == words), None)
        if number == errno.EIO:  # what LMDB says of a write that was cut short
            number = _what_cuts_short(self._folder) or number
        return words if number is None else reason(OSError(number, os.strerror(number)))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (lmdb.Error, OSError) as error:
            why = self._reason(error)
            raise Refused(f"The subscription store {self._folder} can't be used: {why}. It is as it was.") from error

    def add_subscriptions(self, pairs: Pairs) -> int:
        """Add (subscriber, subject) pairs, durably, and return how many were new; BadSubject for a wrong one."""
        return self._change(pairs, _union)

    def add_file(self, pairs: Pairs, originals: npt.NDArray[np.uint64] | None) -> int:
        """Add all pairs of a file, whose users had the ids `originals` before they were numbered anew, if they were.

        Refused for another file than the one that a store's users were numbered anew by: a number is somebody else in
        it, so that people would be merged. That one may be loaded again, after a load that was killed in the end.
        """
        numbered = None if originals is None else _digest(pairs, originals)
        return self._change(pairs, _union, lambda txn: self._refuse_to_merge(txn, numbered))

    def _refuse_to_merge(self, txn: lmdb.Transaction, numbered: bytes | None) -> None:
        is_empty = int(bytes(txn.get(_PAIRS, b"0", db=self._meta))) == 0
        before = txn.get(_RENUMBERED, db=self._meta)
        if not is_empty and numbered != (None if before is None else bytes(before)):
            whose = "the users of this file" if numbered is not None else "its users"
            raise Refused(
                f"The store {self._folder} has subscriptions already, and {whose} were numbered anew: one number would "
                "be two users. Load the file into another --db, or load one file that has all pairs."
            )
        if numbered is not None:
            txn.put(_RENUMBERED, numbered, db=self._meta)
        else:
            txn.delete(_RENUMBERED, db=self._meta)

    def remove_subscriptions(self, pairs: Pairs) -> int:
        """Remove (subscriber, subject) pairs, durably, and return how many there were; BadSubject for a wrong one."""
        return -self._change(pairs, _difference)

    def _change(
        self,
        pairs: Pairs,
        combine: Callable[[Users, Users], Users],
        check: Callable[[lmdb.Transaction], None] = lambda txn: None,
    ) -> int:
        changes = _changes(pairs)
        grown = subjects = 0
        with self._explained(), self._env.begin(write=True, buffers=True) as txn:
            check(txn)
            if combine is _union and not txn.stat(self._users)["entries"]:
                txn.cursor(self._users).putmulti(changes.rows_of_users(), append=True)
                grown, subjects = len(changes.users), len(changes.cuts)
                of_users: Iterable[tuple[Subject, Users]] = ()
            else:
                of_users = changes.of_users()
            for table, each in ((self._users, of_users), (self._names, changes.of_names)):
                for subject, users in each:
                    more, new = Blocks(txn, table, subject).change(users, combine)
                    grown, subjects = grown + more, subjects + new
            self._count(txn, _PAIRS, grown)
            self._count(txn, _SUBJECTS, subjects)
        return grown

    def _count(self, txn: lmdb.Transaction, name: bytes, growth: int) -> None:
        """Add to a count of the store."""
        txn.put(name, b"%d" % (int(bytes(txn.get(name, b"", db=self._meta))) + growth), db=self._meta)

    def subscribers(self, subject: Subject) -> Users:
        """Return the users who subscribed to a subject, ascending; BadSubject for a wrong one."""
        about = as_subject(subject)
        with self._explained(), self._env.begin(buffers=True) as txn:
            return Blocks(txn, self._table_of(about), about).all()

    def subscribers_among(self, users: Users, subject: Subject) -> Users:
        """Return those of some users, who are ascending, that subscribed to a subject; cost follows the users."""
        with self._explained(), self._env.begin(buffers=True) as txn:
            return Blocks(txn, self._table_of(subject), subject).among(users)

    def _table_of(self, subject: Subject) -> Any:
        return self._users if isinstance(subject, int) else self._names

    def lookup(self, subjects: Sequence[Subject], most: int | None = None) -> Lookup:
        """Look subjects up in one view of the store.

        All of the subjects, or as many of the first ones as have `most` subscribers together, but one at least.
        """
        left = float("inf") if most is None else 4 * most
        rows: list[memoryview | bytes] = []
        with self._explained(), self._env.begin(buffers=True) as txn:
            get, users, names = txn.get, self._users, self._names
            for subject in subjects:
                if isinstance(subject, int):
                    row = get((subject << 32).to_bytes(8, "little"), _NOBODY, db=users)
                else:
                    row = get(SubjectKey(subject).at(0), _NOBODY, db=names)
                left -= len(row) - 4  # bytes of the number that begins a first block
                if left < 0 and rows:
                    break
                rows.append(row)
            joined = np.frombuffer(b"".join(rows), np.uint32)
            lengths = np.fromiter(map(len, rows), np.intp, len(rows)) // 4
        return _lookup(joined, lengths)

    def counts(self) -> tuple[int, int]:
        """Return how many subjects have subscribers, and how many pairs there are."""
        with self._explained(), self._env.begin() as txn:
            subjects, pairs = (int(txn.get(name, b"", db=self._meta)) for name in (_SUBJECTS, _PAIRS))
            return subjects, pairs

    def users(self) -> Users:
        """Return all who subscribe, and those who are subscribed to, each once, ascending."""
        found = np.zeros(0, np.uint32)
        with self._explained(), self._env.begin() as txn:  # a million small rows are copied faster than they are mapped
            for database, is_of_users in ((self._users, True), (self._names, False)):
                rows = iter(txn.cursor(database))
                while some := list(islice(rows, AT_A_TIME)):
                    ids = [row[4:] if is_first(key, is_of_users) else row for key, row in some]
                    ids += [key[4:] for key, _ in some] if is_of_users else []
                    found = _union(found, np.frombuffer(b"".join(ids), np.uint32))
        return found

    def close(self) -> None:
        """Close it; what was added is on disk already."""
        self._env.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            self._unmake(lambda: self.counts() == (0, 0))
        self.close()


def _reserve_lock(lock: Path) -> None:
    """Have room on the disk for LMDB's table of readers.

    LMDB maps it as a sparse file, and writing to a page that a full disk has no room for is a SIGBUS.
    """
    try:
        with open(lock, "ab") as file:
            os.posix_fallocate(file.fileno(), 0, _LOCK_SIZE)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        # What else is wrong LMDB says, as far as it is: a store that may only be read has no need of this.


def map_size() -> int:
    """Return MAP_SIZE, or half of the most that this process can still map: the other half is for what is loaded."""
    size = MAP_SIZE
    while size > _LEAST_MAP_SIZE and not _can_map(size):
        size >>= 1
    return size if size == MAP_SIZE else max(size >> 1, _LEAST_MAP_SIZE)


def _can_map(size: int) -> bool:
    try:
        mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ).close()  # takes no memory
    except OSError:
        return False
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _what_cuts_short(folder: Path) -> int | None:
    """Return the errno of what lets a write to the store end early: a full disk, or the limit of a file's size."""
    with suppress(OSError):
        room = os.statvfs(folder)
        if room.f_bavail * room.f_frsize < ROOM:
            return errno.ENOSPC
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return errno.EFBIG if 0 <= most <= _size(folder / "data.mdb") else None  # RLIM_INFINITY is -1


def _lookup(joined: npt.NDArray[np.uint32], lengths: npt.NDArray[np.intp]) -> Lookup:
    """Take first blocks apart, which stand one after another: each begins with the number of all subscribers."""
    heads = np.cumsum(lengths) - lengths
    counts = lengths - 1
    kept = np.ones(len(joined), bool)
    kept[heads] = False
    sizes = joined[heads]
    large = np.flatnonzero(sizes > counts)
    for index in large.tolist():
        kept[heads[index] : heads[index] + lengths[index]] = False
    counts[large] = 0
    return Lookup(joined[kept], counts, dict(zip(large.tolist(), sizes[large].tolist(), strict=True)))


@dataclass(frozen=True)
class _Changes:
    """Pairs by subject: of users as columns by subject and subscriber, of names one after another."""

    subjects: npt.NDArray[np.uint32]
    """One entry a subject, ascending."""
    cuts: npt.NDArray[np.intp]
    """Where the subscribers of each begin in `users`."""
    users: Users
    of_names: list[tuple[Subject, Users]]

    def rows_of_users(self) -> Iterator[tuple[bytes, Any]]:
        """Yield the rows of a table of users that has nothing but these pairs."""
        return rows_of(self.subjects, self.users, self.cuts)

    def of_users(self) -> Iterator[tuple[Subject, Users]]:
        """Yield each subject that is a user, and its subscribers."""
        for subject, (first, end) in zip(
            self.subjects.tolist(), pairwise([*self.cuts.tolist(), len(self.users)]), strict=True
        ):
            yield subject, self.users[first:end]


def _digest(pairs: Pairs, originals: npt.NDArray[np.uint64]) -> bytes:
    """Return what tells the file of these pairs, and of the ids that their users had, from all others."""
    digest = hashlib.sha256(np.ascontiguousarray(pairs).data)
    digest.update(np.ascontiguousarray(originals).data)
    return digest.hexdigest().encode()


def _changes(pairs: Pairs) -> _Changes:
    if isinstance(pairs, np.ndarray):
        if not pairs.all():
            as_user(0)  # which says what a user is
        return _Changes(*_by_subject(pairs), [])
    names: dict[str, set[int]] = {}
    numbers: list[tuple[int, int]] = []
    for subscriber, subject in pairs:
        user, about = as_user(subscriber), as_subject(subject)
        if isinstance(about, int):
            numbers.append((user, about))
        else:
            names.setdefault(about, set()).add(user)
    of_names: list[tuple[Subject, Users]] = [
        (name, np.array(sorted(users), np.uint32)) for name, users in names.items()
    ]
    return _Changes(*_by_subject(np.array(numbers, np.uint32).reshape(-1, 2)), of_names)


def _by_subject(pairs: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.intp], Users]:
    """Return the subjects, where the subscribers of each begin, and the subscribers, each pair once."""
    both = pairs[:, 1].astype(np.uint64) << np.uint64(32) | pairs[:, 0]
    both.sort()
    both = both[_first_of_equal(both)]
    subjects, users = (both >> np.uint64(32)).astype(np.uint32), both.astype(np.uint32)
    cuts = np.flatnonzero(_first_of_equal(subjects))
    return subjects[cuts], cuts, users


def _first_of_equal(ascending: npt.NDArray[np.unsignedinteger[Any]]) -> npt.NDArray[np.bool_]:
    return np.append(len(ascending) > 0, ascending[1:] != ascending[:-1])[: len(ascending)]


def _union(before: Users, users: Users) -> Users:
    both = np.concatenate([before, users])
    both.sort()
    return both[_first_of_equal(both)]


def _difference(before: Users, users: Users) -> Users:
    return before[~np.isin(before, users)]
