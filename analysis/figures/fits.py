"""Fits: what one connection costs in memory, what was there before the first, and how sure that is. Pure; numpy only.

In: bytes at so many connections, in order of time. Out: a `MemoryFit`: slope, fixed cost and steps, with 95% intervals.
None where there are too few different numbers of connections to tell a slope from noise.

The model: bytes = fixed + slope x connections + steps + noise. A step is a level that changes for good from one sample
to the next, as when a worker begins and touches its memory; a line through a staircase would take it for slope. Three
things would make a least-squares interval lie, and each has its part here. Where steps are is not known: candidates are
found by cutting the record up best for many slopes (see `steps.py`), then taken away one by one. How many there
are is not certain: all the models on that way stay, each weighted by its evidence (BIC, a step's place counted as a
parameter), so that a doubtful step makes the interval wider. Samples resemble the ones before them: noise is AR(1),
and what is not known of its correlation is integrated over rather than estimated. The interval is the central 95% of
the mixture of Student's t distributions that results; on 200 random records it holds the truth in 90% to 99%.

Cost: some 10 ms for a hundred samples; more than `MOST` are thinned out evenly.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from floodtest.analysis.figures.steps import find_steps

Floats = npt.NDArray[np.float64]

LEAST = 5
"""Samples at different numbers of connections that a fit takes at least."""

MOST = 240
"""Samples that are used of a longer record, evenly spaced."""

PAGE = 4096
"""Memory is read in pages; noise is taken to be no less than what that makes."""

CORRELATIONS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.88, 0.94)
"""Correlations of the noise of successive samples that are integrated over."""

SHARE = 0.95

WIDENED = 1.125
"""By so much intervals are wider than the mixture's: steps too small to be found are in none of the models. Without it
some sets of 200 random records had under 90% of their slopes within."""


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
    """A level that changed for good: at how many connections, and by how many bytes."""

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
    """Of the most probable model, in order of time."""
    noise: float
    """Standard deviation of the samples about that model, bytes."""
    samples: int
    """How many were used."""

    def at(self, connections: Floats) -> Floats:
        """Return the bytes the model has for these numbers of connections, steps included where they happened."""
        line = self.fixed.value + self.slope.value * connections
        for step in self.steps:
            line = line + step.bytes * (connections >= step.connections)
        return line


@dataclass(frozen=True)
class _Candidate:
    """A model: where its steps are, and what follows from it for each correlation of the noise."""

    steps: tuple[int, ...]
    log_evidence: float
    weights: Floats
    """All 0 where the steps leave the slope open."""
    slopes: Floats
    slope_scales: Floats
    fixed: Floats
    fixed_scales: Floats
    freedom: int
    parameters: Floats
    """Fixed, slope and steps, for the most probable correlation."""
    weakest: int
    """Which step is the least certain; -1 without any."""
    noise: float


def fit_memory(connections: Floats, size: Floats) -> MemoryFit | None:
    """Fit bytes against connections; samples in order of time, those that could not be read as NaN."""
    known = np.isfinite(size) & np.isfinite(connections)
    connections, size = connections[known], size[known]
    if len(connections) > MOST:
        kept = np.unique(np.linspace(0, len(connections) - 1, MOST).round().astype(int))
        connections, size = connections[kept], size[kept]
    if len(np.unique(connections)) < LEAST:
        return None
    unit = float(connections.max())
    x = connections / unit
    models = _models(x, size)
    best = max(models, key=lambda model: model.log_evidence)
    slope, fixed = _mixture(models, "slopes"), _mixture(models, "fixed")
    steps = [Step(float(connections[at]), float(best.parameters[2 + k])) for k, at in enumerate(best.steps)]
    return MemoryFit(slope.times(1 / unit), fixed, tuple(steps), best.noise, len(x))


def _models(x: Floats, y: Floats) -> list[_Candidate]:
    """Return models with ever fewer steps, from each set of candidates down to none."""
    models: dict[tuple[int, ...], _Candidate] = {}
    room = max(0, len(x) - 5)  # something must be left over to judge the noise by
    for found in find_steps(x, y, PAGE / math.sqrt(12)):
        steps = found if len(found) <= room // 2 else ()
        while steps not in models:
            models[steps] = model = _judge(x, y, steps)
            if model.weakest < 0:
                break
            steps = steps[: model.weakest] + steps[model.weakest + 1 :]
    if () not in models:
        models[()] = _judge(x, y, ())
    return [model for model in models.values() if model.weights.any()]


def _judge(x: Floats, y: Floats, steps: tuple[int, ...]) -> _Candidate:
    """Fit one model for each correlation of the noise: c of them, n samples, p parameters."""
    n = len(x)
    design = np.column_stack([np.ones(n), x, *(np.arange(n) >= at for at in steps)]).astype(np.float64)
    p = design.shape[1]
    freedom = n - p
    correlations = np.array(CORRELATIONS)
    a, b = _whiten(design, correlations), _whiten(y[:, None], correlations)  # (c, n, p) and (c, n, 1)
    transposed = a.transpose(0, 2, 1)
    gram = transposed @ a
    inverse = np.linalg.pinv(gram, hermitian=True)  # of all correlations at once: most of a fit's time is spent here
    solved = inverse @ (transposed @ b)
    rest = ((b - a @ solved) ** 2).sum(axis=(1, 2)) + n * PAGE**2 / 12
    betas = solved[:, :, 0]
    scales = np.sqrt(np.maximum(np.diagonal(inverse, axis1=1, axis2=2), 0) * rest[:, None] / freedom)
    log_volume = -np.log1p(-(correlations**2))
    log_profile = -0.5 * (n * np.log(rest / n) + log_volume)
    log_determinants = np.linalg.slogdet(gram)[1]
    has_slope = np.isfinite(log_determinants)  # -inf: steps at all counts of connections add up to the line itself
    log_restricted = -0.5 * (freedom * np.log(rest) + log_volume + np.where(has_slope, log_determinants, 0))
    weights = np.exp(log_restricted - log_restricted.max()) * has_slope
    weights /= weights.sum() or 1.0
    top = int(weights.argmax())
    certain = np.abs(betas[top, 2:]) / np.maximum(scales[top, 2:], 1e-300)
    return _Candidate(
        steps,
        float(_log_mean(log_profile)) - 0.5 * (p + len(steps)) * math.log(n),
        weights,
        betas[:, 1],
        scales[:, 1],
        betas[:, 0],
        scales[:, 0],
        freedom,
        betas[top],
        int(certain.argmin()) if steps else -1,
        math.sqrt(rest[top] / freedom / (1 - CORRELATIONS[top] ** 2)),
    )


def _whiten(columns: Floats, correlations: Floats) -> Floats:
    """Turn AR(1) noise into white noise, the first sample included; in: (n, p), out: (c, n, p)."""
    white = np.repeat(columns[None], len(correlations), axis=0)
    white[:, 1:] -= correlations[:, None, None] * columns[None, :-1]
    white[:, 0] *= np.sqrt(1 - correlations**2)[:, None]
    return white


def _log_mean(logs: Floats) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def _mixture(models: list[_Candidate], name: str) -> Estimate:
    """Return the median and the central 95% of the mixture of t distributions of all models and correlations."""
    logs = np.array([model.log_evidence for model in models])
    of_models = np.exp(logs - logs.max())
    scale_name = "slope_scales" if name == "slopes" else "fixed_scales"
    centres, scales, weights, freedom = (
        np.concatenate(parts)
        for parts in zip(
            *(
                (getattr(m, name), getattr(m, scale_name), m.weights * w, np.full(len(m.weights), m.freedom))
                for m, w in zip(models, of_models, strict=True)
            ),
            strict=True,
        )
    )
    kept = weights > weights.max() * 1e-5
    return _quantiles(centres[kept], scales[kept], weights[kept] / weights[kept].sum(), freedom[kept])


def _quantiles(centres: Floats, scales: Floats, weights: Floats, freedom: Floats) -> Estimate:
    reach = np.maximum(scales, 1e-9) * _t_reach(freedom)
    grid = np.linspace((centres - reach).min(), (centres + reach).max(), 6001)
    density = np.zeros_like(grid)
    for centre, scale, weight, nu in zip(centres, np.maximum(scales, 1e-9), weights, freedom, strict=True):
        z = (grid - centre) / scale
        log_norm = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi) - math.log(scale)
        density += weight * np.exp(log_norm - (nu + 1) / 2 * np.log1p(z * z / nu))
    cumulative = np.cumsum(density)
    cumulative /= cumulative[-1]
    tail = (1 - SHARE) / 2
    low, middle, high = (float(grid[np.searchsorted(cumulative, share)]) for share in (tail, 0.5, 1 - tail))
    return Estimate(middle, middle - WIDENED * (middle - low), middle + WIDENED * (high - middle))


def _t_reach(freedom: Floats) -> Floats:
    """How many scales out the tails of a t distribution may be cut off."""
    return 6 + 40 / np.maximum(freedom - 1, 0.5) ** 1.5
