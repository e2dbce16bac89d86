"""Steps: where a level that otherwise follows a line changes for good. Pure.

In: x and y in order of time. Out: sets of places (index of the first sample after a step), each the best way to cut the
record up for some slope: for each of many slopes y - slope * x is cut into levels so that squares and a price per level
are least (optimal partitioning: Jackson and others, IEEE Signal Processing Letters 12, 2005). A staircase whose steps
look like more slope is so found for what it is, which a search that begins with a straight line would miss.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SETS = 4
"""Sets of steps that are returned at the most, for each price."""

PRICES = (3.0, 6.0)
"""What a level costs, as multiples of the noise's variance times the logarithm of the number of samples."""


def find_steps(x: Floats, y: Floats, least_noise: float) -> list[tuple[int, ...]]:
    """Return sets of places, the most plausible first, none where x never rises; noise is at least `least_noise`."""
    if not (np.diff(x) > 0).any():
        return []
    found: dict[tuple[int, ...], float] = {}
    slopes = _slopes(x, y)
    middle = _typical_slope(x, y)
    noise = max(least_noise, _noise(y - middle * x))
    for price in PRICES:
        cuts = _cut(y - slopes[:, None] * x, price * noise**2 * np.log(len(x)))
        for cost, places in sorted(cuts)[:SETS]:
            found.setdefault(places, cost)
    return sorted(found, key=lambda places: found[places])


def _slopes(x: Floats, y: Floats) -> Floats:
    """Slopes between samples near each other and far apart, from the lower to the upper ones that are usual."""
    rises = []
    lag = 1
    while lag < len(x):
        run, rise = x[lag:] - x[:-lag], y[lag:] - y[:-lag]
        rises.append(rise[run > 0] / run[run > 0])
        lag *= 2
    return np.unique(np.quantile(np.concatenate(rises), np.linspace(0.05, 0.95, 25)))


def _typical_slope(x: Floats, y: Floats) -> float:
    """The median slope of neighbours, weighted by how far apart they are: few steps do not move it."""
    run, rise = np.diff(x), np.diff(y)
    run, rise = run[run > 0], rise[run > 0]
    order = np.argsort(rise / run)
    half = np.searchsorted(np.cumsum(run[order]), run.sum() / 2)
    return float((rise / run)[order[min(half, len(order) - 1)]])


def _noise(rest: Floats) -> float:
    """Standard deviation of the noise, from the usual difference of neighbours."""
    return float(np.median(np.abs(np.diff(rest))) / 0.6745 / np.sqrt(2))


def _cut(rests: Floats, price: float) -> list[tuple[float, tuple[int, ...]]]:
    """Cut each row of `rests`, shape (slopes, n), into levels at the least cost.

    Return for each row that cost, and where each but its first level begins.
    """
    rows, n = rests.shape
    rests = rests - rests.mean(axis=1, keepdims=True)
    sums, squares = np.zeros((rows, n + 1)), np.zeros((rows, n + 1))
    sums[:, 1:], squares[:, 1:] = np.cumsum(rests, axis=1), np.cumsum(rests**2, axis=1)
    best = np.zeros((rows, n + 1))  # the least cost of the samples before each place
    best[:, 0] = -price
    before = np.zeros((rows, n + 1), int)  # where the last level of those begins
    every = np.arange(rows)
    for end in range(1, n + 1):
        spread = (sums[:, end, None] - sums[:, :end]) ** 2 / (end - np.arange(end))
        costs = best[:, :end] + (squares[:, end, None] - squares[:, :end] - spread) + price
        before[:, end] = costs.argmin(axis=1)
        best[:, end] = costs[every, before[:, end]]
    return [(float(best[row, n]), _begins(before[row])) for row in range(rows)]


def _begins(before: npt.NDArray[np.intp]) -> tuple[int, ...]:
    """Follow the beginnings of levels from the last to the first; that one, 0, is left out."""
    places: list[int] = []
    end = int(before[-1])
    while end > 0:
        places.append(end)
        end = int(before[end])
    return tuple(reversed(places))
