"""Groups of runs: whether the runs of one differ from those of another by more than runs differ among themselves. Pure.

In: a figure of each run of two groups. Out: a `Difference`. Each run is one observation, whatever its samples say of
its own uncertainty: what makes two runs of one command differ (other work of the machine, where memory happens to lie)
is common to all samples of a run, and shows between runs only.

Figures of a group that are within `PROPORTIONAL` of one another are compared by their logarithms, since runs scatter in
proportion to a figure and what is asked for is a ratio (J. M. Bland and D. G. Altman, The use of transformation when
comparing two means, BMJ 312, 1996). Others are noise about a figure near 0, of which the least would rule the
logarithms: they are compared as they are. The difference of the means has a 95% interval by Welch's method, which does
not presume that both groups scatter alike (B. L. Welch, The generalization of "Student's" problem when several
different population variances are involved, Biometrika 34, 1947). Its degrees of freedom are too many where a group of
two or three runs, which by chance lie close together, is held against many: they are bounded by those of two groups as
small as the smaller one. What a figure was rounded to is an uncertainty of rectangular distribution that all runs may
share, so that repeating does not lessen it; it is added as JCGM 100:2008 (GUM), 4.3.7 and G.4, has it.

Simulated groups of 2 to 10 runs of one distribution are called different in 2% to 5% of cases, up to 8% where one of
two runs scatters three times as much as one of ten. Of differences of three standard deviations 20% are found by two
runs a side, 67% by three, 98% by five (tests/analysis/test_groups.py).
"""

import math
from dataclasses import dataclass

import numpy as np

from floodtest.analysis.figures.series import Floats
from floodtest.analysis.figures.students_t import t_975

LEAST_RUNS = 2
"""Of each group, for its scatter to be known."""

PROPORTIONAL = 2.0
"""Times the least figure of a group, up to which the greatest is taken to scatter in proportion to it."""


@dataclass(frozen=True)
class Difference:
    """How a group differs from the one that it is held against."""

    ratio: float | None
    """Of the means, where they are above 0; of the geometric ones where figures scatter in proportion."""
    low: float | None = None
    """Of the ratio's 95% interval; None with one run a side, and for figures that do not scatter in proportion."""
    high: float | None = None
    is_significant: bool | None = None
    """None: nothing can be said, since a group has fewer than `LEAST_RUNS`."""


def difference(figures: Floats, base: Floats, resolution: float = 0.0) -> Difference:
    """Hold a figure of one run or more against that of others.

    `resolution` is by how much a figure may be off since it was rounded, as a share of it.
    """
    if not all(0 < group.max() <= PROPORTIONAL * group.min() for group in (figures, base)):
        between, half = _interval(figures, base, 0.0)
        mean, of_base = float(figures.mean()), float(base.mean())
        ratio = mean / of_base if mean > 0 and of_base > 0 else None
        return Difference(ratio, is_significant=None if half is None else abs(between) > half)
    between, half = _interval(np.log(figures), np.log(base), resolution)
    if half is None:
        return Difference(_exp(between))
    return Difference(_exp(between), _exp(between - half), _exp(between + half), abs(between) > half)


def _exp(logarithm: float) -> float:
    """Return the number of a logarithm; where no number is so large, the largest power of e that is one."""
    return math.exp(min(logarithm, 709.0))


def _interval(figures: Floats, base: Floats, resolution: float) -> tuple[float, float | None]:
    """Return the difference of two means, and half of its 95% interval; None where a scatter is not known."""
    between = math.fsum(figures) / len(figures) - math.fsum(base) / len(base)
    least = min(len(figures), len(base))
    if least < LEAST_RUNS:
        return between, None
    variances = [float(group.var(ddof=1)) / len(group) for group in (figures, base)]
    scatter, rounding = sum(variances), 2 * resolution**2 / 3
    if scatter <= 0:
        return between, t_975(math.inf) * math.sqrt(rounding)
    certainty = sum(part**2 / (len(group) - 1) for part, group in zip(variances, (figures, base), strict=True))
    scattered = min(scatter**2 / certainty, 2 * (least - 1))
    freedom = scattered * (1 + rounding / scatter) ** 2
    return between, t_975(freedom) * math.sqrt(scatter + rounding)
