"""flyweight.engine.sweep: one call over many rows, of which some fail."""

import errno
import operator
import os
from collections.abc import Callable
from itertools import count, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.engine.sweep import drain, sweep, without

ROWS = 5


def failing_at(*bad: int, number: int = errno.ECONNREFUSED) -> Callable[[int], int]:
    """A call that doubles its argument, and raises OSError for some."""

    def call(row: int) -> int:
        if row in bad:
            raise OSError(number, "as asked")
        return 2 * row

    return call


def test_results_stand_in_the_order_of_the_rows() -> None:
    assert sweep(pow, [2, 3, 4], [5, 2, 1]) == ([32, 9, 4], {})


def test_no_rows_make_no_calls() -> None:
    calls: list[int] = []
    assert sweep(calls.append, []) == ([], {})
    assert not calls


@pytest.mark.parametrize("bad", [(0,), (2,), (4,), (1, 2), (0, 4), (0, 1, 2, 3, 4)])
def test_a_row_that_fails_costs_none_of_the_others(bad: tuple[int, ...]) -> None:
    results, failed = sweep(failing_at(*bad), range(ROWS))
    assert results == [None if row in bad else 2 * row for row in range(ROWS)]
    assert failed == dict.fromkeys(bad, errno.ECONNREFUSED)


def test_the_shortest_column_ends_the_rows() -> None:
    assert sweep(operator.add, [1, 2, 3], repeat(10)) == ([11, 12, 13], {})
    assert sweep(operator.add, count(), [7, 8]) == ([7, 9], {})


def test_a_failure_keeps_the_columns_in_step() -> None:
    def minus(left: int, right: int) -> int:
        if left == 2:
            raise OSError(errno.EIO, "as asked")
        return left - right

    assert sweep(minus, [1, 2, 3, 4], [1, 1, 1, 1]) == ([0, None, 2, 3], {1: errno.EIO})


def test_each_failure_keeps_its_own_errno() -> None:
    def refuse(number: int) -> None:
        raise OSError(number, os.strerror(number))

    assert sweep(refuse, [errno.EMFILE, errno.EADDRINUSE])[1] == {0: errno.EMFILE, 1: errno.EADDRINUSE}


def test_an_oserror_without_a_number_is_eio() -> None:
    def time_out(row: int) -> None:
        raise TimeoutError

    assert sweep(time_out, range(2)) == ([None, None], {0: errno.EIO, 1: errno.EIO})


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_any_other_exception_passes_through_and_ends_the_sweep(error: type[BaseException]) -> None:
    called: list[int] = []

    def call(row: int) -> None:
        called.append(row)
        if row == 2:
            raise error

    with pytest.raises(error):
        sweep(call, range(ROWS))
    assert called == [0, 1, 2]


@given(st.lists(st.booleans(), max_size=40))
def test_every_row_is_called_once_and_ends_as_a_result_or_a_failure(fails: list[bool]) -> None:
    called: list[int] = []

    def call(row: int, fail: bool) -> int:
        called.append(row)
        if fail:
            raise OSError(errno.EAGAIN, "as asked")
        return row

    results, failed = sweep(call, count(), fails)
    assert called == list(range(len(fails)))
    assert list(failed) == [row for row, fail in enumerate(fails) if fail]
    assert results == [None if fail else row for row, fail in enumerate(fails)]


def next_of(values: list[int]) -> Callable[[str], int]:
    """A call that gives the values in turn and then would block, as accept does."""
    left = iter(values)

    def call(argument: str) -> int:
        assert argument == "listener"
        for value in left:
            return value
        raise BlockingIOError(errno.EAGAIN, "nothing more")

    return call


def test_drain_takes_what_there_is_and_says_why_it_stopped() -> None:
    assert drain(next_of([3, 4, 5]), "listener", 10) == ([3, 4, 5], errno.EAGAIN)
    assert drain(next_of([]), "listener", 10) == ([], errno.EAGAIN)


def test_drain_takes_no_more_than_it_may() -> None:
    call = next_of([3, 4, 5])
    assert drain(call, "listener", 2) == ([3, 4], 0)
    assert drain(call, "listener", 1) == ([5], 0)
    assert drain(call, "listener", 1) == ([], errno.EAGAIN)


def test_drain_lets_other_exceptions_through() -> None:
    def call(argument: str) -> int:
        raise ValueError(argument)

    with pytest.raises(ValueError, match="listener"):
        drain(call, "listener", 3)


def test_drain_of_an_oserror_without_a_number_is_eio() -> None:
    def call(argument: str) -> int:
        raise TimeoutError

    assert drain(call, "listener", 3) == ([], errno.EIO)


@pytest.mark.parametrize("indexes", [{0}, {2}, {1}, set(), {0, 1, 2}, {1: errno.EIO}])
def test_without_takes_the_same_rows_out_of_every_column(indexes: set[int] | dict[int, int]) -> None:
    kept = [index for index in range(3) if index not in indexes]
    letters, numbers = ["a", "b", "c"], [10, 11, 12]
    assert without(indexes, letters, numbers) == ([letters[i] for i in kept], [numbers[i] for i in kept])
    assert (letters, numbers) == (["a", "b", "c"], [10, 11, 12])
