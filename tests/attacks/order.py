"""What an attack is given and what it returns. No attack is known here.

An attack is a function that takes an `Order` and returns a `Tally`. It asks the order for its random numbers and for
how often it does what it does, so that a seed repeats it and a share makes it small. What the product did wrong is a
fault, a sentence with all that is needed to look into it; an exception of the attack itself is one as well.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Order:
    """How an attack is to be made."""

    name: str
    seed: int
    share: float
    """Part of what `make attack` does: 1 for all of it."""
    folder: Path
    """An empty folder for what the attack writes."""
    is_forked: bool = False
    """Whether a server that it attacks is forked, which takes a fifth of the CPU, and not started as a person does."""

    @property
    def random(self) -> Random:
        """A source of random numbers, which begins anew each time it is asked for."""
        return Random(f"{self.name} {self.seed}")

    def count(self, whole: int) -> int:
        """Return how many of `whole` are this order's share: one at least."""
        return max(1, round(whole * self.share))


@dataclass
class Tally:
    """What an attack did to the product, what it saw, and what was wrong."""

    did: Counter[str] = field(default_factory=Counter)
    """How often it did what, in words: "kills of fronts"."""
    saw: Counter[str] = field(default_factory=Counter)
    """How often the product answered in which way: "exit 4", "431"."""
    notes: list[str] = field(default_factory=list)
    """What was measured and is no count, in words with units."""
    faults: list[str] = field(default_factory=list)


Attack = Callable[[Order], Tally]
