"""How many friends people have: counts, and the power law that the many have. Pure.

In: pairs. Out: `Degrees`, a histogram of the degrees (a vertex's number of edges, each counted once), and a fit of its
tail.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from floodtest.datagen.edges import Apart, edges_of
from floodtest.datagen.files import Pairs

Counts = npt.NDArray[np.int64]

LEAST_CUTOFF = 6
"""Below it the estimate of the exponent is off by more than 1% (the source of `fit`, section 3.5)."""

LEAST_TAIL = 50
"""Vertices that a tail must have to be fitted."""


@dataclass(frozen=True)
class PowerLaw:
    """A tail in which a degree k is found with a probability like k ** -exponent, from `cutoff` on."""

    exponent: float
    error: float
    """Standard error of the exponent."""
    cutoff: int
    vertices: int
    """In the tail."""


@dataclass(frozen=True)
class Degrees:
    """A histogram: `vertices[i]` vertices have `degree[i]` edges; degrees ascend, from 0 on (that of loops alone)."""

    degree: Counts
    vertices: Counts
    reciprocal: int = 0
    """Pairs that are edges already, the other way round."""
    apart: Apart = field(default_factory=Apart)
    """Pairs that are no edges, or are edges already."""

    @property
    def vertex_count(self) -> int:
        """Vertices that have an edge or a loop: a file of pairs knows of no others."""
        return int(self.vertices.sum())

    @property
    def edge_count(self) -> int:
        return int((self.degree * self.vertices).sum()) // 2

    @property
    def pair_count(self) -> int:
        """All pairs, those that are counted apart included."""
        return self.edge_count + self.reciprocal + self.apart.loops + self.apart.duplicates

    @property
    def mean(self) -> float:
        return 2 * self.edge_count / max(1, self.vertex_count)

    def shares_from(self) -> npt.NDArray[np.float64]:
        """Return for each degree the share of vertices that have at least so many edges."""
        share: npt.NDArray[np.float64] = self.vertices[::-1].cumsum()[::-1] / max(1, self.vertex_count)
        return share


def count_degrees(pairs: Pairs) -> Degrees:
    """Count how many edges each vertex has, whichever end of the pair it stands at."""
    edges = edges_of(pairs)
    ids = np.sort(edges.pairs, axis=None)
    first = np.flatnonzero(np.append(len(ids) > 0, ids[1:] != ids[:-1])[: len(ids)])
    degree, vertices = np.unique(np.diff(first, append=len(ids)), return_counts=True)
    alone = len(np.setdiff1d(pairs[pairs[:, 0] == pairs[:, 1], 0], ids)) if edges.apart.loops else 0
    if alone:
        degree, vertices = np.append(0, degree), np.append(alone, vertices)
    return Degrees(degree.astype(np.int64), vertices.astype(np.int64), edges.reciprocal, edges.apart)


def fit(degrees: Degrees) -> PowerLaw | None:
    """Fit the tail by maximum likelihood; None when no tail is long enough to say anything.

    The exponent is the estimate for whole numbers (equation 3.7), the cutoff the one from which the fitted and the
    found distribution differ least (Kolmogorov-Smirnov distance; section 3.3) of A. Clauset, C. R. Shalizi and M. E. J.
    Newman, "Power-law distributions in empirical data", SIAM Review 51 (2009).
    """
    tails = degrees.vertices[::-1].cumsum()[::-1]
    best: tuple[float, PowerLaw] | None = None
    for at in np.flatnonzero((degrees.degree >= LEAST_CUTOFF) & (tails >= LEAST_TAIL)).tolist():
        degree, vertices, tail = degrees.degree[at:], degrees.vertices[at:], int(tails[at])
        relative = degree / (degree[0] - 0.5)
        logs = float((np.log(relative) * vertices).sum())
        exponent = 1 + tail / logs
        found = tails[at:] / tail
        fitted = ((degree - 0.5) / (degree[0] - 0.5)) ** (1 - exponent)
        distance = float(np.abs(found - fitted).max())
        if best is None or distance < best[0]:
            best = distance, PowerLaw(exponent, (exponent - 1) / tail**0.5, int(degree[0]), tail)
    return None if best is None else best[1]
