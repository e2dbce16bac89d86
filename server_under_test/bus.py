"""The bus: how the router's turns reach the fronts of this machine.

A turn is written once, into memory that all fronts share: its texts, and a row for each delivery, those of a front
together and those of a connection next to each other. A front is told by a short message which rows are its own, and
notes in its row of the ledger when it has written them. There are two slots, so that the next turn is made ready while
one is being written; the one after that has to wait until its slot is free. That bounds what is under way, and makes
turns as long as the load asks for: what is published meanwhile goes with the next one.

Cost: 12 bytes a delivery and the texts, of memory that is there while turns are that long.
"""

import mmap
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flyweight.channel import Message
from flyweight.shared import shared_memory
from server_under_test.limits import MAX_BATCH_BYTES

Column = npt.NDArray[np.uint32]

SLOTS = 2
ROWS = 1 << 18
"""Deliveries of one turn: what the router sorts in a tenth of a second."""

MESSAGES = 1 << 14
"""Messages of one turn."""

TEXTS = 4 * MAX_BATCH_BYTES
"""Bytes of the texts of one turn."""

_SLOT = 4 * (3 * ROWS + MESSAGES + 1) + TEXTS


class Deliver(Message, frozen=True):
    """Write the rows of a turn from `first` on, `count` of them; the turn has `messages` texts."""

    turn: int
    first: int
    count: int
    messages: int


@dataclass(frozen=True)
class Rows:
    """Deliveries by the column: to which descriptor, of whom, which text; and where in `texts` each text begins."""

    fds: Column
    users: Column
    which: Column
    offsets: Column
    texts: memoryview

    def sizes_of(self, which: Column) -> npt.NDArray[np.intp]:
        """Return the bytes of a text for each entry."""
        return self.offsets[which + 1].astype(np.intp) - self.offsets[which]

    def texts_of(self, which: Column) -> list[memoryview]:
        """Return a text for each entry."""
        spans = map(slice, self.offsets[which].tolist(), self.offsets[which + 1].tolist())
        return list(map(self.texts.__getitem__, spans))


class Bus:
    """Both ends of it; `descriptor` is what the other end has made."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor, memory = shared_memory("bus", SLOTS * _SLOT, descriptor)
        self._slots = [_Slot(memory, number * _SLOT) for number in range(SLOTS)]

    def write(self, turn: int, fds: Column, users: Column, which: Column, texts: list[bytes]) -> None:
        """Put a turn in its slot, which must be free: at most ROWS rows, MESSAGES texts of TEXTS bytes in all."""
        slot = self._slots[turn % SLOTS]
        for column, values in zip(slot.columns, (fds, users, which), strict=True):
            column[: len(values)] = values
        slot.offsets[0] = 0
        np.cumsum([len(text) for text in texts], out=slot.offsets[1 : len(texts) + 1])
        joined = b"".join(texts)
        slot.texts[: len(joined)] = joined

    def read(self, order: Deliver) -> Rows:
        """Return the rows that an order is about: views of the slot, good until the front has noted the turn."""
        slot = self._slots[order.turn % SLOTS]
        fds, users, which = (column[order.first : order.first + order.count] for column in slot.columns)
        return Rows(fds, users, which, slot.offsets[: order.messages + 1], slot.texts)


class _Slot:
    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self.columns = [np.frombuffer(memory, np.uint32, ROWS, start + 4 * ROWS * number) for number in range(3)]
        self.offsets: Column = np.frombuffer(memory, np.uint32, MESSAGES + 1, start + 12 * ROWS)
        first = start + 4 * (3 * ROWS + MESSAGES + 1)
        self.texts = memoryview(memory)[first : first + TEXTS]
