"""Figures of front machines: what a machine reports of its fronts' ledger, and its row of the router's ledger.

In: at a machine its ledger, and when the order for each tick came; at the router a `Figures`. Out: `Figures`, and a row
of the router's ledger, so that `GET /stats` adds machines up as it adds up fronts. A machine counts from its start:
what an earlier start of the same machine had counted is kept, but for what is open. Times of ticks are told from when
the order came, and taken from when it was sent, so that they do not depend on the machine's clock; what the order was
on its way is missing from them. Fails: nothing; names and indexes that this version does not know are passed over.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.ledger import TICKS, Ledger
from floodtest.server_under_test.cluster.dialogue import Figures
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER

TICKS_TOLD = 8
"""The last ticks that a report tells of."""

NOT_TOLD = ("turn", "ticks")
"""What is about turns of one bus, and what is told in another way."""

_FIELDS = {name: FRONT_LEDGER[name].shape for name in FRONT_LEDGER.names or () if name not in NOT_TOLD}


def counters_of(ledger: Ledger) -> dict[str, int]:
    """Return what all fronts have counted, as far as it is not 0."""
    totals = {name: int(ledger.total(name)) for name, shape in _FIELDS.items() if not shape}
    return {name: total for name, total in totals.items() if total}


def tables_of(ledger: Ledger) -> dict[str, dict[int, int]]:
    """Return what all fronts have counted in tables, as far as it is not 0."""
    tables = {name: ledger.total(name) for name, shape in _FIELDS.items() if shape}
    return {
        name: {at: int(table[at]) for at in np.flatnonzero(table).tolist()}
        for name, table in tables.items()
        if table.any()
    }


def ticks_of(ledger: Ledger, came: dict[int, int]) -> list[tuple[int, int, int, int]]:
    """Return the last ticks; `came` says when the order for each came, in nanoseconds of CLOCK_MONOTONIC."""
    told = []
    for number, (sent, first, last) in sorted(ledger.ticks().items())[-TICKS_TOLD:]:
        if number in came:
            told.append((number, sent, round(first * 1e9) - came[number], round(last * 1e9) - came[number]))
    return told


class MachineRow:
    """The row of a router's ledger that is one machine's."""

    def __init__(self, row: npt.NDArray[Any]) -> None:
        self._row = row
        self._before = row.copy()  # what earlier starts of it have counted

    def begin(self) -> None:
        """Begin with a machine that has started anew."""
        self._row["open"] = 0
        self._before = self._row.copy()

    def take(self, figures: Figures, sent: dict[int, int]) -> None:
        """Take over what a machine says; `sent` says when the order for each tick was sent, in nanoseconds."""
        for name, shape in _FIELDS.items():
            if not shape:
                self._row[name] = self._before[name] + figures.counters.get(name, 0)
                continue
            self._row[name] = self._before[name]
            for at, count in figures.tables.get(name, {}).items():
                if 0 <= at < shape[0]:
                    self._row[name][0, at] += count
        for number, count, first, last in figures.ticks:
            if number in sent:
                self._row["ticks"][0, number % TICKS] = number, count, sent[number] + first, sent[number] + last

    @property
    def connections(self) -> int:
        """How many are open."""
        return int(self._row["open"][0])

    def lose(self) -> None:
        """Let nobody be connected."""
        self._row["open"] = 0
