"""server_under_test.routing.progress: which fronts hold others up, and which are given up, by a clock that a test
moves.
"""

import numpy as np

from floodtest.server_under_test.routing.progress import NEVER, Progress


class Fronts:
    """Three fronts that do what a test says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.written = np.zeros(3, np.int64)
        self.rows = np.zeros(3, np.int64)
        self.progress = Progress(self.written, lambda: self.rows.copy(), lambda: self.now)

    def pass_time(self, seconds: float, *come_on: int) -> list[int]:
        """Let time pass, in which some fronts write a row; return who is given up."""
        self.now += seconds
        self.rows[list(come_on)] += 1
        self.progress.look()
        return np.flatnonzero(self.progress.given_up).tolist()

    def holds_up(self, turn: int) -> bool:
        return self.progress.holds_up(turn)


def test_a_turn_is_held_up_as_long_as_a_front_writes_it() -> None:
    fronts = Fronts()
    fronts.progress.tell([0, 1], 1)
    fronts.progress.tell([1], 2)
    assert (fronts.holds_up(1), fronts.holds_up(2)) == (True, True)
    fronts.written[:] = (1, 1, 0)
    assert (fronts.holds_up(1), fronts.holds_up(2)) == (False, True)
    fronts.written[1] = 2
    assert not fronts.holds_up(2)


def test_a_front_that_writes_nothing_holds_nobody_up_for_long() -> None:
    fronts = Fronts()
    fronts.progress.tell([0, 1], 1)
    fronts.pass_time(0.2, 1)
    assert fronts.holds_up(1)
    fronts.pass_time(0.2, 1)
    assert fronts.holds_up(1)  # front 1 comes on
    fronts.written[1] = 1
    assert not fronts.holds_up(1)
    assert fronts.progress.unwritten() == 1  # what front 0 has to write has to stay


def test_a_front_that_comes_on_slowly_holds_the_others_up_a_second_for_each_turn_and_is_then_left_behind() -> None:
    fronts = Fronts()
    fronts.progress.tell([0, 1], 1)
    fronts.written[1] = 1
    held_up = 0
    while fronts.holds_up(1):
        fronts.pass_time(0.1, 0)
        held_up += 1
    assert held_up == 11
    for turn in range(2, 100):  # others go on; it does too, but nobody waits for it
        fronts.progress.tell([0, 1], turn)
        fronts.written[1] = turn
        assert not fronts.holds_up(turn)
        assert fronts.pass_time(0.1, 0) == []
    assert fronts.progress.unwritten() == 1  # what it has to write has to stay
    fronts.written[0] = 98  # it has caught up with the last turn but one, and is waited for as all are
    assert not fronts.holds_up(98)
    fronts.progress.tell([0, 1], 100)
    fronts.pass_time(0.1, 0)
    assert fronts.holds_up(99)


def test_a_front_that_writes_a_row_now_and_then_is_given_up_when_a_turn_never_ends() -> None:
    fronts = Fronts()
    fronts.progress.tell([0, 1], 1)
    fronts.progress.tell([0, 1], 2)
    for _ in range(290):
        assert fronts.pass_time(0.1, 0, 1) == []
    fronts.written[1] = 1  # this one comes to the end of its turn
    for _ in range(9):
        assert fronts.pass_time(0.1, 0, 1) == []
    assert fronts.pass_time(0.2, 0, 1) == [0]
    assert fronts.pass_time(0.2, 0, 1) == [0]
    assert fronts.progress.times_given_up == 1
    assert fronts.progress.unwritten() == 2  # of the other one
    fronts.written[0] = 2
    assert fronts.pass_time(0.1, 1) == []


def test_a_front_is_given_up_until_it_has_caught_up() -> None:
    fronts = Fronts()
    fronts.progress.tell([0, 1], 5)
    fronts.written[1] = 5
    assert fronts.pass_time(1.9) == []
    assert fronts.pass_time(0.2) == [0]
    assert (fronts.progress.unwritten(), fronts.progress.unwritten(given_up=True)) == (NEVER, 1)
    assert fronts.progress.times_given_up == 1
    fronts.progress.tell([1], 6)
    assert (fronts.holds_up(6), fronts.progress.unwritten()) == (True, 6)
    assert fronts.pass_time(1, 0) == [0]  # it comes on, but is not through
    fronts.written[0] = 5
    assert fronts.pass_time(0.1) == []


def test_time_counts_from_when_a_front_was_told() -> None:
    fronts = Fronts()
    fronts.progress.look()
    fronts.now += 1000
    fronts.progress.tell([2], 1)
    assert fronts.holds_up(1)
    assert fronts.pass_time(1.9) == []
    fronts.progress.tell([2], 2)
    assert fronts.pass_time(0.2) == [2]  # the later turn is no news from it


def test_a_front_that_has_ended_has_written_everything() -> None:
    fronts = Fronts()
    fronts.progress.tell([0], 1)
    fronts.written[0] = NEVER
    assert (fronts.holds_up(1), fronts.progress.unwritten(), fronts.pass_time(10)) == (False, NEVER, [])
