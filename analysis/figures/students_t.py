"""Student's t at 97.5%, by which an interval of 95% reaches from its middle. Pure.

Values for 1 to 10 degrees of freedom are those of the NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2. In
between, where degrees of freedom are fractions, the logarithm of t is nearly straight in 1 / freedom; beyond them the
first terms of its expansion about the normal distribution are off by less than 0.003.
"""

import math

_TABLE = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

_NORMAL = 1.959964


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
