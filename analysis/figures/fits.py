"""Fits: what one connection costs in memory, what was there before the first, and how sure that is. Pure; numpy only.

In: bytes at so many connections, in order of time, and how many workers had begun by then, where the record says so.
Out: a `MemoryFit`: slope, fixed cost and steps, with 95% intervals. None where there are too few different numbers of
connections to tell a slope from noise, or from what workers took as they began.

The model: bytes = fixed + slope x connections + a level for each worker that began + noise. A worker touches memory of
its own as it begins, which is no cost of one more connection; a line through that staircase would take it for slope.
Only the record can say that a worker began: a server that accepts in bursts, collects garbage or doubles its pools
makes residuals that look like steps. To leave those out would leave out a part of what its connections cost.

The estimate is that of least squares. Memory may run ahead of the connections that the client has seen open, or behind
them, so that differences between successive samples say little; least squares compares samples that are far apart. Its
interval allows for samples that resemble the ones before: noise is taken to be AR(1), and for each of many correlations
the estimate has a variance of its own, and with it a distribution (Student's t). The interval is that of their mixture,
in which each has the weight of its restricted likelihood. In simulations of straight lines and of servers that do what
servers do (tests/analysis/test_calibrated_fits.py) it holds the truth in 90% to 99%.

Cost: about a millisecond for a hundred samples; more than `MOST` are thinned out evenly.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from floodtest.analysis.figures.students_t import mixed_t_975

Floats = npt.NDArray[np.float64]

LEAST = 5
"""Samples at different numbers of connections that a fit takes at least."""

MOST = 240
"""Samples that are used of a longer record, evenly spaced."""

PAGE = 4096
"""Memory is read in pages; noise is taken to be no less than what that makes."""

CORRELATIONS = np.array([0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.88, 0.94, 0.97])
"""Correlations of the noise of successive samples that are mixed, each as likely beforehand as any other: the nearer to
1, the closer they lie, as Jeffreys' prior for AR(1) has it, whose density is 1 / sqrt(1 - correlation^2)."""


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95% interval."""

    value: float
    low: float
    high: float

    def differs_from(self, other: "Estimate") -> bool:
        """Whether the two differ by more than both their uncertainties together explain.

        Their difference has a 95% interval of its own, made of the facing halves of both (the MOVER of Zou and Donner,
        Statistics in Medicine 27, 2008); it is significant when that has no zero in it.
        """
        lower, upper = sorted((self, other), key=lambda estimate: estimate.value)
        return upper.value - lower.value > math.hypot(upper.value - upper.low, lower.high - lower.value)

    def times(self, factor: float) -> "Estimate":
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Step:
    """A level that changed for good as workers began: at how many connections, and by how many bytes."""

    connections: float
    bytes: float


@dataclass(frozen=True)
class MemoryFit:
    """Memory as a function of connections, in bytes."""

    slope: Estimate
    """Bytes a connection."""
    fixed: Estimate
    """Bytes before the first connection."""
    steps: tuple[Step, ...]
    """In order of time; none where the record does not say when workers began."""
    taken: Estimate
    """Bytes of all steps together."""
    noise: float
    """Standard deviation of the samples about the model, bytes."""
    samples: int
    """How many were used."""

    def at(self, connections: Floats) -> Floats:
        """Return the bytes the model has for these numbers of connections, steps included where they happened."""
        line = self.fixed.value + self.slope.value * connections
        for step in self.steps:
            line = line + step.bytes * (connections >= step.connections)
        return line


def fit_memory(connections: Floats, size: Floats, begun: Floats | None = None) -> MemoryFit | None:
    """Fit bytes against connections; samples in order of time, those that could not be read as NaN.

    `begun` says how many workers had begun at each sample, NaN where that is not known.
    """
    known = np.isfinite(size) & np.isfinite(connections)
    begun = np.zeros(len(size)) if begun is None else np.maximum.accumulate(np.nan_to_num(begun))
    kept = np.flatnonzero(known)
    if len(kept) > MOST:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, MOST).round().astype(np.intp))]
    connections, size, begun = connections[kept], size[kept], begun[kept]
    if len(np.unique(connections)) < LEAST:
        return None
    starts = [int(np.argmax(begun >= level)) for level in np.unique(begun)[1:]]
    unit = float(connections.max())
    design = np.column_stack([np.ones(len(kept)), connections / unit, *(np.arange(len(kept)) >= at for at in starts)])
    freedom = len(kept) - design.shape[1]
    if freedom < LEAST - 2 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    linear = np.linalg.pinv(design)
    parameters = linear @ size
    variances, weights = _noise(design, size, freedom)
    told = np.vstack([linear[:2], linear[2:].sum(axis=0)])
    scales = np.sqrt(_factors(told) * variances)
    fixed, slope, taken = (
        Estimate(value, value - reach, value + reach)
        for value, row in zip((told @ size).tolist(), scales, strict=True)
        for reach in [mixed_t_975(row, weights, freedom)]
    )
    steps = [Step(float(connections[at]), float(parameters[2 + k])) for k, at in enumerate(starts)]
    noise = math.sqrt(float(weights @ variances))
    return MemoryFit(slope.times(1 / unit), fixed, tuple(steps), taken, noise, len(kept))


def _noise(design: Floats, size: Floats, freedom: int) -> tuple[Floats, Floats]:
    """Return for each of `CORRELATIONS` the variance that the noise would have, and how likely that correlation is."""
    lost = 1 - CORRELATIONS**2  # the share of a sample's variance that the one before does not explain
    a, b = _whiten(design), _whiten(size[:, None])
    gram = a.transpose(0, 2, 1) @ a
    solved = np.linalg.solve(gram, a.transpose(0, 2, 1) @ b)
    rest = ((b - a @ solved) ** 2).sum(axis=(1, 2)) + len(size) * PAGE**2 / 12
    logs = -0.5 * (freedom * np.log(rest) - np.log(lost) + np.linalg.slogdet(gram)[1])
    weights = np.exp(logs - logs.max())
    return rest / freedom / lost, weights / weights.sum()


def _whiten(columns: Floats) -> Floats:
    """Turn AR(1) noise into white noise, the first sample included; in: (n, p), out: (c, n, p) for c correlations."""
    white = np.repeat(columns[None], len(CORRELATIONS), axis=0)
    white[:, 1:] -= CORRELATIONS[:, None, None] * columns[None, :-1]
    white[:, 0] *= np.sqrt(1 - CORRELATIONS**2)[:, None]
    return white


def _factors(linear: Floats) -> Floats:
    """Return what the variance of the noise is multiplied by in those of linear estimates: (k, n) to (k, c).

    h'Vh, where V has correlation^|i - j|: the sum over all lags of h's own products at that lag.
    """
    lags = np.arange(linear.shape[1])
    products = np.array([np.correlate(row, row, "full")[len(row) - 1 :] for row in linear])
    powers = CORRELATIONS ** lags[:, None]
    factors: Floats = products @ powers * 2 - products[:, :1]
    return np.maximum(factors, 0.0)
