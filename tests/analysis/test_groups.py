"""analysis.figures.groups: what is called different is calibrated against groups of a known scatter."""

import numpy as np
import pytest

from floodtest.analysis.figures.groups import difference

TRIES = 1500


def share_called_different(
    runs: tuple[int, int], shift: float = 0.0, scatter: tuple[float, float] = (1.0, 1.0), seed: int = 1
) -> float:
    """Return the share of simulated comparisons that call two groups different."""
    rng = np.random.default_rng(seed)
    called = 0
    for _ in range(TRIES):
        base, other = (rng.normal(100, by, count) for count, by in zip(runs, scatter, strict=True))
        called += difference(other + shift, base).is_significant is True
    return called / TRIES


@pytest.mark.parametrize("runs", [(2, 2), (2, 3), (3, 3), (2, 10), (3, 5), (5, 5), (10, 10)])
def test_groups_of_one_distribution_are_rarely_called_different(runs: tuple[int, int]) -> None:
    assert 0.01 < share_called_different(runs) <= 0.06


@pytest.mark.parametrize("runs", [(2, 2), (3, 3), (2, 10), (10, 10)])
def test_groups_that_scatter_unlike_are_not_called_different_much_more_often(runs: tuple[int, int]) -> None:
    for scatter in ((1.0, 3.0), (3.0, 1.0)):
        assert share_called_different(runs, scatter=scatter) <= 0.1


@pytest.mark.parametrize(("runs", "least"), [((2, 2), 0.15), ((3, 3), 0.6), ((3, 10), 0.7), ((5, 5), 0.95)])
def test_a_difference_of_three_standard_deviations_is_found(runs: tuple[int, int], least: float) -> None:
    assert share_called_different(runs, shift=3.0) >= least


@pytest.mark.parametrize("runs", [(2, 2), (3, 3), (3, 10), (10, 10)])
def test_figures_that_scatter_by_a_third_are_not_called_different_more_often(runs: tuple[int, int]) -> None:
    assert share_called_different(runs, scatter=(33.0, 33.0)) <= 0.06


def test_the_interval_of_the_ratio_holds_1_just_where_nothing_is_significant() -> None:
    rng = np.random.default_rng(2)
    for _ in range(500):
        found = difference(rng.normal(115, 10, 4), rng.normal(100, 10, 3))
        assert found.low is not None
        assert found.high is not None
        assert found.ratio is not None
        assert found.low < found.ratio < found.high
        assert found.is_significant is not (found.low <= 1 <= found.high)


def test_what_scatters_in_proportion_is_told_apart_by_two_runs() -> None:
    assert difference(np.array([270.0, 401.0]), np.array([3.65, 3.97])).is_significant is True


def test_the_interval_of_the_ratio_holds_the_true_one_in_95_of_100_cases() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(TRIES):
        found = difference(rng.normal(300, 15, 4), rng.normal(100, 5, 4))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 3 <= found.high
    assert 0.93 <= held / TRIES <= 0.98


@pytest.mark.parametrize("runs", [(1, 1), (1, 3), (3, 1)])
def test_one_run_a_side_says_nothing(runs: tuple[int, int]) -> None:
    base, other = (
        value + np.arange(count, dtype=np.float64) for count, value in zip(runs, (10.0, 1000.0), strict=True)
    )
    found = difference(other, base)
    assert (found.low, found.high) == (None, None)
    assert found.ratio is not None
    assert found.ratio > 50
    assert found.is_significant is None


def test_a_ratio_takes_figures_above_zero() -> None:
    below, above = np.array([-2.0, -1.9, -2.1]), np.array([1.0, 1.1, 0.9])
    for pair in ((below, above), (above, below)):
        found = difference(*pair)
        assert (found.ratio, found.low, found.high, found.is_significant) == (None, None, None, True)


def test_what_was_rounded_alike_is_not_taken_for_certain() -> None:
    base = np.full(3, 100.0)
    assert difference(base * 1.01, base).is_significant is True
    assert difference(base * 1.01, base, resolution=0.008).is_significant is False
    assert difference(base * 1.03, base, resolution=0.008).is_significant is True
    assert difference(base, base, resolution=0.0).is_significant is False
