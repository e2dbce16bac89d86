"""analysis.figures.students_t: values of tables, fractions between them, and the normal distribution at the end."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from floodtest.analysis.figures.students_t import mixed_t_975, t_975


@pytest.mark.parametrize(
    ("freedom", "known"), [(1, 12.706), (2, 4.303), (5, 2.571), (10, 2.228), (11, 2.201), (20, 2.086), (120, 1.980)]
)
def test_values_are_those_of_tables(freedom: int, known: float) -> None:
    assert t_975(freedom) == pytest.approx(known, abs=0.003)


def test_it_falls_without_leaps_to_that_of_the_normal_distribution() -> None:
    values = [t_975(1 + step / 8) for step in range(200)]
    assert all(0.7 < after / before < 1 for before, after in pairwise(values))
    assert t_975(float("inf")) == pytest.approx(1.96, abs=0.001)


@pytest.mark.parametrize(("freedom", "known"), [(1.4, 6.657), (1.5, 6.017), (2.5, 3.575), (6.3, 2.419), (50.5, 2.008)])
def test_fractions_lie_where_the_distribution_has_them_or_a_little_above(freedom: float, known: float) -> None:
    """Known values are by numerical integration of the density."""
    assert 0.999 * known <= t_975(freedom) <= 1.03 * known


def test_fewer_degrees_of_freedom_than_one_are_taken_for_one() -> None:
    assert t_975(0.2) == t_975(1)


@pytest.mark.parametrize(
    ("freedom", "within"),
    [(1, lambda t: 2 / math.pi * math.atan(t)), (2, lambda t: t / math.sqrt(2 + t**2))],
)
@pytest.mark.parametrize("scales", [(1.0, 1.0), (1.0, 3.0), (5.0, 100.0), (0.0, 2.0)])
def test_a_mixture_reaches_as_far_as_its_parts_together(
    freedom: int, within: Callable[[float], float], scales: tuple[float, float]
) -> None:
    reach = mixed_t_975(np.array(scales), np.array([0.7, 0.3]), freedom)
    parts = [within(reach / scale) if scale else 1.0 for scale in scales]
    assert 0.7 * parts[0] + 0.3 * parts[1] == pytest.approx(0.95, abs=0.001)


def test_a_mixture_of_nothing_but_certainty_reaches_nowhere() -> None:
    assert mixed_t_975(np.zeros(3), np.full(3, 1 / 3), 10) == 0
