"""server_under_test.progress: which fronts hold others up, and which are given up, by a clock that a test moves."""

import numpy as np

from server_under_test.progress import NEVER, Progress


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
        self.progress.look(2.0)
        return np.flatnonzero(self.progress.given_up).tolist()

    def holds_up(self, turn: int) -> bool:
        return self.progress.holds_up(turn, 0.25)


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


def test_a_front_is_given_up_until_it_has_caught_up() -> None:
    fronts = Fronts()
    fronts.progress.tell([0, 1], 5)
    fronts.written[1] = 5
    assert fronts.pass_time(1.9) == []
    assert fronts.pass_time(0.2) == [0]
    assert (fronts.progress.unwritten(), fronts.progress.unwritten(given_up=True)) == (NEVER, 1)
    fronts.progress.tell([1], 6)
    assert (fronts.holds_up(6), fronts.progress.unwritten()) == (True, 6)
    assert fronts.pass_time(1, 0) == [0]  # it comes on, but is not through
    fronts.written[0] = 5
    assert fronts.pass_time(0.1) == []


def test_time_counts_from_when_a_front_was_told() -> None:
    fronts = Fronts()
    fronts.progress.look(2.0)
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
