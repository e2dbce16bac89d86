"""server_under_test.routing.bus_reader: one front's way through the turns of whatever bus it is."""

import os
from collections.abc import Iterator

import pytest

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.routing.bus import Deliver, Turn
from floodtest.server_under_test.routing.bus_reader import Reader
from floodtest.server_under_test.routing.shared_bus import SharedBus
from tests.rigs.buses import PlainBus, write

FRONTS = 3

AnyBus = SharedBus | PlainBus


@pytest.fixture(params=[SharedBus, PlainBus])
def bus(request: pytest.FixtureRequest) -> Iterator[AnyBus]:
    made: AnyBus = request.param(FRONTS)
    yield made
    if isinstance(made, SharedBus):
        os.close(made.descriptor)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    made = Ledger(FRONT_LEDGER, FRONTS)
    yield made
    os.close(made.descriptor)


def figures(ledger: Ledger) -> tuple[int, int]:
    """Return the last turn that is written, and how many rows were undeliverable."""
    return int(ledger.total("turn")), int(ledger.total("undeliverable"))


def finish(reader: Reader, turn: Turn | None) -> int:
    assert turn is not None
    reader.deal_with(len(turn.rows.fds))
    reader.finish(turn)
    return turn.number


def test_a_front_that_is_told_once_writes_all_that_is_there(bus: AnyBus, ledger: Ledger) -> None:
    reader = Reader(bus, 0, ledger.row(0))
    assert not reader.under_way
    for _ in range(3):
        write(bus, 2, 1, 0)
    write(bus, 0, 1, 0)
    reader.begin(Deliver(1))
    assert [finish(reader, reader.next()) for _ in range(3)] == [1, 2, 3]
    assert (reader.next(), reader.under_way, figures(ledger)) == (None, False, (4, 0))


def test_a_front_that_comes_late_counts_what_is_gone(bus: AnyBus, ledger: Ledger) -> None:
    reader = Reader(bus, 0, ledger.row(0))
    for rows in (2, 3, 4, 5):
        write(bus, rows, 0, 1)
    reader.begin(Deliver(1))
    first = reader.next()
    assert first is not None
    reader.deal_with(1)  # one of its two rows; then the router goes on without it
    bus.forget(4)
    assert not bus.has(first.number)
    reader.finish(first)
    assert finish(reader, reader.next()) == 4
    assert figures(ledger) == (4, 1 + 3 + 4)
    write(bus, 0, 0, 1)
    write(bus, 7, 0, 1)
    bus.forget(7)
    assert (reader.next(), figures(ledger)) == (None, (6, 8 + 7))
    write(bus, 1, 0, 0)
    reader.begin(Deliver(7))
    assert finish(reader, reader.next()) == 7
    assert figures(ledger) == (7, 8 + 7)


def test_an_order_that_comes_while_others_are_under_way_hides_no_turn(bus: AnyBus, ledger: Ledger) -> None:
    """The router may not have been able to tell of turn 2; it is found before the one that it tells of."""
    reader = Reader(bus, 0, ledger.row(0))
    for _ in range(3):
        write(bus, 1, 0, 0)
    reader.begin(Deliver(1))
    reader.begin(Deliver(3))
    assert [finish(reader, reader.next()) for _ in range(3)] == [1, 2, 3]
