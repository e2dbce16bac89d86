"""Student's t at 97.5%, by which an interval of 95% reaches from its middle, and that of several mixed. Pure.

Values for 1 to 10 degrees of freedom are those of the NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2. In
between, where degrees of freedom are fractions, the logarithm of t is nearly straight in 1 / freedom; beyond them the
first terms of its expansion about the normal distribution are off by less than 0.003.

A mixture has its probabilities from the density, summed up over `_PLACES`; it is off by less than 0.2%.
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_TABLE = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

_NORMAL = 1.959964

_PLACES = np.sinh(np.linspace(0, math.asinh(2000), 1500))
"""Values of t, the more the nearer they are to 0, whose probabilities are known; beyond them all is within."""

_LEAST = 1e-3
"""Share of the greatest scale that the others are taken to be at the least."""

_BETWEEN = 100
"""Reaches that are tried, between the least of the mixed ones and the greatest."""


def t_975(freedom: float) -> float:
    """Return it for so many degrees of freedom; fewer than 1 are taken for 1."""
    if freedom <= 1:
        return _TABLE[0]
    if freedom > len(_TABLE):
        z = _NORMAL
        return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    below = min(math.floor(freedom), len(_TABLE) - 1)
    share = (1 / below - 1 / freedom) / (1 / below - 1 / (below + 1))
    return _TABLE[below - 1] * math.pow(_TABLE[below] / _TABLE[below - 1], share)


def mixed_t_975(scales: Floats, weights: Floats, freedom: int) -> float:
    """Return how far an interval of 95% reaches about 0 in a mixture of Student's t, each of a scale and a weight.

    `weights` add up to 1. The mean of the squared scales would not do in their place: it is mostly that of the widest.
    """
    most = float(scales.max())
    if most <= 0:
        return 0.0
    scales = np.maximum(scales, _LEAST * most)
    tried = np.geomspace(scales.min(), most, _BETWEEN) * t_975(freedom)
    within = np.interp(tried[:, None] / scales, _PLACES, _probabilities(freedom)) @ weights
    return float(np.interp(0.95, within, tried))


@lru_cache
def _probabilities(freedom: int) -> Floats:
    """Return how probable it is that t is within each of `_PLACES` to either side of 0."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    density = scale * (1 + _PLACES**2 / freedom) ** (-(freedom + 1) / 2)
    between: Floats = (density[1:] + density[:-1]) * np.diff(_PLACES)
    return np.append(0.0, np.cumsum(between))
