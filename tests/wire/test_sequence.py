"""wire.sequence: what numbers show, in order by the column, and in any order by windows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from floodtest.wire.sequence import MAX_STEP, WINDOW, Follower, OutOfSequence, Sequences, Window, Windows

ROWS = st.lists(st.tuples(st.integers(3, 6), st.integers(1, 12)), max_size=30)


def follow(follower: Follower, batches: list[list[tuple[int, int]]]) -> OutOfSequence:
    """Follow batches of (descriptor, number), in order; return all that was found."""
    total = OutOfSequence()
    for batch in batches:
        fds, numbers = (np.array([row[at] for row in batch], np.int64) for at in (0, 1))
        found = follower.follow(fds, numbers, np.arange(len(batch)) << 32)
        total.missing += found.missing
        total.repeated += found.repeated
        total.jumps += found.jumps
    return total


@given(rows=ROWS, cut=st.integers(0, 30))
def test_a_batch_shows_what_its_parts_show(rows: list[tuple[int, int]], cut: int) -> None:
    for make in (Sequences, Windows):
        together = follow(make(10), [rows])
        assert follow(make(10), [rows[:cut], rows[cut:]]) == together
        assert follow(make(10), [[row] for row in rows]) == together


@given(numbers=st.permutations(range(1, WINDOW)), again=st.lists(st.integers(0, WINDOW - 2), max_size=5))
def test_messages_that_overtake_others_are_not_missing_nor_repeated(numbers: list[int], again: list[int]) -> None:
    rows = [(5, number) for number in numbers]
    assert follow(Windows(10), [rows]) == OutOfSequence()
    repeated = [*rows, *((5, numbers[at]) for at in again)]
    assert follow(Windows(10), [repeated]) == OutOfSequence(repeated=len(again))
    assert follow(Windows(10), [rows[:-1]]).missing == (0 if numbers[-1] == WINDOW - 1 else 1)


def test_a_window_ends() -> None:
    found, window = OutOfSequence(), Window()
    for number in (1, WINDOW + 1, 2, 1):
        window.follow(number, found)
    assert (found.missing, found.repeated, found.jumps) == (WINDOW - 2, 0, 0)  # 1 is too old to be known
    window.follow(2, found)
    assert found.repeated == 1
    window.follow(WINDOW + 2 + MAX_STEP, found)
    assert (window.highest, found.jumps) == (WINDOW + 1, 1)
    window.follow(WINDOW + 1 + MAX_STEP, found)
    window.follow(3, found)
    assert (window.highest, found.repeated) == (WINDOW + 1 + MAX_STEP, 1)


def test_a_new_connection_begins_anew() -> None:
    for follower in (Sequences(10), Windows(10)):
        assert follow(follower, [[(5, 1)], [(5, 2)]]) == OutOfSequence()
        follower.begin([5])
        assert follow(follower, [[(5, 1)]]) == OutOfSequence()
