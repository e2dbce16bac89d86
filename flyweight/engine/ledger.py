"""The ledger: what a worker counts, in memory that its parent reads.

One memfd holds one row for each worker of an end. A worker writes its own row, once a batch; the parent reads all rows
whenever it likes. Nothing is sent, an idle worker never wakes up to report, and what was counted outlives the worker
that counted it: after SIGKILL the row says what had happened until then.

Fields are 64-bit integers, so that none is ever seen half-written; a reader may see a row between two fields.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.shared import shared_memory

TICKS = 256
"""How many ticks a row remembers; the place of tick k is k modulo this, and the highest k has it."""

_TICK_FIELDS = ("number", "count", "first_ns", "last_ns")
TICK = np.dtype([(field, "i8") for field in _TICK_FIELDS])
"""One tick as this worker saw it: how many deliveries, and when (CLOCK_MONOTONIC) the first and the last of them."""


class Ledger:
    """A table of counters in shared memory: `rows` is a structured array with one row a worker."""

    def __init__(self, layout: np.dtype[Any], workers: int, descriptor: int | None = None) -> None:
        size = max(1, layout.itemsize * workers)
        self.descriptor, memory = shared_memory("ledger", size, descriptor)
        self.rows: npt.NDArray[Any] = np.ndarray((workers,), layout, buffer=memory)

    def row(self, worker: int) -> npt.NDArray[Any]:
        """Return a worker's own row, as an array of one."""
        return self.rows[worker : worker + 1]

    def total(self, field: str) -> Any:
        """Sum a field over all workers: a number, or an array of the field's shape."""
        return self.rows[field].sum(axis=0)

    def ticks(self) -> dict[int, tuple[int, float, float]]:
        """Return for each remembered tick: deliveries by all workers, time of the first and of the last, in seconds."""
        table = self.rows["ticks"]
        table = table[table["number"] > 0]
        numbers, place = np.unique(table["number"], return_inverse=True)
        counts, first, last = np.zeros((3, len(numbers)), np.int64)
        first += np.iinfo(np.int64).max
        np.add.at(counts, place, table["count"])
        np.minimum.at(first, place, table["first_ns"])
        np.maximum.at(last, place, table["last_ns"])
        columns = (numbers.tolist(), counts.tolist(), (first / 1e9).tolist(), (last / 1e9).tolist())
        return {number: (count, start, end) for number, count, start, end in zip(*columns, strict=True)}


class Counter:
    """One counter of a worker's row. numpy takes 1 µs to add to a field of a structured row, a memoryview 0.1."""

    def __init__(self, row: npt.NDArray[Any], field: str) -> None:
        self._cell = row[field].data

    def add(self, number: int) -> None:
        self._cell[0] += number

    def set(self, number: int) -> None:
        self._cell[0] = number

    @property
    def value(self) -> int:
        number: int = self._cell[0]
        return number


class TickTable:
    """The ticks of a worker's row."""

    def __init__(self, row: npt.NDArray[Any]) -> None:
        self._cells = row["ticks"][0].view("i8").data

    def count(self, number: int, deliveries: int, first_ns: int, last_ns: int) -> None:
        """Add deliveries of tick `number` (from 1), unless a later tick has its place.

        So the counts do not depend on the order in which ticks are counted, which a batch changes.
        """
        at = number % TICKS * len(_TICK_FIELDS)
        if number < self._cells[at]:
            return
        if self._cells[at] != number:
            self._cells[at + 1], self._cells[at + 2], self._cells[at] = 0, first_ns, number
        self._cells[at + 1] += deliveries
        self._cells[at + 3] = last_ns
