"""What a batch of reads says, by the column: sums over all of them, and a row for each numbered message. Pure.

In: reads of open connections in the order they were made. Out: `Digest`. Reads that are alike are parsed once, whoever
they came for (a tick sends the same bytes to thousands); those that are one stamped message each are taken apart as a
matrix (see `wire.stamped`); the others one by one. What can't be judged by itself is left to the caller: the reads
of a connection that is, or gets, in the middle of a chunk, or that ends.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from floodtest.wire.parsing import Messages, parse_messages, read_messages
from floodtest.wire.stamped import Stamped, read_stamped

SAMPLE = 64
KINDS = 8
"""If more than so many of the first reads are different, these are messages to single users, and no ticks."""

MANY = 32
"""Reads that are alike from which on numpy is worth its price."""

Ints = npt.NDArray[np.int64]
Columns = tuple[Ints, Ints, Ints]


class Reads:
    """What was read from open connections: descriptors, bytes, and when (CLOCK_MONOTONIC, ns)."""

    def __init__(self) -> None:
        self.fds: list[int] = []
        self.data: list[bytes] = []
        self.size = 0
        """Bytes."""
        self._sweeps: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self.fds)

    def add(self, fds: list[int], data: list[bytes], began: int, ended: int) -> None:
        """Add what one sweep read, one descriptor after another, between two times."""
        if fds:
            self.fds += fds
            self.data += data
            self.size += sum(map(len, data))
            self._sweeps.append((len(fds), began, ended))

    @property
    def first(self) -> int:
        return self._sweeps[0][1]

    @property
    def last(self) -> int:
        return self._sweeps[-1][2]

    def times(self) -> Ints:
        """Return when each was read: reads of a sweep take equally long."""
        return np.concatenate(
            [began + (ended - began) * np.arange(1, count + 1) // count for count, began, ended in self._sweeps]
        )


class Digest:
    """Sums, and columns of numbered and of stamped messages."""

    def __init__(self) -> None:
        self.chunks = 0
        self.messages = 0
        """Numbered ones that are no ticks."""
        self.ticks: Counter[int] = Counter()
        self.left: list[int] = []
        """Indexes of the reads that were left to the caller, in order."""
        self._numbered: list[Columns] = []
        self._stamped: list[Columns] = []
        self._numbered_rows: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._stamped_rows: tuple[list[int], list[int], list[int]] = ([], [], [])

    def add(self, messages: Messages, fds: Sequence[int], indexes: Sequence[int]) -> None:
        """Add messages that each of the descriptors got, by the read of that index."""
        times, width = len(fds), len(messages.numbers)
        self.chunks += messages.count * times
        self.messages += (width - len(messages.ticks)) * times
        for number in messages.ticks:
            self.ticks[number] += times
        if width == 1 and times >= MANY:
            first = np.array(indexes, np.int64) << 32
            self._numbered.append((np.array(fds, np.int64), np.full(times, messages.numbers[0]), first))
        elif width:
            for fd, index in zip(fds, indexes, strict=True):
                self._numbered_rows[0].extend([fd] * width)
                self._numbered_rows[1].extend(messages.numbers)
                self._numbered_rows[2].extend(range(index << 32, (index << 32) + width))
        for planned, late in messages.stamps:
            self._stamped_rows[0].extend(indexes)
            self._stamped_rows[1].extend([planned] * times)
            self._stamped_rows[2].extend([late] * times)

    def add_stamped(self, stamped: Stamped, fds: Ints) -> None:
        """Add stamped messages; `fds` are the descriptors of all reads, by their index."""
        self.chunks += len(stamped.index)
        self.messages += len(stamped.index)
        self._numbered.append((fds[stamped.index], stamped.number, (stamped.index << 32) + stamped.place))
        self._stamped.append((stamped.index, stamped.planned, stamped.late))

    def numbered(self) -> Columns:
        """Return columns: descriptor, `#n`, and what ascends with the order in which a descriptor's were read."""
        return _joined(self._numbered, self._numbered_rows)

    def stamped(self) -> Columns:
        """Return columns: index of the read, planned time in ns, and lateness in µs."""
        return _joined(self._stamped, self._stamped_rows)


def _joined(pieces: list[Columns], rows: tuple[list[int], list[int], list[int]]) -> Columns:
    """Put the pieces and the rows below each other."""
    last = [np.array(column, np.int64) for column in rows]
    first, second, third = (np.concatenate([*(piece[at] for piece in pieces), last[at]]) for at in range(3))
    return first, second, third


def digest(reads: Reads, begun: Collection[int]) -> Digest:
    """Take reads apart; `begun` are the descriptors that were in the middle of a chunk before."""
    found = Digest()
    stamped = None
    if len(set(reads.data[:SAMPLE])) > KINDS:
        stamped = read_stamped(reads.data)
        others = np.ones(len(reads), bool)
        others[stamped.index] = False
        parsed = [(parse_messages(reads.data[index]), [index]) for index in np.flatnonzero(others).tolist()]
    else:
        parsed = [(read_messages(data), indexes) for data, indexes in _kinds(reads.data).items()]
    irregular = {fd for fd in reads.fds if fd in begun} if begun else set()
    for messages, indexes in parsed:
        if not messages.whole:
            irregular.update(reads.fds[index] for index in indexes)
    for messages, indexes in parsed:
        kept = [index for index in indexes if reads.fds[index] not in irregular] if irregular else indexes
        if kept:
            found.add(messages, [reads.fds[index] for index in kept] if len(kept) < len(reads) else reads.fds, kept)
    if stamped is not None:
        fds = np.array(reads.fds, np.int64)
        if irregular:
            stamped = stamped.only(~np.isin(fds[stamped.index], list(irregular)))
        found.add_stamped(stamped, fds)
    if irregular:
        found.left = [index for index, fd in enumerate(reads.fds) if fd in irregular]
    return found


def _kinds(data: list[bytes]) -> dict[bytes, list[int]]:
    """Group the indexes of reads by their bytes."""
    if data.count(data[0]) == len(data):
        return {data[0]: list(range(len(data)))}
    kinds: dict[bytes, list[int]] = {}
    for index, read in enumerate(data):
        kinds.setdefault(read, []).append(index)
    return kinds
