"""The bus between the router and its fronts: what the router needs of one, and what a front needs of it.

The router makes turns. A turn is some texts, and a row for each delivery: the connection, by its front and that front's
number for it (its descriptor), the user it is for, and which text. Texts may be numbered, one after another through all
turns, or replays: what one connection has missed, as a whole (see `Replay`). Both numbers are those that the router's
`Whereabouts` gave it, so that a bus and whereabouts belong together. A front looks again, before it writes, whether the
connection is still that user's; a bus whose fronts find a user's connections by themselves need not carry descriptors.

In: one turn after another, within `ROWS`, `MESSAGES` and `TEXTS`; the rows of a front together, those of a connection
next to each other and in their order. Out: each front reads the turns that have rows of its own, in their order, each
once at the most. Bounded: a turn is written only where `has_room` said that there is room, so that writing never waits;
turns stay until the router forgets them. Fails: nothing here does, and no side waits here for the other. How far the
fronts have come is told beside the bus, as two columns that `Progress` looks at: the last turn that each has written,
and how many rows it has dealt with. A turn that a front has not read when the router forgets it is lost to that front,
which then learns how many of its rows that were. `server_under_test.routing.shared_bus` is for fronts on this machine.
"""

from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from floodtest.flyweight.processes.channel import Message
from floodtest.wire.control import MAX_BATCH_BYTES

Column = npt.NDArray[np.uint32]

ROWS = 1 << 16
"""Deliveries of one turn: what the router sorts in some milliseconds, and fronts write in less than a second."""

MESSAGES = 1 << 14
"""Messages of one turn."""

TEXTS = 4 * MAX_BATCH_BYTES
"""Bytes of the texts of one turn."""


UNNUMBERED, REPLAYS = 0, -1
"""What `Rows.first` says of texts that have no numbers, and of replays."""


class Deliver(Message, frozen=True):
    """A turn has rows of yours, and so may later ones."""

    turn: int


class Replay(msgspec.Struct, frozen=True, array_like=True):
    """What the client of one connection has missed, as it is encoded to a text of a turn."""

    token: int
    """Of the request for it, by which a connection is told from an earlier one of its descriptor and user."""
    is_lost: bool
    """Whether there were messages that are not kept any more, or may have been."""
    before: int
    """The number behind which these follow: without any, that of the last message of all."""
    numbers: list[int]
    texts: list[bytes]


@dataclass(frozen=True)
class Rows:
    """Deliveries by the column: to which descriptor, of whom, which text; and where in `texts` each text begins.

    `texts` may be shared memory, the columns of what a front reads are not. Text i has the number `first + i`.
    """

    fds: Column
    users: Column
    which: Column
    offsets: Column
    texts: memoryview
    first: int = UNNUMBERED

    def part(self, part: slice) -> "Rows":
        """Return some of the rows."""
        return Rows(self.fds[part], self.users[part], self.which[part], self.offsets, self.texts, self.first)

    def copy(self) -> "Rows":
        """Return these rows with columns of their own, which stay when the bus goes on; the texts stay shared."""
        fds, users, which, offsets = (column.copy() for column in (self.fds, self.users, self.which, self.offsets))
        return Rows(fds, users, which, offsets, self.texts, self.first)

    def sizes_of(self, which: Column) -> npt.NDArray[np.intp]:
        """Return the bytes of a text for each entry."""
        return self.offsets[which + 1].astype(np.intp) - self.offsets[which]

    def texts_of(self, which: Column) -> list[memoryview]:
        """Return a text for each entry."""
        spans = map(slice, self.offsets[which].tolist(), self.offsets[which + 1].tolist())
        return list(map(self.texts.__getitem__, spans))


@dataclass(frozen=True)
class Turn:
    """What one front has to deliver of a turn; the texts are good as long as the turn is there."""

    number: int
    before: int
    """Rows of this front in all turns before."""
    rows: Rows


class RouterBus(Protocol):
    """A bus as the router has it. Turns are numbered from 1 on."""

    @property
    def fronts(self) -> int:
        """How many fronts there are; they are numbered from 0 on."""

    @property
    def last(self) -> int:
        """The number of the last turn."""

    @property
    def oldest(self) -> int:
        """The number of the first turn that is there, or else of the next one."""

    def forget(self, before: int) -> None:
        """Give up all turns before this one, whoever has not read them."""

    def has_room(self, rows: int, messages: int, size: int) -> bool:
        """Return whether there is room for a turn of so many rows and messages, whose texts have so many bytes."""

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

        The rows of front k are those from `cuts[k]` to `cuts[k + 1]`; `which` are indexes of `texts`, whose numbers
        begin with `first`.
        """

    def take_up(self, number: int) -> None:
        """Tell the fronts the number of the last message that was published, whichever users it is for."""


class FrontBus(Protocol):
    """A bus as a front has it."""

    def next(self, front: int, after: int) -> Turn | None:
        """Return the first turn that is there after that one and has rows of a front; None if there is none."""

    @property
    def taken_up(self) -> int:
        """The number of the last message of all; who logs in after this was read gets all that come later."""

    def rows_until_last(self, front: int) -> tuple[int, int]:
        """Return the last turn, and how many rows of a front were in all turns up to it."""

    def has(self, number: int) -> bool:
        """Return whether a turn is still there, so that what was copied of it before is whole."""
