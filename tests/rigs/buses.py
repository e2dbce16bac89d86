"""A bus and whereabouts of plain Python, as their interfaces say: nothing is shared, nothing is fast."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from floodtest.server_under_test.routing.bus import UNNUMBERED, Column, RouterBus, Rows, Turn


class PlainBus:
    """A `RouterBus` and a `FrontBus`: a dict of turns, with rows by front."""

    def __init__(self, fronts: int) -> None:
        self.fronts = fronts
        self.last = 0
        self.taken_up = 0
        self._turns: dict[int, list[Rows]] = {}
        self._before: list[list[int]] = [[0] * fronts]

    @property
    def oldest(self) -> int:
        return min(self._turns, default=self.last + 1)

    def forget(self, before: int) -> None:
        self._turns = {number: rows for number, rows in self._turns.items() if number >= before}

    def has_room(self, rows: int, messages: int, size: int) -> bool:
        return len(self._turns) < 100

    def write(
        self,
        fds: Column,
        users: Column,
        which: Column,
        texts: list[bytes],
        cuts: npt.NDArray[np.intp],
        first: int = UNNUMBERED,
    ) -> int:
        offsets = np.cumsum([0, *map(len, texts)]).astype(np.uint32)
        rows = Rows(fds.copy(), users.copy(), which.copy(), offsets, memoryview(b"".join(texts)), first)
        self.last += 1
        self._turns[self.last] = [rows.part(slice(*cuts[front : front + 2].tolist())) for front in range(self.fronts)]
        self._before.append((np.array(self._before[-1]) + np.diff(cuts)).tolist())
        return self.last

    def take_up(self, number: int) -> None:
        self.taken_up = number

    def next(self, front: int, after: int) -> Turn | None:
        for number, rows in self._turns.items():
            if number > after and len(rows[front].fds):
                return Turn(number, self._before[number - 1][front], rows[front])
        return None

    def rows_until_last(self, front: int) -> tuple[int, int]:
        return self.last, self._before[-1][front]

    def has(self, number: int) -> bool:
        return number in self._turns


class PlainPlaces:
    """A `Places`: one front's part of a dict of users by front and descriptor."""

    def __init__(self, users: dict[tuple[int, int], int], front: int) -> None:
        self._users = users
        self._front = front

    def login(self, fds: list[int], users: list[int]) -> None:
        self._users.update({(self._front, fd): user for fd, user in zip(fds, users, strict=True)})

    def logout(self, fds: list[int]) -> None:
        for fd in fds:
            del self._users[self._front, fd]


class PlainWhereabouts:
    """A `Whereabouts` that looks at all connections for each user, and knows of them at once."""

    def __init__(self) -> None:
        self._users: dict[tuple[int, int], int] = {}

    def of_front(self, front: int) -> PlainPlaces:
        return PlainPlaces(self._users, front)

    @property
    def connections(self) -> int:
        return len(self._users)

    def catch_up(self) -> Iterator[None]:
        yield from ()

    def find(self, users: Column) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        found = [
            (row, *place) for row, user in enumerate(users.tolist()) for place, at in self._users.items() if at == user
        ]
        row, front, fd = np.array(found, np.intp).reshape(-1, 3).T
        return row, front, fd

    def connected(self) -> Column:
        return np.array(sorted(set(self._users.values())), np.uint32)


def write(bus: RouterBus, *counts: int, text: bytes = b"text") -> int:
    """Write a turn with so many rows for each front; row k is for descriptor k and user k + 1."""
    rows = np.arange(sum(counts), dtype=np.uint32)
    return bus.write(rows, rows + 1, np.zeros_like(rows), [text], np.cumsum([0, *counts]))
