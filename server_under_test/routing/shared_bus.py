"""The bus of fronts on this machine: a log of the router's turns, in memory that all of them share.

A turn is written once: its texts, and a row for each delivery, those of a front together and those of a connection next
to each other. A front is told by a short message that there is something new, reads the turns with rows of its own, and
notes in its row of the ledger up to which turn it has written. Turns stay until their memory is needed, so that a front
that is slow reads its turns when it gets round to them and nobody waits for it; a front that was given up may find that
some are gone. It then knows how many of its rows were in them, by a count that each turn brings.

A turn may be overwritten while a front that was given up reads it. So nothing that is shared is used before it is known
to be whole, least of all as an index: a front first makes copies, then asks whether the turn is still there (`has`),
and only then uses them. What `next` returns is copied and asked for already, but for the texts, which are not small:
who copies texts asks before writing them. The router says that a turn is gone before it touches it. That relies on
stores being seen in the order in which they are made, and loads being made in theirs, as on x86-64; each number here is
aligned, so that it is never seen half-written.

Cost: 12 bytes a delivery and the texts, and as much again, without the texts, for what a front copies of one turn. What
is written begins at the same place again whenever all has been read, so that only as much memory is used as is under
way.
"""

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.shared import shared_memory
from floodtest.server_under_test.routing.bus import UNNUMBERED, Column, Rows, Turn

TURNS = 2048
"""Turns that are remembered, at the most."""

MEMORY = 48 << 20
"""Bytes of all turns that are there: two of the largest, and as much again of usual ones."""


class SharedBus:
    """A `RouterBus` and a `FrontBus`, for so many fronts; `descriptor` is what the other end has made."""

    def __init__(self, fronts: int, descriptor: int | None = None) -> None:
        self.fronts = fronts
        self._entry = np.dtype(
            [
                ("number", "i8"),
                ("start", "i8"),
                ("rows", "i8"),
                ("messages", "i8"),
                ("first", "i8"),
                ("cuts", "i8", (fronts + 1,)),
                ("before", "i8", (fronts,)),
            ]
        )
        head = 24 + TURNS * self._entry.itemsize
        self.descriptor, memory = shared_memory("bus", head + MEMORY, descriptor)
        self._ends = np.frombuffer(memory, np.int64, 3)  # the oldest turn that is there, the last, and `taken_up`
        self._turns: npt.NDArray[Any] = np.ndarray((TURNS,), self._entry, memory, 24)
        self._memory = memoryview(memory).cast("B")[head:]
        self._there: deque[tuple[int, int, int]] = deque()  # turns: number, where each begins, and ends
        self._before = np.zeros(fronts, np.int64)
        if descriptor is None:
            self._ends[:] = 1, 0, 0

    @property
    def last(self) -> int:
        """The number of the last turn; they are numbered from 1 on."""
        return int(self._ends[1])

    @property
    def taken_up(self) -> int:
        """The number of the last message of all."""
        return int(self._ends[2])

    # The router's end.

    @property
    def oldest(self) -> int:
        """The number of the first turn that is there, or else of the next one."""
        return int(self._ends[0])

    def take_up(self, number: int) -> None:
        """Tell the fronts that this is the number of the last message of all."""
        self._ends[2] = number

    def forget(self, before: int) -> None:
        """Let the memory of all turns before this one be used again."""
        while self._there and self._there[0][0] < before:
            self._there.popleft()
        self._ends[0] = self._there[0][0] if self._there else self.last + 1

    def has_room(self, rows: int, messages: int, size: int) -> bool:
        """Return whether there is room for a turn of so many rows and messages, whose texts have so many bytes."""
        return len(self._there) < TURNS and self._place(_bytes_of(rows, messages, size)) is not None

    def write(
        self,
        fds: Column,
        users: Column,
        which: Column,
        texts: list[bytes],
        cuts: npt.NDArray[np.intp],
        first: int = UNNUMBERED,
    ) -> int:
        """Write a turn, for which there must be room; return its number.

        The rows of front k are those from `cuts[k]` to `cuts[k + 1]`; the texts are numbered from `first` on.
        """
        sizes = np.cumsum([0, *map(len, texts)])
        length = _bytes_of(len(fds), len(texts), int(sizes[-1]))
        start = self._place(length)
        assert start is not None
        number = self.last + 1
        rows = self._rows(start, len(fds), len(texts))
        rows.fds[:], rows.users[:], rows.which[:], rows.offsets[:] = fds, users, which, sizes
        rows.texts[: int(sizes[-1])] = b"".join(texts)
        self._turns[number % TURNS] = (number, start, len(fds), len(texts), first, cuts, self._before)
        self._before += np.diff(cuts)
        self._there.append((number, start, start + length))
        self._ends[1] = number  # at last: a front that sees it sees all of the above
        return number

    def _place(self, length: int) -> int | None:
        """Return where so many bytes can be written without touching a turn that is there."""
        if not self._there:
            return 0 if length <= MEMORY else None
        begin, end = self._there[0][1], self._there[-1][2]
        if end > begin:
            return end if end + length <= MEMORY else 0 if length < begin else None
        return end if end + length < begin else None

    # A front's end.

    def next(self, front: int, after: int) -> Turn | None:
        """Return the first turn that is there after that one and has rows of a front; None if there is none."""
        oldest, last, _ = self._ends.tolist()
        for number in range(max(after + 1, oldest), last + 1):
            entry = self._turns[number % TURNS].copy()
            first, end = entry["cuts"][front : front + 2].tolist()
            if first < end and self.has(number):
                shape = (int(entry[name]) for name in ("start", "rows", "messages", "first"))
                rows = self._rows(*shape)
                rows = rows.part(slice(first, end)).copy()
                if self.has(number):
                    return Turn(number, int(entry["before"][front]), rows)
        return None

    def rows_until_last(self, front: int) -> tuple[int, int]:
        """Return the last turn, and how many rows of a front were in all turns up to it."""
        while True:
            last = self.last
            entry = self._turns[last % TURNS].copy()
            if self.last < last + TURNS - 1:  # otherwise the router may have begun to write another turn there
                first, end = entry["cuts"][front : front + 2].tolist()
                return last, int(entry["before"][front]) + end - first

    def has(self, number: int) -> bool:
        """Return whether a turn is still there, so that what was copied of it before is whole."""
        return bool(self._ends[0] <= number)

    def _rows(self, start: int, rows: int, messages: int, first: int = UNNUMBERED) -> Rows:
        """View the memory of a turn."""
        columns = [np.frombuffer(self._memory, np.uint32, rows, start + 4 * rows * number) for number in range(3)]
        offsets = np.frombuffer(self._memory, np.uint32, messages + 1, start + 12 * rows)
        fds, users, which = columns
        return Rows(fds, users, which, offsets, self._memory[start + 12 * rows + 4 * (messages + 1) :], first)


def _bytes_of(rows: int, messages: int, size: int) -> int:
    """Return the bytes that a turn takes, in whole words so that the next one is aligned."""
    return 12 * rows + 4 * (messages + 1) + -(-size // 8) * 8 + 8
