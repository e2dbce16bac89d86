"""server_under_test.routing.shared_bus: what the router writes all fronts read; who comes late knows what is gone."""

import os
import random
from collections.abc import Iterator

import numpy as np
import pytest

from floodtest.server_under_test.routing import bus as bus_module
from floodtest.server_under_test.routing import router as router_module
from floodtest.server_under_test.routing import shared_bus as shared_bus_module
from floodtest.server_under_test.routing.bus import Rows, Turn
from floodtest.server_under_test.routing.progress import NEVER
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.turn_writer import UNDER_WAY
from floodtest.wire.control import MAX_BATCH, MAX_BATCH_BYTES
from tests.rigs.buses import write

FRONTS = 3


@pytest.fixture
def bus() -> Iterator[SharedBus]:
    made = SharedBus(FRONTS)
    yield made
    os.close(made.descriptor)


def read(turn: Turn | None) -> tuple[int, int, list[int], set[bytes]]:
    """Return what a front finds: turn, rows before, descriptors, texts."""
    assert turn is not None
    rows = turn.rows
    assert rows.users.tolist() == (rows.fds + 1).tolist()
    return turn.number, turn.before, rows.fds.tolist(), {bytes(text) for text in rows.texts_of(rows.which)}


def test_each_front_finds_its_rows_in_turns_that_have_some(bus: SharedBus) -> None:
    other = SharedBus(FRONTS, bus.descriptor)
    assert other.next(0, 0) is None
    assert [write(bus, 2, 0, 1), write(bus, 0, 0, 2, text=b"more"), write(bus, 1, 0, 0)] == [1, 2, 3]
    assert read(other.next(0, 0)) == (1, 0, [0, 1], {b"text"})
    assert read(other.next(0, 1)) == (3, 2, [0], {b"text"})
    assert other.next(0, 3) is None
    assert other.next(1, 0) is None
    assert read(other.next(2, 0)) == (1, 0, [2], {b"text"})
    assert read(other.next(2, 1)) == (2, 1, [0, 1], {b"more"})


def test_memory_is_used_again_from_the_beginning_when_all_is_read(bus: SharedBus) -> None:
    for _ in range(100):
        number = write(bus, 1, 1, 1, text=b"x" * 1000)
        bus.forget(NEVER)
    assert not bus.has(number)
    assert len(os.pread(bus.descriptor, 1 << 30, 0).rstrip(b"\0")) < 1 << 20


def test_a_turn_that_is_to_stay_is_not_touched(bus: SharedBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_bus_module, "MEMORY", 10_000)
    small = SharedBus(FRONTS)
    chance = random.Random(1)
    there: dict[int, tuple[int, int, bytes]] = {}  # turn: rows, rows before, text
    total = last = 0
    for _ in range(3000):
        rows, text = chance.randrange(1, 30), b"%d" % chance.randrange(10**9) * chance.randrange(1, 60)
        if small.has_room(rows, 1, len(text)):
            last = write(small, 0, rows, 0, text=text)
            there[last] = rows, total, text
            total += rows
        else:
            assert len(there) > 1 or rows * 12 + len(text) > 3000
            oldest = chance.choice([*there, last + 1])
            small.forget(oldest)
            there = {number: turn for number, turn in there.items() if number >= oldest}
        for number, (count, before, text) in there.items():
            assert read(small.next(1, number - 1)) == (number, before, list(range(count)), {text})
    os.close(small.descriptor)


def overwrite(bus: SharedBus) -> None:
    """Write anything over all turns, as later turns do once these are gone."""
    bus.forget(NEVER)
    bus._memory[: 1 << 16] = b"\xff" * (1 << 16)


def test_what_a_front_has_of_a_turn_stays_whole_when_the_turn_is_overwritten(bus: SharedBus) -> None:
    """Its columns are indexes: of streams, of texts, of where texts begin."""
    turn = bus.next(0, write(bus, 2, 0, 0) - 1)
    assert turn is not None
    overwrite(bus)
    assert (turn.rows.fds.tolist(), turn.rows.users.tolist()) == ([0, 1], [1, 2])
    assert turn.rows.sizes_of(turn.rows.which).tolist() == [4, 4]
    assert len(turn.rows.texts_of(turn.rows.which)) == 2


def test_a_turn_that_is_overwritten_while_it_is_copied_is_not_there(
    bus: SharedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = write(bus, 2, 0, 0)
    original = bus_module.Rows.part

    def part(rows: Rows, part: slice) -> Rows:
        overwrite(bus)
        return original(rows, part)

    monkeypatch.setattr(bus_module.Rows, "part", part)
    assert bus.next(0, number - 1) is None


def test_how_many_rows_there_were_is_not_read_from_a_turn_that_is_just_written_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_bus_module, "TURNS", 4)
    small = SharedBus(FRONTS)
    for rows in (1, 2, 3, 4, 5):
        write(small, rows, 0, 0)
    late = SharedBus(FRONTS, small.descriptor)
    os.close(small.descriptor)
    lasts = iter([2, 5, 5, 5])  # who has stood still between two looks
    monkeypatch.setattr(SharedBus, "last", property(lambda bus: next(lasts)))
    assert late.rows_until_last(0) == (5, 15)


def test_there_is_room_for_the_largest_turns(bus: SharedBus) -> None:
    assert router_module.TURN_MESSAGES + router_module.BATCHES <= bus_module.MESSAGES
    assert router_module.TURN_MESSAGES >= MAX_BATCH
    largest = bus_module.ROWS, bus_module.MESSAGES, router_module.TURN_BYTES + (router_module.BATCHES << 16)
    assert largest[2] <= bus_module.TEXTS
    assert MAX_BATCH_BYTES <= router_module.TURN_BYTES
    for _ in range(UNDER_WAY):
        assert bus.has_room(*largest)
        rows = np.arange(bus_module.ROWS, dtype=np.uint32)
        texts = [b"x" * (largest[2] // bus_module.MESSAGES)] * bus_module.MESSAGES
        bus.write(rows, rows, np.full_like(rows, len(texts) - 1), texts, np.array([0, 0, 5, len(rows)]))
    turn = bus.next(2, 1)
    assert turn is not None
    assert turn.rows.fds[[0, -1]].tolist() == [5, bus_module.ROWS - 1]
    assert bytes(turn.rows.texts_of(turn.rows.which[-1:])[0]) == texts[0]
    assert not bus.has_room(*largest)


def test_no_more_turns_are_there_than_are_remembered(bus: SharedBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_bus_module, "TURNS", 4)
    small = SharedBus(FRONTS)
    for _ in range(4):
        assert small.has_room(1, 1, 4)
        write(small, 1, 0, 0)
    assert not small.has_room(1, 1, 4)
    small.forget(2)
    assert write(small, 1, 0, 0) == 5
    assert read(small.next(0, 0))[0] == 2
    os.close(small.descriptor)
