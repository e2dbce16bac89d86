"""Before a start: whether a run fits on this machine, how many connections would, and the refusal that says so.

`run`, `plan` and `doctor` ask the same table of checks (see `loadgen.preflight.checks`). How many fit is found by
halving: with fewer connections no check that stops a run gets worse.
"""

from dataclasses import dataclass, replace

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.errors import Refused
from floodtest.loadgen.preflight.checks import examine
from floodtest.loadgen.preflight.demand import Demand
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.preflight.verdicts import Verdict

MARGIN = 1.05
"""How much more memory than predicted is asked for when a plan is cut to fit, so that the cut one is held: others use
memory as well, and what the kernel has to take from caches comes in single pages, into each of which one TCP socket
goes, where thirteen go into the eight pages of a slab. The prediction itself was right within 1% up to 2.6 million."""


@dataclass(frozen=True)
class Fit:
    """How many connections this machine can hold, and what sets that bound."""

    connections: int
    reason: str


def obstacles(machine: Machine, demand: Demand) -> list[Verdict]:
    """Return what would make a run fail."""
    return [verdict for verdict in examine(machine, demand) if verdict.stops]


def fit(machine: Machine, demand: Demand) -> Fit:
    """Return how many of the planned connections this machine can hold."""
    planned = obstacles(machine, demand)
    if not planned:
        return Fit(demand.connections, "all that was asked for")
    demand, found = replace(demand, margin=MARGIN), planned
    fits, too_many = 0, demand.connections
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        worse = obstacles(machine, demand.of(middle))
        if worse:
            too_many, found = middle, worse
        else:
            fits = middle
    bound = next((verdict for verdict in planned if verdict.check == found[0].check), found[0])
    return Fit(fits, bound.sentence())


def refuse_what_does_not_fit(machine: Machine, demand: Demand) -> None:
    """Refuse a run that would fail, and name the number of connections that would not."""
    found = obstacles(machine, demand)
    if not found:
        return
    fits = fit(machine, demand).connections
    remedy = f"{fits:,} would fit: --connections {fits}, or --fit." if fits else "Not even one connection fits."
    reasons = "\n".join(f"{verdict.sentence()}." for verdict in found)
    planned = f"{counted(demand.connections, 'connections')} {'doesn' if demand.connections == 1 else 'don'}'t"
    raise Refused(f"{planned} fit on this machine. {remedy}\n{reasons}")
